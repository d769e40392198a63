"""The ledger in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from quota_service.application.ledger_ports import LedgerFilter, LedgerRow, WriteResult
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import Hold
from quota_service.stores.postgres import at_once, holds, refused, sql
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.entry_rows import charged_of, hold_of, ledger_row_of, storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_time
from quota_service.stores.postgres.transaction import write_batch

_SQL = sql.load("ledger")

ACQUIRE_S = 3.0
"""How long a batch waits for a connection: where none gets free, none answers."""


class PostgresLedger:
    """Implements `Ledger`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def write(self, entries: Sequence[Entry]) -> WriteResult:
        """After StoreUnavailable it is unknown whether they were written: write them again."""
        if not entries:
            return WriteResult(())
        batch = Batch(entries)
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
                return await write(connection, batch)

    async def hold(self, organization: str, reservation: str) -> Hold | None:
        with translated():
            rows = await self._pool.fetch(_SQL["entries_of_reservation"], organization, reservation)
            told = await refused.holds_of(self._pool, organization, reservation)
        charged, pico = charged_of(rows)
        for hold in told:  # a dead letter counts all the same
            charged, pico = charged.at_least(hold.charged), max(pico, hold.charged_pico)
        return holds.latest([*map(hold_of, rows), *told], charged, pico)

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        with translated():
            row = await self._pool.fetchrow(_SQL["find_entry"], organization, storable(key))
        return ledger_row_of(row) if row else None

    async def list(
        self, organization: str, filter_: LedgerFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[LedgerRow], int | None]:
        name = "list_entries_of_reservation" if filter_.reservation else "list_entries"
        arguments = (organization, *_filter_arguments(filter_), before, page_size + 1, filter_.teams)
        with translated():
            rows = await self._pool.fetch(_SQL[name], *arguments)
        following = rows[page_size - 1]["id"] if len(rows) > page_size else None
        return [ledger_row_of(row) for row in rows[:page_size]], following


async def write(connection: Connection, batch: Batch) -> WriteResult:
    """Writes a batch as a transaction of its own: as one statement where that does."""
    written = await at_once.write(connection, batch)
    if written is None:
        async with connection.transaction():
            written = await write_batch(connection, batch)
    return written


def _filter_arguments(filter_: LedgerFilter) -> tuple[object, ...]:
    """In the order of the parameters $2 to $12 of the lists."""
    subject = filter_.subject
    return (
        filter_.reservation,
        filter_.type.value if filter_.type else "",
        subject.team,
        subject.user,
        subject.api_key,
        subject.project,
        subject.cost_center,
        msgspec.json.encode(dict(subject.tags)).decode(),
        msgspec.json.encode([{"budget": filter_.budget}] if filter_.budget else []).decode(),
        None if filter_.from_ms is None else to_time(filter_.from_ms),
        None if filter_.until_ms is None else to_time(filter_.until_ms),
    )
