"""An event loop whose clock only the work moves, and whose order only the seed decides."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is ready and nothing is due: whoever waits would wait for ever."""


class _Nothing:
    """Stands where the loop would ask the system for input. Lets time pass instead, in no time."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Stuck
        if timeout_s > 0:
            self._loop.pass_time(timeout_s)
        return []

    def close(self) -> None:
        pass


class SimulatedLoop(asyncio.BaseEventLoop):
    """What is ready at once runs in an order of the seed's; when nothing is, it is at once the next timer's
    time.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._selector = _Nothing(self)
        self._clock_resolution = 1e-9
        self._now_s = 0.0
        self._dice = dice

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        self._now_s += seconds

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Raises Stuck, and what the work raises."""
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(work)
        finally:
            asyncio.set_event_loop(None)
            self.close()

    def _run_once(self) -> None:
        if len(self._ready) > 1:
            ready = list(self._ready)
            self._dice.shuffle(ready)
            self._ready = deque(ready)
        super()._run_once()  # type: ignore[misc]  # what every loop is made of, though it is not declared

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class Tasks:
    """The tasks that one replica has begun, so that they can all be ended with it."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], None] = {}

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._running[task] = None
        task.add_done_callback(lambda done: self._running.pop(done, None))

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
