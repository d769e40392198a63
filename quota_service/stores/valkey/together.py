"""What is asked for in one turn of the event loop is carried out as one, in the order of asking.

Where many calls come at once, most need the same windows: one script reads and writes them once for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

TOGETHER_MAX = 64
"""What one script carries out: a millisecond or two of the server's time."""


class _Asked(NamedTuple, Generic[T]):
    item: T
    answer: asyncio.Future[list[Any]]


class Together(Generic[T]):
    """Gathers what can be carried out by one script."""

    def __init__(self, carry_out: Callable[[Sequence[T]], Awaitable[Sequence[list[Any]]]]) -> None:
        """`carry_out`: answers each of some items, which are of a kind; what it raises is raised to all."""
        self._carry_out = carry_out
        self._gathered: dict[Hashable, list[_Asked[T]]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def ask(self, kind: Hashable, item: T) -> asyncio.Future[list[Any]]:
        """The answer to come. The item may be carried out although nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        gathered = self._gathered.get(kind)
        if gathered is None or len(gathered) == TOGETHER_MAX:
            gathered = self._gathered[kind] = []
            task = loop.create_task(self._answer(kind, gathered))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        answer: asyncio.Future[list[Any]] = loop.create_future()
        gathered.append(_Asked(item, answer))
        return answer

    async def _answer(self, kind: Hashable, asked: list[_Asked[T]]) -> None:
        """Begins when all that was ready has had its turn, and so has asked."""
        if self._gathered.get(kind) is asked:
            del self._gathered[kind]
        try:
            answers = await self._carry_out([item for item, _ in asked])
            for (_, waiting), answer in zip(asked, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)
        except asyncio.CancelledError:  # the loop ends
            for _, waiting in asked:
                waiting.cancel()
            raise
        except Exception as error:  # whatever it is, it is theirs
            for _, waiting in asked:
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()  # retrieved: its caller may have gone
