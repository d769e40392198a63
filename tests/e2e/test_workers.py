"""Several workers on one port, as one service: what they share, and what is left when one of them ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quota.v1 import directory_pb2, types_pb2
from quota_service.addresses import Reservation
from quota_service.embedded.ports import free_port
from tests.support.metrics import Metrics, metrics_of
from tests.support.process import ServeProcess, serving
from tests.support.service import Client, authorize_request, commit_request
from tests.support.spending import RETRIES, Journal, by_grpc, channel, ends, spend
from tests.support.stores import Stores

READY = "Quota Service is ready on "
WORKER = "quota_service.cli.worker"
CONNECTIONS = 16
PATIENCE_S = 30
POLL_S = 0.02


class Served:
    """A service of two workers that is ready."""

    def __init__(self, process: ServeProcess, metrics_address: str) -> None:
        process.wait_for(READY)
        self.process = process
        self.metrics_address = metrics_address
        line = next(line for line in process.output.splitlines() if line.startswith(READY))
        self.address = line.removeprefix(READY)

    def workers(self) -> set[int]:
        """The ids of the processes that answer."""
        return {pid for pid in children(self.process.pid) if WORKER in command(pid)}

    async def metrics(self) -> Metrics:
        return await metrics_of(self.metrics_address)

    async def comes_to(self, value: float, name: str, **labels: str) -> None:
        """Waits until a metric has a value."""

        async def is_so() -> bool:
            return (await self.metrics()).value(name, **labels) == value

        await until(is_so)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


async def gone(pids: set[int]) -> None:
    """Waits until none of the workers is there any more."""

    async def are_gone() -> bool:
        return not any(WORKER in command(pid) for pid in pids)

    await until(are_gone)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until it is so."""
    for _ in range(round(PATIENCE_S / POLL_S)):
        if await holds():
            return
        await asyncio.sleep(POLL_S)
    raise TimeoutError


@pytest.fixture
def environment(valkey_url: str, postgres_url: str, key_prefix: str) -> dict[str, str]:
    return {
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres_url,
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
        "QUOTA_LEFT_BEHIND_MS": "500",
        "QUOTA_CALLS_BEHIND_MAX": "1000",  # the tests' machine is slow at times; what is shed is not retried
        "QUOTA_WORKERS": "2",
    }


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[Served]:
    with started(environment) as served:
        yield served


@contextmanager
def started(environment: dict[str, str], **added: str) -> Iterator[Served]:
    metrics_address = f"127.0.0.1:{free_port()}"
    given = environment | {"QUOTA_METRICS_ADDRESS": metrics_address} | added
    with serving("--address", "127.0.0.1:0", **given) as process:
        yield Served(process, metrics_address)


@asynccontextmanager
async def clients(address: str, many: int = CONNECTIONS) -> AsyncIterator[list[Client]]:
    """Clients with a connection each, who try again what was UNAVAILABLE."""
    channels = [channel(f"ipv4:{address}", RETRIES) for _ in range(many)]
    try:
        yield [Client(each, address) for each in channels]
    finally:
        await asyncio.gather(*(each.close() for each in channels))


async def founded(client: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=types_pb2.Amounts(cost_micros=10**12))


def logged_calls(output: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == "call"]


async def test_workers_answer_on_one_port_decide_as_one_and_are_measured_as_one(
    environment: dict[str, str],
) -> None:
    with started(environment, QUOTA_LOG_CALLS="true") as served:
        async with clients(served.address) as callers:
            await founded(callers[0])
            answers = [
                await client.quota.Authorize(authorize_request(f"k{number}"))
                for number, client in enumerate(callers)
            ]
            for client, answer in zip(reversed(callers), answers, strict=True):
                await client.quota.Commit(commit_request(answer.reservation.name, 1_000, 200))
            for client in callers:
                [status] = await client.status("all")
                assert (status.spent, status.held) == (4_500 * CONNECTIONS, 0)
            await callers[0].quota.Authorize(authorize_request("none", model="no-such-model"))

        authorize = "quota.v1.QuotaService/Authorize"
        await served.comes_to(CONNECTIONS + 1, "quota_calls_total", method=authorize, code="OK")
        await served.comes_to(2 * CONNECTIONS, "quota_ledger_entries_total")
        metrics = await served.metrics()
        assert metrics.value("quota_decisions_total", decision="ALLOW", reason="") == CONNECTIONS
        assert metrics.value("quota_decisions_total", decision="DENY", reason="MODEL_UNKNOWN") == 1
        assert metrics.value("quota_call_seconds_count", method=authorize) == CONNECTIONS + 1
        assert metrics.value("quota_workers") == 2
        for worker in ("1", "2"):
            assert metrics.value("quota_valkey_available", worker=worker) == 1
            assert metrics.value("quota_postgres_available", worker=worker) == 1
        for process in ("1", "2", "supervisor"):
            assert metrics.value("quota_process_cpu_seconds_total", worker=process) > 0
            assert metrics.value("quota_process_resident_memory_bytes", worker=process) > 10_000_000
        assert "cygrpc" not in Path(f"/proc/{served.process.pid}/maps").read_text()

        workers = served.workers()
        assert {os.getsid(pid) for pid in workers} == workers, "a terminal's Ctrl-C is their supervisor's"
        for pid in (served.process.pid, *workers, *workers):  # as who stops all processes of a service
            os.kill(pid, signal.SIGTERM)
        assert await asyncio.to_thread(served.process.wait) == 0
        await gone(workers)
        assert "Traceback" not in served.process.output
        assert "a worker ended" not in served.process.output
    answered = Counter(line["worker"] for line in logged_calls(served.process.output))
    assert answered.keys() == {1, 2}, "sixteen connections do not all meet the same worker"


async def test_one_process_alone_tells_of_itself(environment: dict[str, str]) -> None:
    with started(environment, QUOTA_WORKERS="1") as served:
        async with clients(served.address, 1) as [client]:
            await founded(client)
            await client.quota.Authorize(authorize_request("k"))
        assert served.workers() == set()
        await served.comes_to(1, "quota_ledger_entries_total")
        metrics = await served.metrics()
        assert metrics.value("quota_decisions_total", decision="ALLOW", reason="") == 1
        assert metrics.value("quota_valkey_available", worker="1") == 1
        assert metrics.value("quota_workers") == 1
        assert served.process.stop(signal.SIGTERM) == 0


async def test_a_worker_that_is_killed_comes_back_and_neither_a_commit_nor_a_count_is_lost(
    served: Served, stores: Stores
) -> None:
    async with clients(served.address) as callers:
        await founded(callers[0])
        journal, names, stopping = Journal(), count(), asyncio.Event()
        load = [
            asyncio.ensure_future(spend(client, by_grpc, journal, names, stopping)) for client in callers[:6]
        ]
        before, counted = served.workers(), (await served.metrics()).growing()
        os.kill(min(before), signal.SIGKILL)
        await served.comes_to(1, "quota_worker_restarts_total")
        after = (await served.metrics()).growing()
        assert {key: value for key, value in counted.items() if after.get(key, 0) < value} == {}
        await served.comes_to(2, "quota_workers")
        stopping.set()
        await asyncio.gather(*load)
        assert journal.failed == {}
        assert len(served.workers()) == 2
        assert len(served.workers() & before) == 1
        await stores.drained()
        written = await ends(callers[0])
        assert written.keys() >= set(journal.charged)
        assert set(written.values()) == {1}
    assert served.process.output.count("a worker ended") == 1


async def test_the_port_is_the_workers_and_free_when_their_supervisor_is_gone(
    served: Served, environment: dict[str, str]
) -> None:
    for workers in ("1", "2"):
        other = environment | {"QUOTA_WORKERS": workers}
        with serving("--address", served.address, **other) as second:
            assert second.wait() == 5
            said = f"error: {served.address} cannot be listened on: another process may use it.\n"
            assert second.output.endswith(said), "gRPC has a line of its own before, where it is asked"
    workers_left = served.workers()
    assert len(workers_left) == 2
    os.kill(served.process.pid, signal.SIGKILL)
    await gone(workers_left)
    Reservation(served.address).close()


async def test_a_call_under_way_is_answered_by_a_service_that_stops(
    served: Served, postgres_url: str
) -> None:
    database = await asyncpg.connect(postgres_url)
    try:
        async with clients(served.address, 4) as callers, database.transaction():
            await founded(callers[0])
            await database.execute("LOCK TABLE organizations IN ACCESS EXCLUSIVE MODE")
            slow = [
                asyncio.ensure_future(client.directory.CreateOrganization(organization(number)))
                for number, client in enumerate(callers)
            ]
            await served.comes_to(len(slow), "quota_calls_under_way", kind="other")
            os.kill(served.process.pid, signal.SIGTERM)
            await refused(served.address)
            await database.execute("ROLLBACK")
            assert [(await call).name for call in slow] == [f"organizations/late-{n}" for n in range(4)]
    finally:
        await database.close()
    assert await asyncio.to_thread(served.process.wait) == 0


def organization(number: int) -> directory_pb2.CreateOrganizationRequest:
    return directory_pb2.CreateOrganizationRequest(
        organization_id=f"late-{number}", organization=directory_pb2.Organization()
    )


async def refused(address: str) -> None:
    """Waits until whoever asks for something new is told to go elsewhere."""
    request = directory_pb2.GetOrganizationRequest(name="organizations/acme")
    async with grpc.aio.insecure_channel(address) as plain:
        client = Client(plain, address)

        async def is_refused() -> bool:
            return await client.directory.GetOrganization(request).code() is grpc.StatusCode.UNAVAILABLE

        await until(is_refused)


async def test_a_second_signal_ends_all_workers_at_once(environment: dict[str, str]) -> None:
    with started(environment, QUOTA_DRAIN_MS="600000") as served:
        workers = served.workers()
        os.kill(served.process.pid, signal.SIGINT)
        async with grpc.aio.insecure_channel(served.address) as plain:
            await told_to_leave(plain)
        os.kill(served.process.pid, signal.SIGINT)
        assert await asyncio.to_thread(served.process.wait) == 128 + signal.SIGINT
        await gone(workers)


async def told_to_leave(to: grpc.aio.Channel) -> None:
    """Waits until health checks hear that the server is leaving."""
    stub = health_pb2_grpc.HealthStub(to)

    async def is_leaving() -> bool:
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        return bool(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING)

    await until(is_leaving)


def test_what_no_worker_can_begin_with_is_told_once(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "callers.yaml").write_text("nobody: 1\n")
    wrong = {"QUOTA_CALLERS": str(tmp_path / "callers.yaml")}
    with serving("--address", "127.0.0.1:0", **environment | wrong) as process:
        assert process.wait() == 2
        [line] = process.output.splitlines()
        assert line.startswith(f"error: {tmp_path / 'callers.yaml'}: ")


def test_development_mode_greets_with_workers_as_without(tmp_path: Path) -> None:
    data = {"QUOTA_DATA_DIR": str(tmp_path)}
    with serving("--dev", "--workers", "2", "--address", "127.0.0.1:0", **data) as process:
        process.wait_for("Ctrl-C stops everything")
        assert process.output.count("The demo organization is acme") == 1
        assert process.stop() == 0
