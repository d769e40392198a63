"""`make bench-quick`: Authorize and Commit beside a trivial handler, and Authorize under many limits beside
one budget, in about a minute.

    python -m benchmarks.quick [--json]

Exits with 1 when a call fails or is answered wrongly, or when a server does not start.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import click
import grpc.aio
import uvloop
from rich.console import Console

from benchmarks import scenario
from benchmarks.figures import Figures, figures, table, verdict
from benchmarks.load import connected
from benchmarks.processes import Running, StartFailed, running
from benchmarks.rounds import SCENES, Cycle, Pids, Rounds
from quota.client import connect
from quota_service.embedded import EmbeddedStores
from quota_service.stores.postgres.migrate import migrate

CYCLES = 5
WARM_UP_S = 0.3
BUSY_S = 0.7
ALONE_S = 0.2
SCENE_S = 0.3
TIME_LIMIT_S = 90
WIDTH_WITHOUT_TERMINAL = 140


class Machine(NamedTuple):
    """Everything that runs during a benchmark, but the load."""

    service: Running
    trivial: Running
    stores: EmbeddedStores

    @property
    def pids(self) -> Pids:
        stores = (self.stores.valkey.pid, self.stores.postgres.pid)
        return Pids(self.service.pid, tuple(pid for pid in stores if pid is not None))


class CallsFailed(Exception):
    """Calls that failed, each with what became of it."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option("--in-flight", default=32, show_default=True, type=click.IntRange(1, 1_000))
@click.option("--connections", default=2, show_default=True, type=click.IntRange(1, 16))
def main(as_json: bool, in_flight: int, connections: int) -> None:
    """Measure what Authorize and Commit cost, as ratios to a trivial handler in the same run."""
    try:
        results = uvloop.run(_bounded(in_flight, connections))
    except (CallsFailed, StartFailed, scenario.WrongAnswer, grpc.aio.AioRpcError, TimeoutError) as error:
        sys.exit(f"nothing was measured: {str(error) or type(error).__name__}")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(each) for each in results], indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
        console.print(table(results, in_flight))
        console.print(verdict(results), highlight=False)


async def _bounded(in_flight: int, connections: int) -> list[Figures]:
    async with asyncio.timeout(TIME_LIMIT_S), _machine() as machine:
        return await _measure(machine, in_flight, connections)


async def _measure(machine: Machine, in_flight: int, connections: int) -> list[Figures]:
    async with (
        connected(machine.service.address, connections) as service,
        connected(machine.trivial.address, connections) as trivial,
    ):
        rounds = Rounds(service, trivial, machine.pids, machine.trivial.pid)
        _sound(await rounds.cycle(in_flight=in_flight, seconds=WARM_UP_S))
        _sound(await rounds.scenes(seconds=WARM_UP_S))
        busy, alone = [], []
        for _ in range(CYCLES):
            busy.append(_sound(await rounds.cycle(in_flight=in_flight, seconds=BUSY_S)))
            own = _sound(await rounds.cycle(in_flight=1, seconds=ALONE_S))
            alone.append({**own, **_sound(await rounds.scenes(seconds=SCENE_S))})
    return figures(busy, alone)


def _sound(cycle: Cycle) -> Cycle:
    """The cycle, if every call of it did what it should. Raises CallsFailed."""
    for kind, round_ in cycle.items():
        failures = round_.run.failures
        if failures or not round_.run.answers:
            first = failures[0] if failures else "none was answered"
            raise CallsFailed(f"{len(failures)} calls of {kind} failed: {first}")
    return cycle


@asynccontextmanager
async def _machine() -> AsyncIterator[Machine]:
    """Stores in a directory of their own, the service on them, and the trivial server; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="quota-bench-") as directory:
        async with EmbeddedStores(Path(directory)) as stores:
            await asyncio.to_thread(migrate, stores.postgres_url)
            environment = {
                "QUOTA_VALKEY_URL": stores.valkey_url,
                "QUOTA_POSTGRES_URL": stores.postgres_url,
                # Load and stores share the server's cores: what waits is to be measured, not refused.
                "QUOTA_WORKERS": "1",
                "QUOTA_PATIENCE_MS": "5000",
                "QUOTA_CALLS_BEHIND_MAX": "1000",
            }  # the trivial server reads them too, so that both refuse alike
            serve = ("quota_service", "serve", "--address", "127.0.0.1:0", "--log-level", "warning")
            async with running(*serve, environment=environment) as service:
                answers = await _first_answers(service)
                async with running("benchmarks.trivial", *answers, environment=environment) as trivial:
                    yield Machine(service, trivial, stores)


async def _first_answers(service: Running) -> tuple[str, ...]:
    """Seeds the organizations and makes one call of each kind, whose answers the trivial server is to give to
    all calls.
    """
    async with connect(service.address) as connection:
        for scene in (scenario.NESTED, *SCENES.values()):
            await scenario.seed(connection, scene)
    async with connected(service.address, 1) as target:
        request = next(scenario.authorize_requests(scenario.NESTED))
        authorized = await target.method(scenario.AUTHORIZE)(request)
        name = scenario.granted(authorized, scenario.NESTED)
        committed = await target.method(scenario.COMMIT)(scenario.commit_request(name))
    scenario.in_ledger(committed)
    return tuple(base64.b64encode(answer).decode() for answer in (authorized, committed))


if __name__ == "__main__":
    main()
