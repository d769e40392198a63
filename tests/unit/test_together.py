"""What is asked for in one turn of the event loop is carried out as one; each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey.together import TOGETHER_MAX, Together


class Carrier:
    """Answers each item with itself, and notes what it was given together."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.proceed = asyncio.Event()
        self.proceed.set()
        self.failure: Exception | None = None

    async def carry_out(self, items: Sequence[int]) -> list[list[Any]]:
        self.runs.append(list(items))
        await self.proceed.wait()
        if self.failure is not None:
            raise self.failure
        return [[item] for item in items]


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


async def test_what_is_asked_for_in_one_turn_is_one_run_in_the_order_of_asking(carrier: Carrier) -> None:
    together = Together(carrier.carry_out)
    assert await asyncio.gather(*(together.ask("acme", item) for item in range(5))) == [[n] for n in range(5)]
    assert await together.ask("acme", 5) == [5]
    assert carrier.runs == [[0, 1, 2, 3, 4], [5]]


async def test_what_is_of_another_kind_is_a_run_of_its_own(carrier: Carrier) -> None:
    together = Together(carrier.carry_out)
    asked = [together.ask(("acme", "globex")[item % 2], item) for item in range(4)]
    assert await asyncio.gather(*asked) == [[0], [1], [2], [3]]
    assert carrier.runs == [[0, 2], [1, 3]]


async def test_a_run_is_bounded_and_the_next_one_begins_without_waiting_for_it(carrier: Carrier) -> None:
    together = Together(carrier.carry_out)
    carrier.proceed.clear()
    asked = [together.ask("acme", item) for item in range(TOGETHER_MAX + 1)]
    await asyncio.sleep(0)
    assert [len(run) for run in carrier.runs] == [TOGETHER_MAX, 1]
    carrier.proceed.set()
    assert await asyncio.gather(*asked) == [[item] for item in range(TOGETHER_MAX + 1)]


async def test_who_gives_up_keeps_nobody_else_from_an_answer(carrier: Carrier) -> None:
    together = Together(carrier.carry_out)
    carrier.proceed.clear()
    gone, there = together.ask("acme", 1), together.ask("acme", 2)
    await asyncio.sleep(0)
    gone.cancel()
    carrier.proceed.set()
    assert await there == [2]
    assert carrier.runs == [[1, 2]], "it had been sent, and may have been carried out"


async def test_a_run_that_fails_fails_for_all_of_it_and_for_nobody_else(carrier: Carrier) -> None:
    together = Together(carrier.carry_out)
    carrier.failure = StoreUnavailable("Valkey is not there.")
    failed = await asyncio.gather(together.ask("acme", 1), together.ask("acme", 2), return_exceptions=True)
    assert [type(each) for each in failed] == [StoreUnavailable] * 2
    carrier.failure = None
    assert await together.ask("acme", 3) == [3]
