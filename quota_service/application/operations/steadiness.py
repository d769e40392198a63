"""Which differences stay: a live system moves, and only what is the same in several looks is drift."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

from quota_service.application.operations.comparison import Differences

LOOKS = 3
"""In so many looks one after another a difference must be the same."""

LOOKS_MAX = 6

T = TypeVar("T")


class Suspects(Generic[T]):
    """What differed as yet, by what it is about. One look that finds no difference clears it."""

    def __init__(self, suspects: Collection[T]) -> None:
        self._seen: dict[T, list[Differences]] = {each: [] for each in suspects}
        self._looks = 0

    @property
    def open(self) -> list[T]:
        """Those that are to be looked at again."""
        if self._looks >= LOOKS_MAX:
            return []
        return [each for each, seen in self._seen.items() if not _is_decided(seen)]

    def look(self, looked_at: Collection[T], found: Mapping[T, Differences]) -> None:
        """What one look at those found."""
        self._looks += 1
        for each in looked_at:
            if each in found:
                self._seen[each].append(found[each])
            else:
                del self._seen[each]

    @property
    def steady(self) -> Mapping[T, Differences]:
        """What stayed, with the numbers of the last look."""
        found = {each: _steady(seen) for each, seen in self._seen.items()}
        return {each: differences for each, differences in found.items() if differences}

    @property
    def undecided(self) -> int:
        """How many differed in another way each time."""
        return len(self._seen) - len(self.steady)


def _steady(seen: list[Differences]) -> Differences:
    """What was the same in the last looks."""
    if len(seen) < LOOKS:
        return {}
    *before, last = seen[-LOOKS:]
    return {
        cell: pair
        for cell, pair in last.items()
        if all(cell in each and each[cell].difference == pair.difference for each in before)
    }


def _is_decided(seen: list[Differences]) -> bool:
    return len(seen) >= LOOKS and len(_steady(seen)) == len(seen[-1])
