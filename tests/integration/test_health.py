"""What the stores are asked to tell whether all is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis.asyncio

from quota_service.stores.postgres.health import PostgresServerHealth
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.health import ValkeyServerHealth
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.runner import Runner


@pytest.fixture
async def restricted_url(valkey_url: str, key_prefix: str) -> AsyncIterator[str]:
    """The URL of a user who may not read settings, as with most who host Valkey for others."""
    parts = urlsplit(valkey_url)
    async with redis.asyncio.from_url(valkey_url) as valkey:
        await valkey.execute_command("ACL", "SETUSER", key_prefix, "on", ">word", "~*", "+@all", "-config")
        yield parts._replace(netloc=f"{key_prefix}:word@{parts.hostname}:{parts.port}").geturl()
        await valkey.execute_command("ACL", "DELUSER", key_prefix)


async def test_valkey_tells_what_it_is_and_how_it_is_set_up(valkey_url: str, key_prefix: str) -> None:
    connection = Connection(valkey_url)
    facts = await ValkeyServerHealth(Runner(connection, Keys(key_prefix))).facts()
    assert facts.kind in ("valkey", "redis")
    assert int(facts.version.partition(".")[0]) >= 7
    assert (facts.role, facts.is_loading, facts.eviction_policy) == ("master", False, "noeviction")
    assert (facts.has_append_only_file, facts.appendfsync, facts.saves) == (True, "no", "")
    assert (facts.replicas, facts.replicas_min, facts.failed_writes) == (0, 0, ())
    assert facts.bytes_used > 0
    assert abs(facts.clock_ahead_ms) < 1_000
    await connection.close()


async def test_settings_that_may_not_be_read_are_unknown(restricted_url: str, key_prefix: str) -> None:
    connection = Connection(restricted_url)
    facts = await ValkeyServerHealth(Runner(connection, Keys(key_prefix))).facts()
    assert (facts.appendfsync, facts.saves, facts.replicas_min) == (None, None, None)
    assert (facts.eviction_policy, facts.has_append_only_file) == ("noeviction", True)
    await connection.close()


async def test_postgres_tells_what_it_is_and_how_it_is_set_up(pool: asyncpg.Pool) -> None:
    facts = await PostgresServerHealth(pool).facts()
    assert facts.version >= 140_000
    assert (facts.is_standby, facts.fsync, facts.synchronous_commit) == (False, False, "off")
    assert 0 < facts.connections_used < facts.connections_max
    assert (facts.schema, facts.partitions_missing) == (facts.schema_expected, ())
    assert abs(facts.clock_ahead_ms) < 1_000
    of_two = await PostgresServerHealth(pool, processes=2).facts()
    assert of_two.pool_connections == 2 * facts.pool_connections


async def test_a_missing_partition_is_named(pool: asyncpg.Pool, owner: asyncpg.Pool) -> None:
    name: str = await pool.fetchval(
        "SELECT 'ledger_entries_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')"
    )
    await owner.execute(f"DROP TABLE {name}")
    assert (await PostgresServerHealth(pool).facts()).partitions_missing == (name,)
