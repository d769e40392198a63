"""The role that the service takes on: it can add to the ledger and the audit trail, and change neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota_service.stores.postgres import sql

if TYPE_CHECKING:
    from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("roles")

_ADD = "SELECT, INSERT"
_CHANGE = "SELECT, INSERT, UPDATE, DELETE"

PRIVILEGES = {
    "schema_migrations": "SELECT",
    **dict.fromkeys(("ledger_entries", "ledger_keys", "ledger_seals", "audit_events"), _ADD),
    **dict.fromkeys(
        ("organizations", "resources", "request_ids", "imported_models", "catalogue_import"), _CHANGE
    ),
    **dict.fromkeys(("window_balances", "open_holds", "store_epochs", "pending_applications"), _CHANGE),
    **dict.fromkeys(("dead_letters", "alerts", "denials", "ledger_sealed"), _CHANGE),
}
"""What the service may do with its tables: all of them, and no other's."""


async def grant(connection: Connection) -> None:
    """Makes the role and says what it may; to be done by the tables' owner, after every migration.

    An owner who may make no roles leaves it out: `quota doctor` tells.
    """
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        await connection.execute(_SQL["make_role"])
        if not await connection.fetchval(_SQL["exists"]):
            return
        await connection.execute(_SQL["join_role"])
        for table, may in PRIVILEGES.items():
            await connection.execute(await connection.fetchval(_SQL["grant"], table, may))
        await connection.execute(await connection.fetchval(_SQL["grant_rest"]))


async def take_on(connection: Connection) -> None:
    """From now on the session may do no more than the role, if it may take it on at all."""
    await connection.execute(_SQL["take_on"])
