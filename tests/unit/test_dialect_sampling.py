"""Much text is counted in little time, and about right."""

from __future__ import annotations

import random

import pytest

from quota_service.edge.dialects.sampling import WHOLE_CHARACTERS, TextCount
from quota_service.edge.dialects.tokens import Encoding, count

SYLLABLES = ("ka", "lo", "mir", "ten", "su", "vor", "qui", "pa", "zel", "bren", "dy", "oth")


def words(characters: int) -> str:
    """Words that do not repeat: nothing of them is known from before."""
    chance = random.Random(7)
    found: list[str] = []
    length = 0
    while length < characters:
        found.append("".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))))
        length += len(found[-1]) + 1
    return " ".join(found)


@pytest.mark.parametrize("parts", [1, 7, 400])
def test_what_is_beyond_the_first_part_is_sampled_and_never_too_low(parts: int) -> None:
    text = words(3 * WHOLE_CHARACTERS)
    size = -(-len(text) // parts)
    texts = [text[start : start + size] for start in range(0, len(text), size)]
    counted = TextCount(Encoding.O200K)
    for each in texts:
        counted.add(each)
    exact = sum(count(each) for each in texts)
    assert exact <= counted.tokens <= exact * 1.15


def test_what_is_short_is_counted() -> None:
    counted = TextCount(Encoding.CL100K)
    counted.add("Why is the sky blue?")
    assert counted.tokens == count("Why is the sky blue?", Encoding.CL100K)
