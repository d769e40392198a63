"""A real failover: the master dies, sentinels promote the replica, and the connection goes where it went."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quota_service.domain.errors import StoreUnavailable
from quota_service.embedded.process import until
from quota_service.stores.valkey.connection import Connection
from tests.support.sentinel import FailoverSet, failover_set

FOLLOWED_S = 15.0
PATIENCE_S = 0.5


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[FailoverSet]:
    async with failover_set(tmp_path / "servers") as servers:
        yield servers


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = Connection(url, timeout_s=5.0)
    try:
        yield connection
    finally:
        await connection.close()


async def test_the_connection_follows_the_master_to_the_replica_that_takes_over(
    servers: FailoverSet,
) -> None:
    async with connected(servers.url) as connection:
        first = await connection.run_id()
        await connection.call("SET", "before", 1)
        await servers.replicated()
        await servers.hold_replication()
        await connection.call("SET", "unreplicated", 1)
        servers.kill_master()
        assert await until(lambda: connection.known_run_id not in ("", first), timeout_s=FOLLOWED_S)
        assert await connection.call("MGET", "before", "unreplicated") == [b"1", None]
        assert await connection.call("SET", "after", 1) == b"OK"


async def test_callers_meanwhile_are_told_at_once(servers: FailoverSet) -> None:
    async with connected(servers.url) as connection:
        first = await connection.run_id()
        servers.kill_master()
        assert await until(lambda: not connection.available, timeout_s=FOLLOWED_S)
        waits: list[float] = []
        while connection.known_run_id in ("", first):
            began = time.monotonic()
            with contextlib.suppress(StoreUnavailable):
                await connection.call("PING", patience_s=PATIENCE_S)
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.01)
        assert len(waits) > 10
        assert max(waits) < PATIENCE_S * 1.5


async def test_refreshing_leaves_a_master_that_is_one_no_more_and_keeps_one_that_still_is(
    servers: FailoverSet,
) -> None:
    async with connected(servers.url) as connection:
        first = await connection.run_id()
        await connection.refresh()
        assert connection.known_run_id == first
        # A switch that the old master takes part in: it lives on, and so would a connection to it.
        await _switch_without_telling(servers)
        assert await connection.run_id() == first
        await connection.refresh()
        assert connection.known_run_id not in ("", first)
        assert await connection.call("SET", "after", 1) == b"OK"


async def _switch_without_telling(servers: FailoverSet) -> None:
    """Every sentinel watches the replica from now on, which is a master now; nobody tells the old one."""
    await servers.tell(servers.replica, "REPLICAOF", "NO", "ONE")
    for sentinel in servers.sentinels:
        await servers.tell(sentinel, "SENTINEL", "REMOVE", "budgets")
        await servers.tell(sentinel, "SENTINEL", "MONITOR", "budgets", "127.0.0.1", servers.replica.port, 2)
        password = servers.plain_url(servers.replica).split("@")[0].rpartition(":")[2]
        await servers.tell(sentinel, "SENTINEL", "SET", "budgets", "auth-pass", password)
    await servers.promoted()


async def test_a_replica_that_sentinels_take_for_the_master_is_not_decided_on(servers: FailoverSet) -> None:
    async with connected(servers.plain_url(servers.replica)) as connection:
        with pytest.raises(StoreUnavailable):
            await connection.call("PING")
        assert not connection.available


async def test_sentinels_that_do_not_know_the_service_are_unavailable(servers: FailoverSet) -> None:
    async with connected(servers.url.replace("/budgets", "/others")) as connection:
        with pytest.raises(StoreUnavailable):
            await connection.call("PING")
        with pytest.raises(StoreUnavailable):
            await connection.refresh()


async def test_one_sentinel_is_enough_to_find_the_master(servers: FailoverSet) -> None:
    for sentinel in servers.sentinels[:2]:
        sentinel.kill()
    async with connected(servers.url) as connection:
        assert await connection.call("PING") == b"PONG"
