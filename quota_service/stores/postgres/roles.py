"""The role that the service takes on: it can add to the ledger and the audit trail, and change neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota_service.stores.postgres import sql

if TYPE_CHECKING:
    from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("roles")


async def grant(connection: Connection) -> None:
    """Makes the role and says what it may; to be done by the tables' owner, after every migration.

    An owner who may make no roles leaves it out: `quota doctor` tells.
    """
    async with connection.transaction():
        await connection.execute(_SQL["make_role"])
        if await connection.fetchval(_SQL["exists"]):
            await connection.execute(_SQL["join_role"])
            await connection.execute(_SQL["grant"])


async def take_on(connection: Connection) -> None:
    """From now on the session may do no more than the role, if it may take it on at all."""
    await connection.execute(_SQL["take_on"])
