"""Looks into the stores behind a server, to see that something changed nothing, and makes them forget."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import redis.asyncio

_TABLES = ("ledger_entries", "ledger_keys", "window_balances", "open_holds")


class Stores:
    """The keys of one server in Valkey, and its database."""

    def __init__(self, valkey: redis.asyncio.Redis, database: asyncpg.Connection, prefix: str) -> None:
        self.valkey = valkey
        self._database = database
        self._prefix = prefix

    async def keys(self, part: str = "") -> list[bytes]:
        """The keys that contain a text."""
        pattern = f"{self._prefix}/*{part}*"
        return sorted([key async for key in self.valkey.scan_iter(match=pattern, count=1000)])

    async def snapshot(self) -> dict[str, object]:
        """Everything that Valkey and the ledger hold, once nothing is on its way between them.

        Left out: the time last seen, which moves by itself, and how long keys are kept.
        """
        await self.drained()
        found: dict[str, object] = {}
        for key in await self.keys():
            if key.endswith(b"}/meta"):
                found[key.decode()] = await self.valkey.hget(key, "version")
            else:
                found[key.decode()] = await self.valkey.dump(key)
        for table in _TABLES:
            found[table] = await self._database.fetch(f"SELECT * FROM {table} t ORDER BY t::text")
        return found

    async def everything(self) -> AsyncIterator[tuple[str, bytes]]:
        """Every row of every table, and every key with what it holds, by where that is."""
        for record in await self._database.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class"
            " WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace"
        ):
            for row in await self._database.fetch(f"SELECT * FROM {record['name']}"):
                yield record["name"], b" ".join(_bytes(value) for value in row.values())
        for key in await self.keys():
            yield "Valkey", key + b" " + repr(await self._held(key)).encode()

    async def _held(self, key: bytes) -> object:
        kind: bytes = await self.valkey.type(key)  # type: ignore[assignment]  # nothing is decoded here
        match kind.decode():
            case "string":
                return await self.valkey.get(key)
            case "hash":
                return await self.valkey.hgetall(key)
            case "set":
                return await self.valkey.smembers(key)
            case "zset":
                return await self.valkey.zrange(key, 0, -1)
            case "list":
                return await self.valkey.lrange(key, 0, -1)
            case "stream":
                return await self.valkey.xrange(key)
        raise AssertionError(f"{key!r} is a {kind.decode()}, which nobody has thought of")

    async def drained(self) -> None:
        """Waits until every event is in the ledger."""
        async with asyncio.timeout(15):
            while True:
                if not await self._waiting():
                    return
                await asyncio.sleep(0.01)

    async def forget(self, reservation: str) -> None:
        """Makes Valkey forget a reservation that the ledger knows."""
        await self.drained()
        keys = await self.keys(f"hold:{reservation.rpartition('/')[2]}")
        assert await self.valkey.delete(*keys) == 1

    async def balance(self, budget: str) -> tuple[int, int]:
        """What the ledger has added up for a budget of acme: spent and overrun, in micro-USD."""
        [row] = await self._database.fetch(
            "SELECT coalesce(sum(spent_cost_micros), 0)::bigint,"
            " coalesce(sum(overrun_cost_micros), 0)::bigint"
            " FROM window_balances"
            " WHERE organization = 'acme' AND budget = $1",
            budget,
        )
        return row[0], row[1]

    async def changes(self, budget: str) -> tuple[int, int]:
        """What the ledger has added up for a budget of acme: added to its limit and moved, in micro-USD."""
        [row] = await self._database.fetch(
            "SELECT sum(added_cost_micros)::bigint, sum(moved_cost_micros)::bigint FROM window_balances"
            " WHERE organization = 'acme' AND budget = $1",
            budget,
        )
        return row[0], row[1]

    async def open_holds(self) -> int:
        """How many holds are live, as far as the ledger knows."""
        count: int = await self._database.fetchval("SELECT count(*) FROM open_holds")
        return count

    async def execute(self, statement: str) -> None:
        """Changes the database, as if by a fault."""
        await self._database.execute(statement)

    async def fetch(self, query: str) -> list[asyncpg.Record]:
        """What the database has."""
        return await self._database.fetch(query)

    async def _waiting(self) -> int:
        return sum([await self.valkey.xlen(key) for key in await self.keys("events")])


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@contextlib.asynccontextmanager
async def opened(valkey_url: str, postgres_url: str, prefix: str) -> AsyncIterator[Stores]:
    database = await asyncpg.connect(postgres_url)
    try:
        async with contextlib.aclosing(redis.asyncio.from_url(valkey_url)) as valkey:
            yield Stores(valkey, database, prefix)
    finally:
        await database.close()
