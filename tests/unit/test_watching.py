"""How a budget is watched: one look at a counter for all who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest

from quota_service.application.statuses import Status, Statuses
from quota_service.application.watching import Watching
from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.budget import Budget, Mode
from quota_service.domain.errors import BudgetNotFound
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Term

TERM = Term(WindowRef("b", "", 0, None), Limits(100), 100, Mode.HARD)


class Standing:
    """Where a budget stands, as the test wants it."""

    def __init__(self) -> None:
        self.spent = 0
        self.name = ""
        self.failure: Exception | None = None
        self.looks = 0
        self.looked = asyncio.Event()

    async def get(self, organization: str, budget_id: str, each_value: str) -> Sequence[Status]:
        self.looks += 1
        self.looked.set()
        if self.failure is not None:
            raise self.failure
        budget = Budget(id=budget_id, display_name=self.name)
        return [Status(budget, TERM, Counters(spent=Amounts(self.spent)))]

    async def look(self, times: int = 1) -> None:
        """Waits until it has been looked at so many times more."""
        for _ in range(times):
            self.looked.clear()
            await self.looked.wait()


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def watching(standing: Standing) -> Watching:
    return Watching(cast(Statuses, standing), pause_ms=1)


async def spent(editions: Any) -> int:
    async with asyncio.timeout(5):
        [status] = await anext(editions)
    return cast(int, status.counters.spent.cost_micros)


async def test_only_changes_of_where_it_stands_are_told(watching: Watching, standing: Standing) -> None:
    async with aclosing(watching.watch("acme", "b", "")) as editions:
        assert await spent(editions) == 0
        following = asyncio.ensure_future(spent(editions))
        standing.name = "Another name"
        await standing.look(3)
        assert not following.done()
        standing.spent = 7
        assert await following == 7


async def test_many_watchers_cost_no_more_looks_than_one(watching: Watching, standing: Standing) -> None:
    streams = [watching.watch("acme", "b", "") for _ in range(20)]
    assert await asyncio.gather(*map(spent, streams)) == [0] * 20
    assert standing.looks == 1
    standing.spent = 7
    assert await asyncio.gather(*map(spent, streams)) == [7] * 20
    for stream in streams:
        await stream.aclose()


async def test_nobody_looks_any_more_when_the_last_watcher_has_gone(
    watching: Watching, standing: Standing
) -> None:
    first, second = watching.watch("acme", "b", ""), watching.watch("acme", "b", "")
    await spent(first)
    await spent(second)
    await first.aclose()
    await standing.look()
    await second.aclose()
    looks = standing.looks
    await asyncio.sleep(0.05)
    assert standing.looks == looks
    assert len(asyncio.all_tasks()) == 1


async def test_a_failure_ends_every_watch_and_the_next_one_begins_anew(
    watching: Watching, standing: Standing
) -> None:
    streams = [watching.watch("acme", "b", "") for _ in range(2)]
    for stream in streams:
        await spent(stream)
    standing.failure = BudgetNotFound("It is gone.")
    with pytest.raises(BudgetNotFound):
        await spent(streams[0])
    standing.failure = None
    async with aclosing(watching.watch("acme", "b", "")) as again:
        assert await spent(again) == 0
    with pytest.raises(BudgetNotFound):
        await spent(streams[1])


async def test_who_is_slow_is_told_the_latest_only(watching: Watching, standing: Standing) -> None:
    async with aclosing(watching.watch("acme", "b", "")) as editions:
        await spent(editions)
        for amount in range(1, 6):
            standing.spent = amount
            await standing.look(2)
        assert await spent(editions) == 5
