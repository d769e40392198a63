"""Connections to PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.postgres import roles
from quota_service.stores.postgres.errors import translated

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection  # asyncpg's classes take no parameters when they run


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Where PostgreSQL is, how many connections, and how long to wait for an answer.

    `url`: `postgresql://…`, as asyncpg takes it. `command_timeout_ms` bounds each statement on both sides:
    here, and a little later on the server.
    """

    url: str = field(repr=False)
    connections_min: int = 2
    connections_max: int = 10
    connect_timeout_ms: int = 3_000
    command_timeout_ms: int = 5_000


async def open_pool(settings: PoolSettings) -> asyncpg.Pool:
    """A pool that is connected, with no more rights than the service needs, where the migration could make a
    role that has those. Close it with `close_pool`.

    Raises StoreUnavailable, which tells the operator why where PostgreSQL refuses us.
    """
    try:
        with translated():
            return await _connect(settings)
    except StoreUnavailable as error:
        if isinstance(error.__cause__, asyncpg.PostgresError):
            raise StoreUnavailable(f"PostgreSQL refuses the connection: {error.__cause__}.") from error
        raise
    except ValueError:  # its text may hold parts of the URL, and with them the password
        raise StoreUnavailable("The URL of PostgreSQL is malformed.") from None


class _Reused(asyncpg.Connection):
    """A connection that is given back as it is. What we set ends with the transaction that we set it in, so
    nothing has to be put back, which would be one more question after each transaction.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


async def _connect(settings: PoolSettings) -> asyncpg.Pool:
    statement_timeout_ms = settings.command_timeout_ms + 1_000
    return await asyncpg.create_pool(
        settings.url,
        min_size=settings.connections_min,
        max_size=settings.connections_max,
        timeout=settings.connect_timeout_ms / 1_000,
        command_timeout=settings.command_timeout_ms / 1_000,
        init=roles.take_on,
        connection_class=_Reused,
        server_settings={
            "application_name": "quota-service",
            "timezone": "UTC",
            "statement_timeout": str(statement_timeout_ms),
            "idle_in_transaction_session_timeout": str(10 * statement_timeout_ms),
        },
    )


async def close_pool(pool: asyncpg.Pool, *, grace_ms: int = 5_000) -> None:
    """Waits for connections in use, then cuts them."""
    try:
        async with asyncio.timeout(grace_ms / 1_000):
            await pool.close()
    except TimeoutError:
        pool.terminate()
