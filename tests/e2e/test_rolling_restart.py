"""Two server processes over the same stores, restarted one after the other while callers go on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import grpc.aio

from quota.v1 import budget_pb2, types_pb2
from quota.v1.budget_pb2_grpc import BudgetServiceStub
from quota_service.embedded.ports import free_port
from tests.support.process import QUOTA, ServeProcess, clean_environment
from tests.support.service import ACME, Client, authorize_request
from tests.support.spending import RETRIES, Journal, by_grpc, channel, ends, spend
from tests.support.stores import Stores

READY = "Quota Service is ready"
STREAM = budget_pb2.WatchBudgetStatusRequest(name=f"{ACME}/budgets/all")

ROUND_ROBIN: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}


class Fleet:
    """Server processes on ports of their own, which they keep across restarts."""

    def __init__(self, environment: dict[str, str], size: int) -> None:
        self._environment = environment
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(size)]
        self._processes = [self._started(address) for address in self.addresses]

    @property
    def target(self) -> str:
        return f"ipv4:{','.join(self.addresses)}"

    async def ready(self, index: int) -> None:
        await asyncio.to_thread(self._processes[index].wait_for, READY)

    def signal(self, index: int, number: int) -> None:
        os.kill(self._processes[index].pid, number)

    async def ended(self, index: int) -> int:
        return await asyncio.to_thread(self._processes[index].wait)

    async def restart(self, index: int) -> tuple[int, float]:
        """The exit code, and how many seconds it took to stop."""
        begun = time.monotonic()
        self.signal(index, signal.SIGTERM)
        code = await self.ended(index)
        took_s = time.monotonic() - begun
        self._processes[index].kill()
        self._processes[index] = self._started(self.addresses[index])
        await self.ready(index)
        return code, took_s

    def kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _started(self, address: str) -> ServeProcess:
        return ServeProcess(("--address", address, "--log-level", "warning"), self._environment)


@asynccontextmanager
async def fleet(valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[Fleet]:
    environment = {
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres_url,
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
        "QUOTA_GRACE_MS": "5000",
        "QUOTA_LEFT_BEHIND_MS": "500",
        "QUOTA_CALLS_BEHIND_MAX": "1000",  # the tests' machine is slow at times; what is shed is not retried
    }
    servers = Fleet(environment, 2)
    try:
        for index in range(2):
            await servers.ready(index)
        yield servers
    finally:
        servers.kill()


async def by_hand(call: Callable[[], Awaitable[Any]], journal: Journal) -> Any:
    """Tries again itself, and only what was UNAVAILABLE."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            journal.seen[error.code().name] += 1
            if error.code() is not grpc.StatusCode.UNAVAILABLE or attempt == 20:
                raise
            await asyncio.sleep(0.05)


async def test_a_rolling_restart_under_load_fails_no_call_of_those_who_retry_and_loses_no_commit(
    valkey_url: str, postgres_url: str, key_prefix: str, stores: Stores
) -> None:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(fleet(valkey_url, postgres_url, key_prefix))
        retrying = await stack.enter_async_context(channel(servers.target, RETRIES))
        plain = await stack.enter_async_context(channel(servers.target, ROUND_ROBIN))
        client = Client(retrying, servers.target)
        await client.found_acme()
        await client.budget("all", limits=types_pb2.Amounts(cost_micros=10**12))
        journal, names, stopping = Journal(), count(), asyncio.Event()
        callers = [(client, by_grpc), (Client(plain, servers.target), by_hand)] * 4
        load = [asyncio.ensure_future(spend(*who, journal, names, stopping)) for who in callers]
        codes = []
        for index in (0, 1):
            await asyncio.sleep(0.5)
            codes.append(await servers.restart(index))
        stopping.set()
        await asyncio.gather(*load)

        assert journal.failed == {}
        assert not {code.name for code in grpc.StatusCode} & set(journal.seen) - {"UNAVAILABLE"}
        assert [code for code, _ in codes] == [0, 0]
        assert max(took_s for _, took_s in codes) < 5
        assert len(journal.charged) > 50
        await stores.drained()
        [status] = await client.status("all")
        assert (status.spent, status.held) == (4_500 * len(journal.charged), 0)
        assert await ends(client) == Counter(journal.charged)


async def test_streams_end_unavailable_when_their_server_stops_so_that_callers_begin_them_elsewhere(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    async with fleet(valkey_url, postgres_url, key_prefix) as servers:
        async with channel(servers.target, RETRIES) as shared:
            client = Client(shared, servers.target)
            await client.found_acme()
            await client.budget("all", limits=types_pb2.Amounts(cost_micros=10**12))
        async with channel(f"ipv4:{servers.addresses[0]}", ROUND_ROBIN) as alone:
            streams = [BudgetServiceStub(alone).WatchBudgetStatus(STREAM) for _ in range(20)]
            for stream in streams:
                assert await stream.read() is not grpc.aio.EOF
            code, took_s = await servers.restart(0)
            assert [await code_of(stream) for stream in streams] == [grpc.StatusCode.UNAVAILABLE] * 20
            assert code == 0
            assert took_s < 5


async def code_of(stream: Any) -> grpc.StatusCode:
    async with asyncio.timeout(5):
        code: grpc.StatusCode = await stream.code()
        return code


async def test_a_second_signal_ends_a_server_at_once(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    environment = {
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres_url,
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
        "QUOTA_DRAIN_MS": "60000",
    }
    servers = Fleet(environment, 1)
    try:
        await servers.ready(0)
        servers.signal(0, signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with channel(servers.target, ROUND_ROBIN) as alone:  # it drains: it still serves
            await Client(alone, servers.target).found_acme()
        servers.signal(0, signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await servers.ended(0) == 128 + signal.SIGTERM
    finally:
        servers.kill()


async def test_a_watched_budget_goes_on_being_watched_when_its_server_has_been_restarted(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(fleet(valkey_url, postgres_url, key_prefix))
        client = Client(
            await stack.enter_async_context(channel(servers.target, RETRIES)), servers.addresses[0]
        )
        await client.found_acme()
        await client.budget("all", limits=types_pb2.Amounts(cost_micros=10**12))
        watching = await asyncio.create_subprocess_exec(
            *(str(QUOTA), "--address", servers.addresses[0], "--organization", "acme"),
            *("budget", "status", "all", "--watch", "--json"),
            env=clean_environment({}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20):
                assert await held(watching) == 0
                assert (await servers.restart(0))[0] == 0
                await client.quota.Authorize(authorize_request("after"))
                assert await held(watching) == 7_500
                watching.send_signal(signal.SIGINT)
                _, said = await watching.communicate()
            assert said.decode().count("the connection was lost") == 1
        finally:
            if watching.returncode is None:
                watching.kill()
                await watching.wait()


async def held(watching: asyncio.subprocess.Process) -> int:
    """What the next line of a watching command says is held."""
    assert watching.stdout is not None
    [status] = json.loads(await watching.stdout.readline())["statuses"]
    return int(status["held"])
