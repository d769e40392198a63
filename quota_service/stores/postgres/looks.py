"""Looks at an organization's ledger, to compare the deciding store with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import asyncpg

from quota_service.application.operations.reconciliation_ports import LedgerMoment, OpenHold, Ran
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Origin
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import key_of
from quota_service.stores.hold_documents import whole_hold
from quota_service.stores.postgres import epochs, refused, sql
from quota_service.stores.postgres.batch import balances as gains
from quota_service.stores.postgres.entry_rows import ledger_row_of, storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.live_holds import live_hold
from quota_service.stores.postgres.recovery import balance_of
from quota_service.stores.postgres.times import to_time

_SQL = sql.load("looks")
_EPOCHS_SQL = sql.load("epochs")

ROWS_PER_READ = 500
"""What is read at a time: a few milliseconds of this process's time."""


class PostgresLooks:
    """Implements `LedgerLook`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def windows(
        self, organization: str, ended_after_ms: int
    ) -> AsyncIterator[Sequence[tuple[WindowRef, Counters]]]:
        arguments = (organization, to_time(ended_after_ms))
        async for rows in self._in_parts(_EPOCHS_SQL["live_balances"], *arguments):
            yield [balance_of(row) for row in rows]

    async def newest_entry(self) -> int:
        with translated():
            id_: int = await self._pool.fetchval(_SQL["newest_entry"])
        return id_

    async def moment(
        self, organization: str, windows: Sequence[WindowRef], events: Sequence[Event], after_entry: int
    ) -> LedgerMoment:
        named = {storable(event.entry.key): event.entry.key for event in events}
        places = [(each.budget, storable(each.each_value), to_time(each.start_ms)) for each in windows]
        columns = [list(column) for column in zip(*places, strict=True)] or [[], [], []]
        with translated():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                balances = await connection.fetch(_SQL["balances"], organization, *columns)
                known = await connection.fetch(_SQL["known_keys"], organization, list(named))
                newer = await connection.fetch(_SQL["newer_entries"], organization, after_entry)
                pending = await connection.fetch(_SQL["pending"], organization)
                dead = gains(await refused.counted_by_keys(connection, organization))
        return LedgerMoment(
            windows={key_of(window): (window, counters) for window, counters in map(balance_of, balances)},
            known=frozenset(named[row["key"]] for row in known),
            newer=[Ran(ledger_row_of(row).entry, _origin(row["origin"])) for row in newer],
            pending=[epochs.decode_entry(row["entry"]) for row in pending],
            dead={key_of(window): counters for window, counters in refused.gains_of(dead)},
        )

    async def open_holds(self, organization: str) -> AsyncIterator[Sequence[OpenHold]]:
        async for rows in self._in_parts(_SQL["open_holds"], organization):
            yield [_open_hold(row) for row in rows]

    async def open_among(self, organization: str, reservations: Collection[str]) -> frozenset[str]:
        return await self._reservations("open_among", organization, list(reservations))

    async def dead_reservations(self, organization: str) -> frozenset[str]:
        return await self._reservations("dead_reservations", organization)

    async def _in_parts(self, statement: str, *arguments: object) -> AsyncIterator[list[asyncpg.Record]]:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(statement, *arguments)
                while rows := await cursor.fetch(ROWS_PER_READ):
                    yield rows

    async def _reservations(self, name: str, *arguments: object) -> frozenset[str]:
        with translated():
            rows = await self._pool.fetch(_SQL[name], *arguments)
        return frozenset(row["reservation"] for row in rows)


def _open_hold(row: asyncpg.Record) -> OpenHold:
    hold = whole_hold(live_hold(row))
    return OpenHold(hold.reservation, hold.create_ms, hold.windows)


def _origin(text: str) -> Origin | None:
    """`<epoch>/<event>`; empty: it has not run."""
    epoch, _, event = text.partition("/")
    return Origin(int(epoch), event) if event else None
