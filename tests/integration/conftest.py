"""Stores on a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from tests.integration.postgres_values import ACME


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections to a migrated, empty database, as the service has them."""
    pool = await open_pool(PoolSettings(url=postgres_url))
    yield pool
    await close_pool(pool)


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections to the same database with all rights, as migrations have them, and faults."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as owner:
        yield owner


@pytest.fixture
def ledger(pool: asyncpg.Pool) -> PostgresLedger:
    return PostgresLedger(pool)


@pytest.fixture
async def store(pool: asyncpg.Pool) -> PostgresConfigurationStore:
    """With one organization, `acme`."""
    store = PostgresConfigurationStore(pool)
    await store.create_organization(ACME, "")
    return store
