"""Fills stores with much: what the service has written once is written again under other names.

It is cloned in SQL, so that nothing here has to know how it is encoded: a name is replaced by one as long. No
server runs on the stores meanwhile, and what is cloned has been written to the ledger.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from quota_service.embedded import EmbeddedStores
from quota_service.stores.valkey.connection import Connection as Valkey

LONG_S = 1_200.0
KEYS = "of-{}"
"""The names of API keys that are made, and of their budgets, by their numbers."""

_BUDGETS_AND_KEYS = """
WITH next AS MATERIALIZED (SELECT nextval('configuration_versions') AS version),
raised AS (UPDATE organizations SET version = next.version FROM next WHERE id = $1)
INSERT INTO resources (organization, kind, id, document, version)
SELECT organization, kind, 'of-' || n, document || CASE kind
    WHEN 'api_key' THEN jsonb_build_object('id', 'of-' || n)
    ELSE jsonb_build_object('id', 'of-' || n,
        'scope', document -> 'scope' || jsonb_build_object('api_key', 'of-' || n))
END, next.version
FROM resources, next, generate_series($3::int, $4::int) AS n
WHERE organization = $1 AND (kind, id) IN (('api_key', $2), ('budget', 'key'))
"""
"""$2: the API key that is cloned, with its budget, which is named `key`: each key has one of its own."""

_HOLDS = """
INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)
SELECT organization, made.reservation,
    decode(replace(
        replace(encode(kept, 'hex'), encode($1::text::bytea, 'hex'), encode(made.reservation::bytea, 'hex')),
        encode($2::text::bytea, 'hex'), encode(made.key::bytea, 'hex')
    ), 'hex'),
    progress, expire_time
FROM open_holds, LATERAL (
    SELECT left($1, 24) || lpad(to_hex(n), 12, '0') AS reservation, lpad(n::text, length($2), '0') AS key
    FROM generate_series($3::int, $4::int) AS n
) AS made
WHERE open_holds.reservation = $1
"""

_CLONES = """
INSERT INTO {table} ({columns}) SELECT {cloned}
FROM generate_series($2::int, $3::int) AS n,
LATERAL (
    SELECT * FROM {table} WHERE n > 0 AND {table}.organization = $4 AND {table}.key LIKE $1 || '/%'
) AS known
"""
_NUMBER = "$5::bigint + 2 * n + (known.key LIKE '%/end')::int"
_NAMED = "'00' || lpad(to_hex(n), 6, '0') || substr({}, 9)"
_CLONED = {
    "id": _NUMBER,
    "entry_id": _NUMBER,
    "key": _NAMED.format("known.key"),
    "reservation": _NAMED.format("known.reservation"),
    "create_time": "$6::timestamptz + n * $7::interval",
}
"""What becomes of a row's columns. A Commit's entry follows that of its hold, and time goes with the ids."""

SPAN = datetime.timedelta(days=25)
"""Over which entries are spread: this month and the last one."""

_QUICKLY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "8GB",
    "autovacuum": "off",
}
_ROWS_AT_ONCE = 500_000


async def budgets_and_keys(on: EmbeddedStores, organization: str, key: str, first: int, last: int) -> None:
    """API keys from this number to that one, each with a budget of its own, as the API would have made
    them.
    """
    async with _quickly(on) as connection:
        await connection.execute(_BUDGETS_AND_KEYS, organization, key, first, last)
        await connection.execute("VACUUM ANALYZE resources")


async def holds(on: EmbeddedStores, reservation: str, idempotency_key: str, first: int, last: int) -> None:
    """Clones of an open hold. Valkey is emptied: the service makes its keys anew from these, as it does
    when Valkey was lost.
    """
    async with _quickly(on) as connection:
        await connection.execute(_HOLDS, reservation, idempotency_key, first, last)
        await connection.execute("VACUUM ANALYZE open_holds")
    async with valkey(on) as emptied:
        await emptied.call("FLUSHALL")


async def ledger_rows(on: EmbeddedStores, organization: str, reservation: str, first: int, last: int) -> None:
    """Clones of a hold's entry and its Commit's: two rows each. They count as sealed, as all do that are
    older than some minutes.
    """
    pairs = last + 1 - first
    async with _quickly(on) as connection:
        now: datetime.datetime = await connection.fetchval("SELECT now()")
        base: int = await connection.fetchval("SELECT nextval('ledger_entry_ids')")
        numbers = (organization, base - 2 * first, now - SPAN - first * SPAN / pairs, SPAN / pairs)
        for start in range(first, last + 1, _ROWS_AT_ONCE // 2):
            end = min(start + _ROWS_AT_ONCE // 2 - 1, last)
            await asyncio.gather(*(_clone(on, table, reservation, start, end, numbers) for table in _LEDGER))
        after = base + 2 * pairs
        await connection.execute("SELECT setval('ledger_entry_ids', $1)", after)
        await connection.execute("UPDATE ledger_sealed SET last_id = $1", after)
        for table in _LEDGER:
            await connection.execute(f"VACUUM ANALYZE {table}")


_LEDGER = ("ledger_entries", "ledger_keys")


async def _clone(
    on: EmbeddedStores, table: str, reservation: str, first: int, last: int, numbers: tuple[object, ...]
) -> None:
    async with connected(on) as connection:
        rows = await connection.fetch(
            "SELECT attname FROM pg_attribute"
            " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
            table,
        )
        columns = [row["attname"] for row in rows]
        statement = _CLONES.format(
            table=table,
            columns=", ".join(f'"{column}"' for column in columns),
            cloned=", ".join(_CLONED.get(column, f'known."{column}"') for column in columns),
        )
        await connection.execute(statement, reservation, first, last, *numbers)


@asynccontextmanager
async def connected(on: EmbeddedStores) -> AsyncIterator[asyncpg.Connection]:
    """A connection to PostgreSQL whose statements may take long."""
    connection = await asyncpg.connect(on.postgres_url, command_timeout=LONG_S)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def valkey(on: EmbeddedStores) -> AsyncIterator[Valkey]:
    """A connection to Valkey whose commands may take long."""
    connection = Valkey(on.valkey_url, timeout_s=60.0)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _quickly(on: EmbeddedStores) -> AsyncIterator[asyncpg.Connection]:
    """A connection while PostgreSQL does not care for a loss of power. Afterwards it does again, and
    everything is on the disk.
    """
    async with connected(on) as connection:
        for name, value in _QUICKLY.items():
            await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await connection.execute("SELECT pg_reload_conf()")
        yield connection
        await connection.execute("ALTER SYSTEM RESET ALL")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.execute("CHECKPOINT")
    await asyncio.to_thread(os.sync)
