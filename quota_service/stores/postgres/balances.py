"""What the ledger knows of counters."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from quota_service.stores.postgres import sql
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.times import to_time

_SQL = sql.load("balances")


class PostgresBalances:
    """Implements `Balances`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def values(self, organization: str, budget: str, start_ms: int) -> Sequence[str]:
        """The each values that have ever been charged in a budget's window of this start."""
        with translated():
            rows = await self._pool.fetch(_SQL["values_of_window"], organization, budget, to_time(start_ms))
        return [row["each_value"] for row in rows]
