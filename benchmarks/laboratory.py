"""What is measured: stores in a directory of their own, the service on them, and the trivial server."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import scenario
from benchmarks.caller import Caller, Run, Work, connected
from benchmarks.processes import cpu_seconds, running
from quota.client import connect
from quota_service.embedded import EmbeddedStores
from quota_service.stores.postgres.migrate import migrate

CONNECTIONS = 8
IN_FLIGHT = 100
SETTLE_S = 0.3
"""After each round, so that what it left to be written to the ledger counts, and is not the next one's."""

KEY_PREFIX = "quota/"
"""Of the service's keys in Valkey."""

ENVIRONMENT = {
    # Load and stores share the server's cores: what waits is to be measured, not refused.
    "QUOTA_PATIENCE_MS": "5000",
    "QUOTA_CALLS_MAX": "10000",
    "QUOTA_CALLS_BEHIND_MAX": "10000",
    "QUOTA_KEY_PREFIX": KEY_PREFIX,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One kind of call for a while. CPU is in microseconds a call: of the server's processes, of Valkey and
    PostgreSQL, and of the caller; 0 where the system does not tell.
    """

    calls: int
    per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    stores_cpu_us: float
    caller_cpu_us: float

    @property
    def cpu_us(self) -> float:
        """Of all processes but the caller."""
        return self.server_cpu_us + self.stores_cpu_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is measured, and the processes that work for it."""

    address: str
    pid: int
    stores: tuple[int, ...]
    caller: Caller

    async def saturated(
        self, work: Work, *, seconds: float, in_flight: int = IN_FLIGHT
    ) -> tuple[Round, Sequence[bytes]]:
        """As many calls as it can serve, and what they were answered. Raises CallsFailed."""
        before = self._cpu_s()
        run = await self.caller.saturate(work, in_flight=in_flight, seconds=seconds)
        return await self._round(run, before), run.answers

    async def paced(self, work: Work, *, per_second: float, seconds: float) -> Round:
        """So many calls a second. Raises CallsFailed."""
        before = self._cpu_s()
        return await self._round(
            await self.caller.paced(work, per_second=per_second, seconds=seconds), before
        )

    def _cpu_s(self) -> tuple[float, float]:
        return cpu_seconds([self.pid]) or 0.0, cpu_seconds(self.stores) or 0.0

    async def _round(self, run: Run, before: tuple[float, float]) -> Round:
        await asyncio.sleep(SETTLE_S)
        calls, waits_s = len(run.waits_s), sorted(run.waits_s)
        server_s, stores_s = (now - then for now, then in zip(self._cpu_s(), before, strict=True))
        return Round(
            calls=calls,
            per_second=calls / run.seconds,
            p50_ms=median(waits_s) * 1e3,
            p99_ms=waits_s[calls * 99 // 100] * 1e3,
            server_cpu_us=server_s * 1e6 / calls,
            stores_cpu_us=stores_s * 1e6 / calls,
            caller_cpu_us=run.own_cpu_s * 1e6 / calls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """The service with one worker, and the trivial server that gives its answers."""

    stores: EmbeddedStores
    service: Server
    trivial: Server


@asynccontextmanager
async def stores() -> AsyncIterator[EmbeddedStores]:
    """Durable as in production, and migrated; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="quota-bench-") as directory:
        async with EmbeddedStores(Path(directory)) as started:
            await asyncio.to_thread(migrate, started.postgres_url)
            yield started


@asynccontextmanager
async def served(
    on: EmbeddedStores, *, workers: int = 1, connections: int = CONNECTIONS
) -> AsyncIterator[Server]:
    """The service as in production, but that it asks nobody who they are. Raises StartFailed."""
    command = serve_command(workers=workers)
    pids = tuple(pid for pid in (on.valkey.pid, on.postgres.pid) if pid is not None)
    async with server(command, environment(on), pids, connections) as started:
        yield started


@asynccontextmanager
async def trivially_served(
    on: EmbeddedStores, answers: Sequence[bytes], *, connections: int = CONNECTIONS
) -> AsyncIterator[Server]:
    """The same server, whose Authorize and Commit return these answers. It does not use the stores. Raises
    StartFailed.
    """
    encoded = [base64.b64encode(answer).decode() for answer in answers]
    async with server(["benchmarks.trivial", *encoded], environment(on), (), connections) as started:
        yield started


@asynccontextmanager
async def laboratory(scenes: Sequence[scenario.Scene] = (scenario.NESTED,)) -> AsyncIterator[Laboratory]:
    """Everything, with the organizations of these scenes. The trivial server answers as the first one."""
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(stores())
        service = await stack.enter_async_context(served(started))
        await seed(service, scenes)
        answers = await first_answers(service, scenes[0])
        trivial = await stack.enter_async_context(trivially_served(started, answers))
        yield Laboratory(stores=started, service=service, trivial=trivial)


async def seed(service: Server, scenes: Sequence[scenario.Scene]) -> None:
    """Founds the organizations of the scenes."""
    async with connect(service.address) as connection:
        for scene in scenes:
            await scenario.seed(connection, scene)


async def first_answers(service: Server, scene: scenario.Scene) -> tuple[bytes, bytes]:
    """What one Authorize and its Commit are answered."""
    _, authorized = await service.saturated(scenario.authorizing(scene, count=1), seconds=10, in_flight=1)
    _, committed = await service.saturated(scenario.committing(scene, authorized), seconds=10, in_flight=1)
    return authorized[0], committed[0]


def serve_command(*, workers: int = 1) -> list[str]:
    """What is run to serve."""
    command = ["quota_service", "serve", "--address", "127.0.0.1:0", "--log-level", "error"]
    return [*command, "--workers", str(workers)]


def environment(on: EmbeddedStores) -> dict[str, str]:
    return {**ENVIRONMENT, "QUOTA_VALKEY_URL": on.valkey_url, "QUOTA_POSTGRES_URL": on.postgres_url}


@asynccontextmanager
async def server(
    command: Sequence[str], environment: dict[str, str], pids: tuple[int, ...], connections: int
) -> AsyncIterator[Server]:
    async with (
        running(*command, environment=environment) as process,
        connected(process.address, connections) as caller,
    ):
        yield Server(address=process.address, pid=process.pid, stores=pids, caller=caller)
