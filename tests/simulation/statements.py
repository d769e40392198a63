"""The statements of the ledger's transaction on the simulated PostgreSQL.

The transaction itself is the product's own (`ledger.write`): only what a statement does to the tables is
written here, once more and without SQL. A transaction happens at one point in time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.entry_rows import COLUMNS
from quota_service.stores.postgres.times import to_time
from tests.simulation.database import Database, Row

_METERS = Amounts._fields
_PARTS = ("spent", "overrun", "added", "moved")


class Statements:
    """A connection as `ledger.write` uses one."""

    def __init__(self, database: Database) -> None:
        self._at = database
        self._now = to_time(database.world.now_ms())

    async def fetch(self, statement: str, *arguments: Any) -> list[Row]:
        return list(_STATEMENTS[statement](self, *arguments) or ())

    execute = fetch

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        return _STATEMENTS[statement](self, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

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

    def write_new(
        self,
        organizations: Sequence[str],
        epochs: Sequence[int],
        owners: Sequence[str],
        reservations: Sequence[str],
        implied_owners: Sequence[str],
        implied_keys: Sequence[str],
        entries: Sequence[tuple[Any, ...]],
        changes: Sequence[tuple[Any, ...]],
        gains: Sequence[tuple[Any, ...]],
    ) -> Sequence[Row] | None:
        expected = dict(zip(organizations, epochs, strict=True))
        for row in self.begin(organizations, owners, reservations, ()):
            if row["contested"] or row["epoch"] != expected[row["organization"]]:
                return None
        if any(key not in self._at.keys for key in zip(implied_owners, implied_keys, strict=True)):
            return None
        claims = [
            (organization, key, hash_, values[-1])
            for values in entries
            for organization, key, hash_ in [values[:3]]
        ]
        if self._at.unique and any(claim[:2] in self._at.keys for claim in claims):
            return None
        claimed = self.claim_keys(*zip(*claims, strict=True))
        for known, values in zip(claimed, entries, strict=True):
            record = (known["entry_id"], known["create_time"], *values[:-1])
            self._at.entries[known["entry_id"]] = dict(zip(COLUMNS, record, strict=True))
        self.change_open_holds(changes)
        return list(self.add_balances(gains))

    def change_open_holds(self, changes: Sequence[tuple[Any, ...]]) -> None:
        rows = self._at.open_holds
        for organization, reservation, hold, progress, _, fresh in changes:
            key = (organization, reservation)
            if fresh:
                rows[key] = (hold, progress)
            elif hold is None:
                rows.pop(key, None)
            elif key in rows and rows[key][1] < progress:
                rows[key] = (hold, progress)

    def add_balances(self, gains: Sequence[tuple[Any, ...]]) -> Iterable[Row]:
        for organization, budget, each_value, start, end, *amounts in gains:
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
