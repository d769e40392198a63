"""The simulated PostgreSQL: tables in memory, and the statements of the ledger's transaction on them.

The transaction itself is the product's own (`write_batch`): only what a statement does to the tables is
written here, once more and without SQL. A transaction happens at one point in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.entry_rows import COLUMNS
from quota_service.stores.postgres.times import to_time
from tests.simulation.network import Server, World, outcome

T = TypeVar("T")
Row = dict[str, Any]
Counter = tuple[str, str, str, datetime]

_METERS = Amounts._fields
_PARTS = ("spent", "overrun", "added", "moved")


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

    def connection(self) -> Statements:
        return Statements(self)


class Statements:
    """A connection as `write_batch` uses one."""

    def __init__(self, database: Database) -> None:
        self._at = database
        self._now = to_time(database.world.now_ms())

    async def fetch(self, statement: str, *arguments: Any) -> list[Row]:
        return list(_STATEMENTS[statement](self, *arguments) or ())

    execute = fetch

    async def copy_records_to_table(
        self, table: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str]
    ) -> None:
        assert (table, columns) == ("ledger_entries", COLUMNS)
        rows = [dict(zip(COLUMNS, record, strict=True)) for record in records]
        self._at.entries |= {row["id"]: row for row in rows}

    # --- the ledger ---

    def claim_keys(self, *columns: Sequence[Any]) -> Iterable[Row]:
        claims = [(*claim, next(self._at.entry_ids)) for claim in zip(*columns, strict=True)]
        for organization, key, content_hash, origin, id_ in claims:
            if self._at.unique and (organization, key) in self._at.keys:
                continue
            row = {
                "organization": organization,
                "key": key,
                "content_hash": content_hash,
                "origin": origin,
                "entry_id": id_,
                "create_time": self._now,
            }
            self._at.keys[organization, key] = row
            yield row

    def written_before(self, *columns: Sequence[Any]) -> Iterable[Row]:
        for name in zip(*columns, strict=True):
            known = self._at.keys.get(name)
            if known is not None:
                yield {**known, "type": self._at.entries[known["entry_id"]]["type"]}

    def change_open_holds(self, *columns: Sequence[Any]) -> None:
        rows = self._at.open_holds
        for organization, reservation, hold, progress, _, fresh in zip(*columns, strict=True):
            key = (organization, reservation)
            if fresh:
                rows[key] = (hold, progress)
            elif hold is None:
                rows.pop(key, None)
            elif key in rows and rows[key][1] < progress:
                rows[key] = (hold, progress)

    def add_balances(self, *columns: Sequence[Any]) -> Iterable[Row]:
        for organization, budget, each_value, start, end, *amounts in zip(*columns, strict=True):
            counter = (organization, budget, each_value, start)
            row = self._at.balances.get(counter)
            if row is None:
                row = self._at.balances[counter] = {"window_end": end, **dict.fromkeys(_PARTS, NOTHING)}
            elif row["window_end"] is not None:
                row["window_end"] = None if end is None else max(row["window_end"], end)
            for part, place in zip(_PARTS, range(0, 12, 3), strict=True):
                if any(added := amounts[place : place + 3]):
                    row[part] = row[part].plus(Amounts(*added))
            yield self._balance(counter)

    def read_balances(self, *columns: Sequence[Any]) -> Iterable[Row]:
        return [
            self._balance(counter) for counter in zip(*columns, strict=True) if counter in self._at.balances
        ]

    def _balance(self, counter: Any) -> Row:
        row = self._at.balances[counter]
        names = ("organization", "budget", "each_value", "window_start")
        change = row["added"].plus(row["moved"])
        return {
            **dict(zip(names, counter, strict=True)),
            "window_end": row["window_end"],
            **{f"spent_{meter}": amount for meter, amount in zip(_METERS, row["spent"], strict=True)},
            **{f"change_{meter}": amount for meter, amount in zip(_METERS, change, strict=True)},
            "version": 1,
        }

    # --- the audit trail, which nothing here asks for ---

    def lock_trail(self, _: str) -> None: ...

    def end_of_trail(self, _: str) -> Iterable[Row]:
        yield {"sequence": None, "hash": None, "now": self._now}

    def append_events(self, *_: Sequence[Any]) -> None: ...

    # --- epochs ---

    def begin(
        self,
        organizations: Sequence[str],
        owners: Sequence[str],
        reservations: Sequence[str],
        alone: Sequence[bool],  # as every transaction is here
    ) -> Iterable[Row]:
        asked = set(zip(owners, reservations, strict=True))
        for organization in organizations:
            contested = sorted(
                {
                    row["reservation"]
                    for (owner, _), row in self._at.pending.items()
                    if owner == organization and (owner, row["reservation"]) in asked and row["reservation"]
                }
            )
            number, _ = self._at.epochs.get(organization, (0, False))
            yield {"organization": organization, "epoch": number, "contested": contested or None}

    def add_pending(self, *columns: Sequence[Any]) -> None:
        for organization, key, reservation, entry, epoch in zip(*columns, strict=True):
            row = {"reservation": reservation, "entry": entry, "applied": False, "epoch": epoch}
            self._at.pending.setdefault((organization, key), row)

    def pending_of_keys(self, *columns: Sequence[Any]) -> Iterable[Row]:
        wanted = zip(*columns, strict=True)
        return [
            {
                "organization": name[0],
                "key": name[1],
                "epoch": self._at.pending[name]["epoch"],
                "entry": self._at.pending[name]["entry"],
            }
            for name in wanted
            if name in self._at.pending
        ]

    def applied(self, *columns: Sequence[Any]) -> None:
        for name in zip(*columns, strict=True):
            if name in self._at.pending:
                self._at.pending[name]["applied"] = True

    def mark_broken(self, organizations: Sequence[str]) -> None:
        for organization in organizations:
            number, _ = self._at.epochs.get(organization, (0, False))
            if number:
                self._at.epochs[organization] = (number, True)

    def charges_of_reservations(self, *columns: Sequence[Any]) -> Iterable[Row]:
        for organization, reservation in zip(*columns, strict=True):
            own = [
                row
                for row in self._at.entries.values()
                if (row["organization"], row["reservation"]) == (organization, reservation)
            ]
            names = [f"{part}_{meter}" for part in ("charged", "overrun") for meter in _METERS]
            if own:
                yield {
                    "organization": organization,
                    "reservation": reservation,
                    **{name: sum(row[name] for row in own) for name in (*names, "exact_cost_usd")},
                }


_STATEMENTS: dict[str, Callable[..., Any]] = {
    text: getattr(Statements, name)
    for statements in (sql.load("ledger"), sql.load("epochs"), sql.load("audit"))
    for name, text in statements.items()
    if hasattr(Statements, name)
}
