"""What becomes of calls, and of memory, at three times what the server can serve.

    python -m benchmarks.overload [--seconds 300] [--connections 8] [--json]

An Authorize is sent when it is due, whether or not earlier ones have been answered; each that is granted is
followed by its Commit. Exits with 1 when a call is answered as it must not be, or when memory grows beyond
its target. The times stand beside their targets and decide nothing: the load and the stores take their
processor time from the same machine as the server, and a virtual machine loses some to others ("stolen").

Where there are several cores, the stores have one to themselves, as if they were on another machine: what
PostgreSQL and Valkey do in the background then keeps neither the load from sending nor the server from
refusing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import grpc.aio
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import open_loop, scenario
from benchmarks.cores import stores_apart
from benchmarks.laboratory import serve_command
from benchmarks.pairs import Pairs, Phase, quantile_ms
from benchmarks.processes import (
    Running,
    StartFailed,
    cpu_seconds,
    processor_ticks,
    resident_bytes,
    running,
    stolen_percent,
)
from quota.client import connect
from quota_service.embedded import EmbeddedStores
from quota_service.stores.postgres.migrate import migrate

WARM_UP_S, CAPACITY_S, NORMAL_S_MAX = 3.0, 6.0, 60.0
CAPACITY_CALLERS = 24
NORMAL, OVERLOAD = 0.5, 3.0
REFUSED_P99_MS, ADMITTED_RATIO, GROWTH_PERCENT = 20.0, 5.0, 5.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@click.option("--seconds", default=300.0, show_default=True, type=click.FloatRange(2, 3_600))
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1, 64))
def main(as_json: bool, seconds: float, connections: int) -> None:
    """Offer half of the server's capacity, then three times of it."""
    gc.collect()
    gc.freeze()  # the load must not pause to look through what it has imported
    try:
        phases = uvloop.run(_measured(seconds, connections))
    except (StartFailed, grpc.aio.AioRpcError, TimeoutError) as error:
        sys.exit(f"nothing was measured: {str(error) or type(error).__name__}")
    normal, overload = phases[-2:]
    if as_json:
        click.echo(json.dumps([_figures(phase) for phase in phases], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 150).print(_table(phases))
        click.echo(_verdict(normal, overload))
    wrong = [what for phase in phases for what in phase.wrong]
    if wrong or overload.growth_percent > GROWTH_PERCENT:
        sys.exit(f"missed: {', '.join(wrong) or f'memory grew by {overload.growth_percent:.1f} %'}")


async def _measured(seconds: float, connections: int) -> list[Phase]:
    async with _served() as service:
        opened = [await open_loop.connect(service.address) for _ in range(connections)]
        pairs = Pairs(opened, service.address)
        await _phase("warm-up", service.pid, lambda phase: pairs.closed(phase, WARM_UP_S, CAPACITY_CALLERS))
        capacity = await _phase(
            "capacity", service.pid, lambda phase: pairs.closed(phase, CAPACITY_S, CAPACITY_CALLERS)
        )
        phases = [capacity]
        names = {factor: f"{factor:g} × capacity" for factor in (NORMAL, OVERLOAD)}
        for factor, name in names.items():
            rate = factor * len(capacity.committed_s) / capacity.seconds

            async def work(phase: Phase, rate: float = rate) -> None:
                lasts_s = seconds if phase.name == names[OVERLOAD] else min(seconds, NORMAL_S_MAX)
                await pairs.open(phase, lasts_s, rate)

            phases.append(await _phase(name, service.pid, work))
        for connection in opened:
            connection.close()
        return phases


async def _phase(name: str, pid: int, work: Callable[[Phase], Awaitable[None]]) -> Phase:
    phase = Phase(name=name)
    watching = asyncio.ensure_future(_watch_memory(phase, pid))
    before, ticks = cpu_seconds([pid]) or 0.0, processor_ticks()
    await work(phase)
    phase.server_cpu_s = (cpu_seconds([pid]) or 0.0) - before
    phase.stolen_percent = stolen_percent(ticks, processor_ticks())
    watching.cancel()
    return phase


async def _watch_memory(phase: Phase, pid: int) -> None:
    while True:
        phase.memory_bytes.append(resident_bytes(pid))
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _served() -> AsyncIterator[Running]:
    """The service on stores in a directory of their own, with an organization; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="quota-bench-") as directory:
        async with AsyncExitStack() as stack:
            with stores_apart():
                stores = await stack.enter_async_context(EmbeddedStores(Path(directory)))
            await asyncio.to_thread(migrate, stores.postgres_url)
            environment = {
                "QUOTA_VALKEY_URL": stores.valkey_url,
                "QUOTA_POSTGRES_URL": stores.postgres_url,
                "QUOTA_WORKERS": "1",
                "QUOTA_PATIENCE_MS": "1000",  # Valkey waits for a core here, and is not away
            }
            async with running(*serve_command(), environment=environment) as service:
                async with connect(service.address) as connection:
                    await scenario.seed(connection, scenario.NESTED)
                yield service


def _figures(phase: Phase) -> dict[str, object]:
    found: dict[str, object] = {"phase": phase.name, "seconds": round(phase.seconds, 1)}
    for name in ("admitted_s", "committed_s", "refused_s"):
        waits = getattr(phase, name)
        found[name.removesuffix("_s")] = {
            "per_second": round(len(waits) / phase.seconds, 1),
            "p50_ms": round(quantile_ms(waits, 0.5), 1),
            "p99_ms": round(quantile_ms(waits, 0.99), 1),
        }
    return found | {
        "offered_per_second": round(phase.offered / phase.seconds, 1),
        "commits_refused": phase.commits_refused,
        "denied": phase.denied,
        "server_cpu": round(phase.server_cpu_s / phase.seconds, 2),
        "stolen_percent": round(phase.stolen_percent, 1),
        "memory_growth_percent": round(phase.growth_percent, 1),
        "wrong": dataclasses.asdict(phase)["wrong"],
    }


def _table(phases: list[Phase]) -> Table:
    table = Table("", "offered/s", box=None)
    for what in ("admitted", "committed", "refused"):
        table.add_column(f"{what}/s", justify="right")
        table.add_column("p50 ms", justify="right")
        table.add_column("p99 ms", justify="right")
    table.add_column("server CPU", justify="right")
    table.add_column("stolen", justify="right")
    table.add_column("memory, MiB", justify="right")
    for phase in phases:
        cells = [phase.name, f"{phase.offered / phase.seconds:.0f}"]
        for waits in (phase.admitted_s, phase.committed_s, phase.refused_s):
            cells.append(f"{len(waits) / phase.seconds:.0f}")
            cells.extend(f"{quantile_ms(waits, part):.1f}" for part in (0.5, 0.99))
        memory = f"{phase.memory_bytes[0] / 2**20:.0f} → {phase.memory_bytes[-1] / 2**20:.0f}"
        cells += [f"{phase.server_cpu_s / phase.seconds:.2f}", f"{phase.stolen_percent:.0f} %", memory]
        table.add_row(*cells)
    return table


def _verdict(normal: Phase, overload: Phase) -> str:
    ratio = quantile_ms(overload.admitted_s, 0.99) / quantile_ms(normal.admitted_s, 0.99)
    refused = quantile_ms(overload.refused_s, 0.99)
    return (
        f"refused p99 {refused:.1f} ms (target: below {REFUSED_P99_MS:g}); "
        f"admitted p99 {ratio:.1f} × normal (at most {ADMITTED_RATIO:g}); "
        f"memory {overload.growth_percent:+.1f} % (below {GROWTH_PERCENT:g}); "
        f"Commits refused {overload.commits_refused}, Authorizes denied {overload.denied}"
    )


if __name__ == "__main__":
    main()
