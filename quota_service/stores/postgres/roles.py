"""The role that the service takes on: it can add to the ledger and the audit trail, and change neither."""

from __future__ import annotations

import asyncpg

from quota_service.stores.postgres import sql

_SQL = sql.load("roles")

APPLICATION = "quota_application"


async def grant(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Makes the role and says what it may; to be done by the tables' owner, after every migration.

    An owner who may make no roles leaves it out: `quota doctor` tells.
    """
    async with connection.transaction():
        await connection.execute(_SQL["make_role"])
        if await connection.fetchval(_SQL["exists"]):
            await connection.execute(_SQL["join_role"])
            await connection.execute(_SQL["grant"])


async def may_take(url: str, timeout_s: float) -> bool:
    """Whether who connects there may take the role on."""
    connection = await asyncpg.connect(url, timeout=timeout_s)
    try:
        found: bool = await connection.fetchval(_SQL["may_take"])
        return found
    finally:
        await connection.close()
