"""Where a budget stands, told again whenever it has changed.

A counter is read at intervals, once for all who watch it in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from quota_service.application.statuses import Status, Statuses

PAUSE_MS = 500
"""How long a counter is left alone between two looks at it."""

_Counter = tuple[str, str, str]
"""Organization, budget and each value."""


class Watching:
    """Watches budgets. A counter is read as long as somebody watches it."""

    def __init__(self, statuses: Statuses, pause_ms: int = PAUSE_MS) -> None:
        self._statuses = statuses
        self._pause_s = pause_ms / 1000
        self._watched: dict[_Counter, _Watched] = {}

    async def watch(
        self, organization: str, budget_id: str, each_value: str
    ) -> AsyncGenerator[Sequence[Status], None]:
        """One budget's window now, and again after each change; a change that another follows at once may be
        left out. Raises as `Statuses.get`, whenever that begins to fail.
        """
        counter = (organization, budget_id, each_value)
        watched = self._watched.get(counter) or self._begin(counter)
        watched.watchers += 1
        edition = 0
        try:
            while True:
                edition = await watched.newer(edition)
                yield watched.statuses
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                watched.stop()
                self._forget(counter, watched)

    def _begin(self, counter: _Counter) -> _Watched:
        watched = self._watched[counter] = _Watched(
            lambda: self._statuses.get(*counter), self._pause_s, lambda: self._forget(counter, watched)
        )
        return watched

    def _forget(self, counter: _Counter, watched: _Watched) -> None:
        """Who comes after a failure begins anew."""
        if self._watched.get(counter) is watched:
            del self._watched[counter]


class _Watched:
    """A counter that is read at intervals. `statuses` is where it stands; every change is a new edition."""

    def __init__(
        self, read: Callable[[], Awaitable[Sequence[Status]]], pause_s: float, failed: Callable[[], None]
    ) -> None:
        self.watchers = 0
        self.statuses: Sequence[Status] = ()
        self._read = read
        self._pause_s = pause_s
        self._failed = failed
        self._edition = 0
        self._failure: Exception | None = None
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._keep_reading())

    async def newer(self, edition: int) -> int:
        """The number of an edition after this one, once there is one. Raises what reading has failed with."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._edition > edition or self._failure is not None)
        if self._failure is not None:
            raise self._failure
        return self._edition

    def stop(self) -> None:
        self._reading.cancel()

    async def _keep_reading(self) -> None:
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._pause_s)
        except Exception as error:  # those who watch answer for it
            self._failure = error
            self._failed()
            async with self._changed:
                self._changed.notify_all()

    async def _look(self) -> None:
        statuses = await self._read()
        if self._edition and _what_is_told(statuses) == _what_is_told(self.statuses):
            return
        async with self._changed:
            self.statuses = statuses
            self._edition += 1
            self._changed.notify_all()


def _what_is_told(statuses: Sequence[Status]) -> list[object]:
    """Of a budget only where it stands: not its name, say."""
    return [(status.term, status.counters) for status in statuses]
