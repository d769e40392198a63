"""Keys are made anew also where the ledger needs longer for it than a call may take."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.recovery import PostgresEpochs
from tests.integration.postgres_lives import Life, a_hold

SLOW = """
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE OR DELETE ON pending_applications
    FOR EACH STATEMENT EXECUTE FUNCTION be_slow();
"""


@pytest.fixture
async def hasty(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections on which no statement may take longer than half a second, or the server 1.5."""
    pool = await open_pool(PoolSettings(url=postgres_url, command_timeout_ms=500))
    yield pool
    await close_pool(pool)


async def test_what_an_outage_has_left_may_take_long(
    pool: asyncpg.Pool, owner: asyncpg.Pool, hasty: asyncpg.Pool
) -> None:
    await PostgresLedger(pool).write(Life(a_hold()).entries)
    await owner.execute(SLOW)
    epochs = PostgresEpochs(hasty)
    assert len(await epochs.pending("acme", 10)) == 1

    async with epochs.alone("acme") as turn:
        await turn.begin()
    assert await epochs.pending("acme", 10) == []

    await pool.execute("UPDATE pending_applications SET create_time = now() - interval '2 days'")
    await epochs.forget_applied()
    assert await pool.fetchval("SELECT count(*) FROM pending_applications") == 0
