"""What PostgreSQL says of itself, and what stands in it of each organization."""

from __future__ import annotations

import time
from collections.abc import Sequence

import asyncpg

from quota_service.application.operations.health_ports import LedgerSide, PostgresFacts
from quota_service.application.recovery_ports import Epoch
from quota_service.stores.postgres import migrate, sql
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.times import to_ms

_SQL = sql.load("health")


class PostgresServerHealth:
    """Implements `PostgresHealth`. `processes`: how many the replica has, each with a pool."""

    def __init__(self, pool: asyncpg.Pool, processes: int = 1) -> None:
        self._pool = pool
        self._processes = processes

    async def facts(self) -> PostgresFacts:
        with translated():
            async with self._pool.acquire() as connection:
                begun_s, begun_monotonic_s = time.time(), time.monotonic()
                row = await connection.fetchrow(_SQL["facts"])
                took_s = time.monotonic() - begun_monotonic_s
                missing = await connection.fetch(_SQL["missing_partitions"])
        assert row is not None
        return PostgresFacts(
            **{name: value for name, value in row.items() if name != "now"},
            pool_connections=self._pool.get_max_size() * self._processes,
            schema=await migrate.current_version(self._pool),
            schema_expected=migrate.expected_version(),
            partitions_missing=tuple(each["part"] for each in missing),
            clock_ahead_ms=round(to_ms(row["now"]) - (begun_s + took_s / 2) * 1000),
        )

    async def organizations(self) -> Sequence[LedgerSide]:
        with translated():
            rows = await self._pool.fetch(_SQL["organizations"])
        return [
            LedgerSide(
                organization=row["organization"],
                epoch=Epoch(row["epoch"], row["broken"], bool(row["pending"])),
                pending=row["pending"],
                pending_ms=row["pending_ms"],
                dead_letters=row["dead_letters"],
            )
            for row in rows
        ]
