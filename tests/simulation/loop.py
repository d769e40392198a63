"""An event loop whose clock only the work moves, and whose order only the seed decides."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


TIME_S_MAX = 600.0
"""No run takes as long: who still waits then would wait for ever."""


class Stuck(Exception):
    """Nothing is ready and nothing is due, or only what goes round and round."""


class _Due(asyncio.TimerHandle):
    """Something to be called: all that the loop needs to know of it, and none of what debugging needs."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback, self._args = _nothing, ()  # whatever it would have kept alive may go


def _nothing() -> None: ...


class SimulatedLoop(asyncio.BaseEventLoop):
    """What is ready at once runs in an order of the seed's; when nothing is, it is at once the next timer's
    time. It asks the system for nothing, so that a step costs a microsecond or two.
    """

    _stopping: bool  # by which every loop is stopped, though it is not declared

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._next: list[_Due] = []
        self._later: list[tuple[float, int, _Due]] = []  # a heap; the number tells apart what is due at once
        self._numbers = itertools.count()
        self._now_s = 0.0
        self._random = dice.random

    def time(self) -> float:
        return self._now_s

    def get_debug(self) -> bool:
        return False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Raises Stuck, and what the work raises."""
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(work)
        finally:
            asyncio.set_event_loop(None)
            self.close()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> _Due:
        due = _Due(callback, args, context)
        self._next.append(due)
        return due

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> _Due:
        due = _Due(callback, args, context)
        heapq.heappush(self._later, (when, next(self._numbers), due))
        return due

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> _Due:
        due = _Due(callback, args, context)
        heapq.heappush(self._later, (self._now_s + delay, next(self._numbers), due))
        return due

    def _run_once(self) -> None:
        """What every loop is made of; here it goes on until it is stopped. Raises Stuck."""
        while not self._stopping:
            ready = self._next or self._due()
            self._next = []
            if len(ready) > 1:
                self._shuffle(ready)
            for due in ready:
                if due._cancelled:
                    continue
                try:
                    due._context.run(due._callback, *due._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"{due._callback} failed", "exception": error})

    def _due(self) -> list[_Due]:
        """What is due next: time passes until then. Raises Stuck."""
        later = self._later
        while later:
            at_s, _, due = heapq.heappop(later)
            if due._cancelled:
                continue
            if at_s > TIME_S_MAX:
                break
            self._now_s = max(self._now_s, at_s)
            found = [due]
            while later and later[0][0] <= self._now_s:
                found.append(heapq.heappop(later)[2])
            return found
        raise Stuck

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _shuffle(self, ready: list[_Due]) -> None:
        """As the dice's own does, which takes its time to be fair to lists of millions."""
        random = self._random
        for place in range(len(ready) - 1, 0, -1):
            other = int(random() * (place + 1))
            ready[place], ready[other] = ready[other], ready[place]


class Tasks:
    """The tasks that one replica has begun, so that they can all be ended with it."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], None] = {}

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._running[task] = None
        task.add_done_callback(self._running.pop)

    def kill(self) -> None:
        for task in list(self._running):
            task.cancel()


def by_owner(
    owner: Callable[[], Tasks | None],
) -> Callable[[asyncio.AbstractEventLoop, Coroutine[Any, Any, Any]], asyncio.Task[Any]]:
    """A task factory that gives every task to whom the code that begins it belongs."""

    def make(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        tasks = owner()
        if tasks is not None:
            tasks.adopt(task)
        return task

    return make
