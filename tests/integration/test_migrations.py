"""The schema: from nothing to what the code expects, append-only, with indexes for the hot queries."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from quota_service.domain.ledger import Origin
from quota_service.stores.postgres import at_once, roles, sql
from quota_service.stores.postgres import migrate as migrations
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.migrate import (
    MigrationError,
    check_version,
    current_version,
    expected_version,
)
from quota_service.stores.postgres.pool import Connection, PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.transaction import write_batch
from tests.integration.postgres_lives import Life, a_hold


@pytest.fixture
async def empty_url(postgres_url: str) -> AsyncIterator[str]:
    name = urlsplit(postgres_url).path.removeprefix("/") + "_empty"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_an_empty_database_is_brought_to_what_the_code_expects(empty_url: str) -> None:
    pool = await open_pool(PoolSettings(url=empty_url))
    assert await current_version(pool) == ""
    with pytest.raises(MigrationError, match="run `quota migrate`"):
        await check_version(pool)

    await asyncio.gather(*(asyncio.to_thread(migrations.migrate, empty_url) for _ in range(2)))

    assert await current_version(pool) == expected_version()
    await check_version(pool)
    assert await pool.fetchval("SELECT count(*) FROM imported_models") > 1_000
    await close_pool(pool)


async def test_a_newer_database_is_served_too_while_replicas_are_replaced(
    pool: asyncpg.Pool, owner: asyncpg.Pool
) -> None:
    await owner.execute("INSERT INTO schema_migrations (version) VALUES ('99990101000000')")
    await check_version(pool)


async def test_migrating_again_changes_nothing(empty_url: str) -> None:
    await asyncio.to_thread(migrations.migrate, empty_url)
    pool = await open_pool(PoolSettings(url=empty_url))
    before = await pool.fetch("SELECT * FROM catalogue_import")

    await asyncio.to_thread(migrations.migrate, empty_url)

    assert await pool.fetch("SELECT * FROM catalogue_import") == before
    assert await migrations.ensure_partitions(pool) == 0
    await close_pool(pool)


@pytest.mark.parametrize("fault", [":5432x/db", ":1/db"])
def test_a_failure_is_told_without_the_password(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_WAIT_S", 1)

    with pytest.raises(MigrationError, match=r"port|refused") as raised:
        migrations.migrate(f"postgresql://quota:s%40cret@127.0.0.1{fault}")

    assert "cret" not in str(raised.value)


async def test_a_database_that_does_not_exist_is_told(postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/no_such_database").geturl()

    with pytest.raises(MigrationError, match="does not exist"):
        await asyncio.to_thread(migrations.migrate, url)


@pytest.mark.parametrize("verb", ["UPDATE {} SET organization = ''", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_ledger_and_its_keys_are_append_only_for_their_owner_too(
    pool: asyncpg.Pool, owner: asyncpg.Pool, verb: str
) -> None:
    await PostgresLedger(pool).write(Life(a_hold()).commit(5).entries)
    partitions = await pool.fetch("SELECT DISTINCT tableoid::regclass::text AS name FROM ledger_entries")
    keys = await pool.fetch("SELECT DISTINCT tableoid::regclass::text AS name FROM ledger_keys")
    tables = ["ledger_entries", "ledger_keys", *(row["name"] for row in partitions + keys)]
    assert len(tables) >= 4

    for table in tables:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute(verb.format(table))

    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == 2


async def test_a_login_that_is_no_more_than_a_member_of_the_role_is_enough_to_serve(
    postgres_url: str, owner: asyncpg.Pool
) -> None:
    login = f"app_{secrets.token_hex(6)}"
    await owner.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x'; GRANT quota_application TO {login}")
    parts = urlsplit(postgres_url)
    url = parts._replace(netloc=f"{login}:x@{parts.hostname}:{parts.port}").geturl()
    pool = await open_pool(PoolSettings(url=url, connections_min=1))
    try:
        await check_version(pool)
        assert await migrations.ensure_partitions(pool) == 0
        await PostgresLedger(pool).write(Life(a_hold()).commit(5).entries)
        for statement in ("UPDATE ledger_entries SET reason = ''", "DELETE FROM audit_events"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(f"RESET ROLE; {statement}")
    finally:
        await close_pool(pool)
        await owner.execute(f"DROP ROLE {login}")


async def test_every_table_and_sequence_is_granted_by_name_and_nothing_of_others(owner: asyncpg.Pool) -> None:
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )
    assert {row["relname"] for row in tables} == roles.PRIVILEGES.keys()
    sequences = await owner.fetch(
        "SELECT c.relname FROM pg_class c LEFT JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'i'"
        " WHERE c.relnamespace = 'public'::regnamespace AND d.objid IS NULL AND CASE c.relkind"
        " WHEN 'S' THEN NOT has_sequence_privilege('quota_application', c.oid, 'USAGE') ELSE false END"
    )
    assert sequences == []


async def test_a_schema_that_is_found_by_the_login_s_name_is_still_found(postgres_url: str) -> None:
    login = f"own_{secrets.token_hex(6)}"
    parts = urlsplit(postgres_url)
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x'; CREATE SCHEMA AUTHORIZATION {login}")
        await admin.execute(f"GRANT quota_application TO {login}")
        pool = await open_pool(
            PoolSettings(url=parts._replace(netloc=f"{login}:x@{parts.hostname}:{parts.port}").geturl())
        )
        assert await pool.fetchval("SELECT current_schema()") == login
        await close_pool(pool)
    finally:
        await admin.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")
        await admin.close()


async def test_partitions_reach_from_the_previous_month_to_three_ahead(pool: asyncpg.Pool) -> None:
    await pool.execute("SELECT ensure_ledger_partitions('2030-01-31 23:30:00+00')")

    rows = await pool.fetch(
        "SELECT relid::regclass::text AS name FROM pg_partition_tree('ledger_entries') WHERE isleaf"
    )
    names = {row["name"] for row in rows}
    months = {"2029_12", "2030_01", "2030_02", "2030_03", "2030_04"}
    assert {f"ledger_entries_{month}" for month in months} <= names


async def test_partitions_made_by_several_servers_at_once_are_made_once(pool: asyncpg.Pool) -> None:
    make = "SELECT ensure_ledger_partitions('2031-06-01')"

    assert sum(await asyncio.gather(*(pool.fetchval(make) for _ in range(8)))) == 5


async def test_new_partitions_are_append_only_and_indexed(pool: asyncpg.Pool) -> None:
    await pool.execute("SELECT ensure_ledger_partitions('2030-01-01')")

    triggers = await pool.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'ledger_entries_2030_04'::regclass"
    )
    indexes = await pool.fetch("SELECT FROM pg_indexes WHERE tablename = 'ledger_entries_2030_04'")
    assert {row["tgname"] for row in triggers} == {"append_only", "never_truncated"}
    assert len(indexes) == 3


FILL = """
INSERT INTO ledger_keys (organization, key, content_hash, entry_id, create_time)
SELECT 'o' || n % 20, n || '/hold', '', n, now() FROM generate_series(1, 5000) n;
INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)
SELECT 'o' || n % 20, n::text, '', 0, now() FROM generate_series(1, 5000) n;
INSERT INTO organizations SELECT 'o' || n, '{}', 1, 1, 1 FROM generate_series(0, 19) n;
INSERT INTO resources SELECT 'o' || n % 20, 'api_key', n::text, '{}', n FROM generate_series(1, 2500) n;
INSERT INTO resources SELECT 'o' || n % 20, 'user', n::text, '{}', n FROM generate_series(2501, 5000) n;
"""
COPIES = """
INSERT INTO ledger_entries SELECT (jsonb_populate_record(e, jsonb_build_object(
    'id', n, 'organization', 'o' || n % 20, 'reservation', n::text))).*
FROM ledger_entries e, generate_series(1, 5000) n WHERE e.id = (SELECT min(id) FROM ledger_entries);
"""
EXPLAINED = (
    "LOAD 'auto_explain'",
    "SET auto_explain.log_min_duration = 0",
    "SET auto_explain.log_nested_statements = on",
    "SET client_min_messages = log",
)
NO_FILTER = ["", "", "", "", "", "", "", "{}", "[]", None, None]
HOT: list[tuple[str, str, list[Any], str]] = [
    ("ledger", "list_entries", ["o1", *NO_FILTER, 4_000, 50, None], "Index Scan using ledger_entries_2"),
    ("ledger", "list_entries", ["o1", *NO_FILTER, 4_000, 50, ["core"]], "Index Scan using ledger_entries_2"),
    ("ledger", "list_entries_of_reservation", ["o1", "41", *NO_FILTER[1:], None, 50, None], "reservation"),
    ("ledger", "entries_of_reservation", ["o1", "41"], "reservation"),
    ("ledger", "find_entry", ["o1", "41/hold"], "_pkey"),
    ("ledger", "written_before", [["o1"], ["41/hold"]], "_pkey"),
    ("configuration", "changed_resources", ["o1", 4_990], "resources_by_version"),
    ("configuration", "get_resource", ["o1", "user", "2541"], "resources_pkey"),
    ("configuration", "list_resources", ["o1", "user", "2541", 10, None], "resources_pkey"),
    ("configuration", "list_resources", ["o1", "user", "2541", 10, ["2561"]], "resources_pkey"),
    ("configuration", "organization_of_key", ["41"], "resources_api_key"),
]


@pytest.fixture
async def filled(pool: asyncpg.Pool, owner: asyncpg.Pool) -> asyncpg.Pool:
    await PostgresLedger(pool).write(Life(a_hold()).entries)
    for statements in (FILL, COPIES, "VACUUM ANALYZE"):
        await owner.execute(statements, timeout=60)
    return pool


async def written_at_once(connection: Connection, batch: Batch) -> None:
    assert await at_once.write(connection, batch) is not None


async def written_by_steps(connection: Connection, batch: Batch) -> None:
    async with connection.transaction():
        await write_batch(connection, batch)


ALL = ("ledger_keys", "open_holds", "window_balances", "store_epochs", "pending_applications")


@pytest.mark.parametrize(
    ("way", "tables"), [(written_at_once, ALL), (written_by_steps, ("open_holds", "window_balances"))]
)
async def test_a_transaction_of_the_ledger_uses_indexes_whatever_is_known_of_its_tables(
    pool: asyncpg.Pool,
    owner: asyncpg.Pool,
    postgres_url: str,
    way: Callable[[Connection, Batch], Awaitable[None]],
    tables: Sequence[str],
) -> None:
    await PostgresLedger(pool).write(Life(a_hold()).entries)
    await owner.execute(FILL, timeout=60)  # and no ANALYZE
    plans: list[str] = []
    life = [replace(entry, origin=Origin(0, "1-0")) for entry in Life(a_hold(id_="r2")).commit(400).entries]
    connection = await asyncpg.connect(postgres_url)
    connection.add_log_listener(lambda _, message: plans.append(message.message))
    for statement in EXPLAINED:
        await connection.execute(statement)
    for entry in life:
        await way(connection, Batch([entry]))
    await connection.close()
    assert [plan for plan in plans if "Index Scan using open_holds_pkey" in plan]
    assert not [plan for plan in plans for table in tables if f"Seq Scan on {table}" in plan]


READ = """
SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)::bigint
    + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)::bigint
"""


async def rows_read(connection: Connection) -> int:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    found: int = await connection.fetchval(READ)
    return found


@pytest.mark.parametrize("way", [written_at_once, written_by_steps])
async def test_holds_end_without_reading_others_though_their_table_was_thought_empty(
    owner: asyncpg.Pool, postgres_url: str, way: Callable[[Connection, Batch], Awaitable[None]]
) -> None:
    lives = [Life(a_hold(id_=f"r{number}")).commit(400) for number in range(2_000)]
    held, ended = ([replace(life.entries[at], origin=Origin(0, "1-0")) for life in lives] for at in (0, 1))
    connection = await asyncpg.connect(postgres_url)
    await owner.execute("VACUUM ANALYZE", timeout=60)
    await way(connection, Batch(held[:1]))
    await way(connection, Batch(ended[:1]))  # which plans
    await way(connection, Batch(held[1:]))
    before = await rows_read(connection)
    for first in range(1, 201, 20):
        await way(connection, Batch(ended[first : first + 20]))
    read = await rows_read(connection) - before
    await connection.close()
    assert read < 200 * 10


async def test_the_hot_queries_use_indexes(filled: asyncpg.Pool) -> None:
    for file, name, arguments, index in HOT:
        plan = "\n".join(row[0] for row in await filled.fetch(f"EXPLAIN {sql.load(file)[name]}", *arguments))
        assert index in plan, f"{name}:\n{plan}"
        scanned = [line for line in plan.splitlines() if "Seq Scan" in line]
        # The months without entries are empty and scanned in no time.
        assert not [line for line in scanned if "rows=1 " not in line and "rows=0 " not in line], (
            f"{name}:\n{plan}"
        )
