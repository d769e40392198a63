"""The simulated PostgreSQL: tables in memory, and how its callers take turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar

from tests.simulation.network import Server, World, outcome

T = TypeVar("T")
Row = dict[str, Any]
Counter = tuple[str, str, str, datetime]


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("a transaction waited in the middle")


class Waiting:
    """Something that is done in its turn: shared with others like it, or alone (`turn`)."""

    def __init__(self, operation: Callable[[], Any], turn: object = None) -> None:
        self.operation = operation
        self.turn = turn

    def __call__(self) -> Any:
        return self.operation()


class Database(Server):
    """One organization's tables. `alone`: who has the ledger's lock; others wait for it in a queue."""

    def __init__(self, world: World) -> None:
        super().__init__("postgres")
        self.world = world
        self.entries: dict[int, Row] = {}  # by id
        self.keys: dict[tuple[str, str], Row] = {}
        self.open_holds: dict[tuple[str, str], tuple[bytes, int]] = {}  # hold as it is kept, progress
        self.balances: dict[Counter, Row] = {}
        self.epochs: dict[str, tuple[int, bool]] = {}  # number, broken
        self.pending: dict[tuple[str, str], Row] = {}
        self.unique = True  # a mutant takes every key for new
        self.epoch_numbers = itertools.count(1)
        self.entry_ids = itertools.count(1)
        self.alone: object = None
        self._queue: list[tuple[Any, Callable[[Any], None], Callable[[], bool]]] = []

    def may_wait(self, operation: Callable[[], Any]) -> bool:
        return isinstance(operation, Waiting)

    def serve(
        self, operation: Callable[[], Any], finish: Callable[[Any], None], is_over: Callable[[], bool]
    ) -> None:
        if isinstance(operation, Waiting) and operation.turn is not None and is_over():
            return  # its connection is gone, and with it the transaction
        if isinstance(operation, Waiting) and self.alone is not None:
            self._queue.append((operation, finish, is_over))
            return
        if isinstance(operation, Waiting):
            self.alone = operation.turn
        finish(outcome(operation))

    def let_go(self, turn: object) -> None:
        """Whoever has the lock has ended; those who wait come next, unless they have given up."""
        if self.alone is not turn:
            return
        self.alone = None
        queue, self._queue = self._queue, []
        for operation, finish, is_over in queue:
            if not is_over():
                self.serve(operation, finish, is_over)

    def restart(self) -> None:
        """Every transaction under way is undone."""
        self.starts += 1
        self.alone = None
        self._queue = []
