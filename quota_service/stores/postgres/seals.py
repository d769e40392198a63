"""Seals over the ledger's entries: what they were, in a chain for each organization.

The ledger is far too busy to chain its entries as they are written. So one replica seals, now and then, all
that is written by then: who changes an entry afterwards is found by its digest, and who changes the seal as
well by the seals that follow.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Iterator

import asyncpg

from quota_service.application.audit_ports import Looked
from quota_service.domain import audit
from quota_service.domain.audit import Finding, Head, Tampering
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.errors import translated

_SQL = sql.load("seals")

IDS_PER_TRANSACTION = 1_000
TRANSACTIONS_PER_ROUND = 500
"""After an update, or a long outage, there may be much to seal: the rest comes next time."""

RESTS = 4
"""So many times as long as a transaction took, to leave PostgreSQL to those who wait for it."""

RESTS_S = 20.0
"""In a round, at most."""

LOOK_EVERY_S = 0.1
PATIENCE_S = 10.0
"""How long to wait for transactions that are under way; then the next time will do."""

_SEALED = struct.Struct(">q16s")
"""How a seal tells of an entry: its id and its digest."""


class PostgresSeals:
    """Implements `LedgerSeals`."""

    def __init__(self, pool: asyncpg.Pool, rest: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pool = pool
        self._rest = rest

    async def seal(self) -> None:
        with translated():
            last_id = await self._pool.fetchval(_SQL["last_id"])
            if last_id <= await self._pool.fetchval(_SQL["sealed_to"]):
                await self._pool.execute(_SQL["nothing_new"], last_id)
            elif await self._is_decided():
                await self._seal_to(last_id)

    async def verify(self, organization: str, after: int, count: int) -> Looked:
        with translated():
            before = await self._pool.fetchrow(_SQL["one_seal"], organization, after)
            rows = await self._pool.fetch(_SQL["seals_from"], organization, after, count)
        head = Head(after, before["hash"] if before else audit.NO_HASH)
        last_id = rows[-1]["last_id"] if rows else before["last_id"] if before else 0
        links = [
            audit.Link(row["sequence"], row["previous_hash"], row["hash"], row["digest"]) for row in rows
        ]
        findings = [
            Finding(finding.tampering, finding.number, in_seals=True)
            for finding in audit.broken_links(head, links)
        ]
        sealed = dict(pair for row in rows for pair in _unpacked(row["entries"]))
        with translated():
            found = await self._pool.fetch(
                _SQL["digests"], organization, before["last_id"] if before else 0, last_id
            )
        findings += audit.differences(sealed, {row["id"]: row["digest"] for row in found})
        if not after:
            findings += await self._below_one(organization)
        at = Head(rows[-1]["sequence"], rows[-1]["hash"]) if rows else head
        if rows:
            return Looked(findings, len(sealed), at, more=True)
        with translated():
            rest = await self._pool.fetchrow(_SQL["unsealed"], organization, last_id, audit.MISSING_NAMED_MAX)
        assert rest is not None
        findings += [Finding(Tampering.UNSEALED, number) for number in rest["strays"]]
        return Looked(findings, 0, at, more=False, unsealed=rest["entries"])

    async def hash_of(self, organization: str, sequence: int) -> bytes | None:
        with translated():
            row = await self._pool.fetchrow(_SQL["one_seal"], organization, sequence)
        return row["hash"] if row else None

    async def head(self, organization: str) -> Head:
        with translated():
            row = await self._pool.fetchrow(_SQL["end_of_seals"], organization)
        return Head(row["sequence"], row["hash"]) if row else Head()

    async def _below_one(self, organization: str) -> list[Finding]:
        """Ids begin at 1."""
        with translated():
            rows = await self._pool.fetch(_SQL["below_one"], organization, audit.MISSING_NAMED_MAX)
        return [Finding(Tampering.ADDED, row["id"]) for row in rows]

    async def _is_decided(self) -> bool:
        """Waits until what had been begun by now is written or never will be."""
        coming = await self._pool.fetchval(_SQL["next_transaction"])
        for _ in range(int(PATIENCE_S / LOOK_EVERY_S)):
            if await self._pool.fetchval(_SQL["oldest_transaction"]) >= coming:
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False

    async def _seal_to(self, last_id: int) -> None:
        came_to: int | None = None
        for _ in range(TRANSACTIONS_PER_ROUND):
            begun_s = time.monotonic()
            came_to = await self._seal_next(came_to, last_id)
            if came_to is None or came_to >= last_id:
                return
            rests = min((last_id - came_to) // IDS_PER_TRANSACTION + 1, TRANSACTIONS_PER_ROUND)
            await self._rest(min(RESTS * (time.monotonic() - begun_s), RESTS_S / rests))

    async def _seal_next(self, came_to: int | None, last_id: int) -> int | None:
        """One transaction. The id that it came to; None where another replica seals, or has sealed all."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_SQL["only_sealer"]):
                return None
            sealed_to = int(await connection.fetchval(_SQL["sealed_to"]))
            if sealed_to >= last_id or came_to not in (None, sealed_to):
                return None
            until = min(last_id, sealed_to + IDS_PER_TRANSACTION)
            await connection.execute(_SQL["seal"], sealed_to, until)
            return until


def _unpacked(entries: bytes) -> Iterator[tuple[int, bytes]]:
    """What a seal tells of each entry; of one that somebody has cut, as much as there is."""
    return _SEALED.iter_unpack(entries[: len(entries) // _SEALED.size * _SEALED.size])
