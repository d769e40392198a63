"""What one server has under way: how much of it at a time, and how it ends when the server stops.

Two bounds stand on each kind of call. The wide one holds always: it bounds memory where stores are slow. The
narrow one holds while the event loop is behind: another call would then only make all wait, and one that is
refused at once can be tried elsewhere. See docs/adr/0011-shedding.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from quota_service.domain.errors import Overloaded
from quota_service.edge.errors import ServerStopping
from quota_service.edge.pace import Pace

C = TypeVar("C")
T = TypeVar("T")

Door = Callable[[Callable[[C], Awaitable[T]], C], Awaitable[T]]


CROWD = 100
"""So many calls of a kind under way that one more is one too many for an event loop that hardly rests: no
hundred callers who each wait for their answers bring them about.
"""


class Kind(Enum):
    """How much it matters that a call is served now."""

    BEGINS = "begins"  # asks for money that is not spent yet
    SETTLES = "settles"  # tells of money that is gone: refused last
    OTHER = "other"  # looks at something, or administers
    LASTS = "lasts"  # a stream that its caller watches, for as long as they want
    FILTERS = "filters"  # a stream of Envoy's around an HTTP request, whose end is money that is gone


class Bounds(NamedTuple):
    """How many calls may be under way: `always`, and while the event loop is `behind`."""

    always: int
    behind: int


_BEGINNING = frozenset(
    {
        *("quota.v1.QuotaService/Authorize", "quota.v1.QuotaService/AuthorizeBatch"),
        "envoy.service.auth.v3.Authorization/Check",
    }
)
_FILTERING = "envoy.service.ext_proc.v3.ExternalProcessor/Process"
_SETTLING = frozenset(f"quota.v1.QuotaService/{verb}" for verb in ("Commit", "Release", "Record", "Extend"))


def kind_of(method: str) -> Kind:
    """The kind of a method that nobody watches, by its full name."""
    if method in _BEGINNING:
        return Kind.BEGINS
    if method == _FILTERING:
        return Kind.FILTERS
    return Kind.SETTLES if method in _SETTLING else Kind.OTHER


class Traffic:
    """The calls of one server."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self.refused = dict.fromkeys(Kind, 0)  # for being too many, so far
        self._under_way: dict[Kind, set[asyncio.Task[Any]]] = {kind: set() for kind in Kind}
        self._ended: set[asyncio.Task[Any]] = set()
        self._closed = False

    def under_way(self, kind: Kind) -> int:
        """How many calls of a kind there are right now."""
        return len(self._under_way[kind])

    def close(self) -> None:
        """Takes on no more calls: those that come are told to go elsewhere."""
        self._closed = True

    async def finished(self, timeout_s: float) -> bool:
        """Waits until every call that was taken on has been answered. Whether that came about in time."""
        tasks = [task for tasks in self._under_way.values() for task in tasks]
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        return not pending

    def end(self, *kinds: Kind) -> None:
        """Ends the calls under way of these kinds, as UNAVAILABLE."""
        for kind in kinds:
            for task in self._under_way[kind]:
                self._ended.add(task)
                task.cancel(STOPPING)

    def door(self, kind: Kind, bounds: Bounds) -> Door[C, T]:
        """What every call of a kind goes through. Raises Overloaded, ServerStopping instead of beginning one;
        raises ServerStopping also out of a call that was ended.
        """
        under_way, pace = self._under_way[kind], self.pace

        def admit() -> None:
            if self._closed:
                raise ServerStopping("The server stops; nothing was done. Ask another one.")
            if len(under_way) >= CROWD:
                pace.crowded()
            if len(under_way) >= (bounds.behind if pace.behind else bounds.always):
                pace.refused()
                self.refused[kind] += 1
                raise Overloaded(OVERLOADED)

        async def enter(work: Callable[[C], Awaitable[T]], call: C) -> T:
            admit()
            task = asyncio.current_task()
            assert task is not None
            under_way.add(task)
            task.add_done_callback(under_way.discard)  # the task ends when the answer has been sent
            try:
                return await work(call)
            except asyncio.CancelledError:
                if task not in self._ended:
                    raise
                task.uncancel()
                raise ServerStopping(CUT_SHORT) from None

        return enter


STOPPING = "the server stops"
"""What a call is cancelled with that the server itself ends."""

OVERLOADED = "The server has too many calls under way; nothing was done."
CUT_SHORT = "The server stopped before the call was finished: ask again, with the same key where it has one."
