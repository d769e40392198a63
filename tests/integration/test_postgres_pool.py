"""A PostgreSQL that is gone, slow or not ours is StoreUnavailable, and no password is told."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from quota_service.application.ledger_ports import Written
from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from tests.integration.postgres_values import a_record

NEW, REPLAYED, CONFLICT = Written.NEW, Written.REPLAYED, Written.CONFLICT


async def test_a_server_that_is_gone_is_store_unavailable(postgres_url: str) -> None:
    pool = await open_pool(PoolSettings(url=postgres_url))
    await close_pool(pool)

    with pytest.raises(StoreUnavailable):
        await PostgresLedger(pool).write([a_record()])


async def test_a_statement_that_takes_too_long_is_store_unavailable(
    postgres_url: str, owner: asyncpg.Pool
) -> None:
    impatient = await open_pool(PoolSettings(url=postgres_url, command_timeout_ms=200))
    async with owner.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE ledger_keys")
        with pytest.raises(StoreUnavailable):
            await PostgresLedger(impatient).write([a_record()])
    await close_pool(impatient)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("{url}_not", "does not exist"),
        ("postgresql://nobody:s3cret@{host}/db?sslmode=disable", "refuses the connection"),
        ("postgresql://u:s3cret@127.0.0.1:1/db", "did not answer"),
        ("postgresql://u:s3cret@127.0.0.1:s3cret/db", "malformed"),
    ],
)
async def test_a_pool_that_cannot_connect_says_why_but_not_the_password(
    postgres_url: str, url: str, text: str
) -> None:
    base, _, query = postgres_url.partition("?")
    host = urlsplit(postgres_url).netloc.rpartition("@")[2]

    with pytest.raises(StoreUnavailable, match=text) as raised:
        await open_pool(
            PoolSettings(url=url.format(url=base, host=host) + (query and "?" + query) * ("{url}" in url))
        )

    assert "s3cret" not in str(raised.value)
