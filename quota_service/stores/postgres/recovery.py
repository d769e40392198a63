"""Epochs in PostgreSQL, and all that keys are made anew from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

import asyncpg

from quota_service.application.recovery_ports import Epoch, LiveHold, Pending
from quota_service.domain.amounts import Amounts
from quota_service.domain.audit import Authorship, Changed
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters
from quota_service.stores.hold_documents import windows_of
from quota_service.stores.postgres import audited, epochs, refused, sql, trail
from quota_service.stores.postgres.batch import balances
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.ledger import ACQUIRE_S
from quota_service.stores.postgres.live_holds import LiveHolds
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_time

_SQL = sql.load("epochs")

LONG_S = 120.0
"""How long a statement may take that grows with what an outage has left. It must not be given up because it
takes longer than a call may: each next try would find as much.
"""


class PostgresTurn:
    """Implements `Turn`, within a transaction that holds the organization's lock alone."""

    def __init__(self, connection: Connection, organization: str, epoch: Epoch, version: int) -> None:
        self._connection = connection
        self._organization = organization
        self._dead_letters: list[Entry] | None = None
        self.epoch = epoch
        self.version = version

    async def begin(self) -> int:
        await self._connection.execute(_SQL["all_applied"], self._organization, timeout=LONG_S)
        epoch: int = await self._connection.fetchval(_SQL["next_epoch"], self._organization)
        await refused.begin_epoch(self._connection, self._organization, epoch)
        return epoch

    async def windows(self, ended_after_ms: int) -> Sequence[tuple[WindowRef, Counters]]:
        rows = await self._connection.fetch(
            _SQL["live_balances"], self._organization, to_time(ended_after_ms), timeout=LONG_S
        )
        gains = balances(await self._refused())
        return refused.windows_with(map(balance_of, rows), gains, ended_after_ms)

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        dead = {entry.key for entry in await self._refused()}
        in_ledger = await epochs.known_keys(self._connection, self._organization, keys)
        return in_ledger | dead.intersection(keys)

    async def holds(self) -> AsyncGenerator[Sequence[LiveHold]]:
        live = LiveHolds(self._connection, self._organization, await self._refused())
        async with aclosing(live.parts()) as parts:
            async for part in parts:
                yield part

    def windows_of(self, hold: LiveHold) -> tuple[WindowRef, ...]:
        return windows_of(hold)

    async def _refused(self) -> list[Entry]:
        """What the ledger has not because it refuses it. The keys count it: it has happened."""
        if self._dead_letters is None:
            self._dead_letters = await refused.counted(self._connection, self._organization)
        return self._dead_letters


class PostgresEpochs:
    """Implements `EpochStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def epoch(self, organization: str) -> Epoch:
        with translated():
            row = await self._pool.fetchrow(_SQL["epoch"], organization)
        assert row is not None
        return Epoch(row["epoch"], row["broken"], is_known=row["is_known"])

    async def epochs(self) -> Mapping[str, Epoch]:
        with translated():
            rows = await self._pool.fetch(_SQL["epochs"])
        return {row["organization"]: Epoch(row["epoch"], row["broken"], row["is_pending"]) for row in rows}

    @asynccontextmanager
    async def alone(self, organization: str) -> AsyncIterator[PostgresTurn]:
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
                await connection.execute(_SQL["lock"], organization)
                await _take_long(connection)
                # Statements of their own: they see what the lock has waited for.
                row = await connection.fetchrow(_SQL["epoch"], organization)
                assert row is not None
                version = await connection.fetchval(_SQL["version"], organization)
                epoch = Epoch(row["epoch"], row["broken"], is_known=row["is_known"])
                yield PostgresTurn(connection, organization, epoch, version or 0)

    async def mark_broken(self, organization: str, by: Authorship | None = None) -> None:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_SQL["mark_broken"], [organization])
                if by is not None:
                    await trail.append(connection, organization, [(by, Changed(audited.KEYS))])

    async def pending(self, organization: str, count: int) -> Sequence[Pending]:
        with translated():
            rows = await self._pool.fetch(_SQL["pending"], organization, count)
        return [Pending(epochs.decode_entry(row["entry"]), row["is_open"], row["epoch"]) for row in rows]

    async def applied(self, organization: str, keys: Sequence[str]) -> None:
        stored = [storable(key) for key in keys]
        with translated():
            await self._pool.execute(_SQL["applied"], [organization] * len(stored), stored)

    async def forget_applied(self) -> None:
        """To be called once a day."""
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
                await _take_long(connection)
                await connection.execute(_SQL["forget_applied"], timeout=LONG_S)


async def _take_long(connection: Connection) -> None:
    """Until the transaction ends."""
    await connection.execute(f"SET LOCAL statement_timeout = {int(LONG_S * 1_000)}")


def balance_of(row: asyncpg.Record) -> tuple[WindowRef, Counters]:
    """A window of the ledger, and where it stands: the columns of `live_balances`, in their order."""
    budget, each_value, start_ms, end_ms, *amounts = row
    return WindowRef(budget, each_value, start_ms, end_ms), Counters(
        spent=Amounts(*amounts[0:3]),
        overrun=Amounts(*amounts[3:6]),
        added=Amounts(*amounts[6:9]),
        moved=Amounts(*amounts[9:12]),
    )
