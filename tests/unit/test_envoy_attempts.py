"""A decision of which nobody hears is taken back, whatever ends the call."""

from __future__ import annotations

import asyncio
from typing import Any

from quota_service.application.tracking import Tracked
from quota_service.domain.errors import QuotaError
from quota_service.edge.envoy.attempts import Attempts


class Hold:
    organization, reservation = "acme", "r"


class Result:
    hold = Hold()


class Stores:
    """Decides at once, and remembers what was released."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def authorize(self, request: Any) -> Any:
        return Result()

    async def release(self, organization: str, reservation: str, reason: str) -> None:
        self.released.append(reservation)


class Context:
    def time_remaining(self) -> float | None:
        return None


async def called(turns: int | None) -> tuple[list[str], bool]:
    """What was released, and whether the call was answered, that a stopping server ends so many turns of the
    loop after its beginning, and answers as no cancellation.
    """
    stores: Any = Stores()
    context: Any = Context()
    absent: Any = None
    tracked = Tracked()
    attempts = Attempts(stores, stores, tracked)

    async def call() -> bool:
        task = asyncio.current_task()
        assert task is not None
        try:
            await attempts.in_time(attempts.authorize(absent, context, task), context)
        except (asyncio.CancelledError, QuotaError):
            task.uncancel()
            return False
        return True

    task = asyncio.create_task(call())
    if turns is not None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    answered = await task
    await asyncio.sleep(0)
    await tracked.finish(1)
    return stores.released, answered


async def test_a_call_that_is_answered_keeps_its_hold() -> None:
    assert await called(None) == ([], True)


async def test_a_call_that_the_server_ends_keeps_nothing_at_whatever_moment() -> None:
    ends = [await called(turns) for turns in range(1, 9)]
    assert any(released for released, _ in ends)
    for released, answered in ends:
        assert not (released and answered)
    interrupted = [released for released, answered in ends if not answered]
    assert all(interrupted), ends
