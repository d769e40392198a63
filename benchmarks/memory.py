"""P9 and P10: what a live hold takes of Valkey's memory, and what calls leave in a worker's.

python -m benchmarks.memory [--calls 1000000]     (P10, some ten minutes)
"""

from __future__ import annotations

import asyncio
import gc
import sys
from statistics import linear_regression

import click
import grpc.aio
import uvloop

from benchmarks import filling, machine, outcome, scenario
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import KEY_PREFIX, Server, seed, served, stores
from benchmarks.outcome import Outcome, Told
from benchmarks.processes import StartFailed, family, resident_bytes
from benchmarks.scenario import NESTED
from benchmarks.targets import Figure
from quota_service.embedded import EmbeddedStores
from quota_service.stores.valkey.keys import Keys

HOLDS, WARM_UP_HOLDS = 20_000, 1_000
CALLS, WARM_UP_CALLS = 1_000_000, 50_000
CALLS_A_SAMPLE = 10_000
POLL_S = 0.1
MIB = 2**20
PART = "worker-memory"


async def of_holds(told: Told) -> Outcome:
    """P9: of holds whose events are in the ledger."""
    async with stores() as started, served(started) as service:
        await seed(service, [NESTED])
        await _authorized(service, WARM_UP_HOLDS)
        before = await _used_bytes(started)
        told(f"P9: making {HOLDS:,} holds")
        await _authorized(service, HOLDS)
        after = await _used_bytes(started)
    note = f"{(after - before) / MIB:.1f} MiB by {HOLDS:,} holds"
    return Outcome(figures=[Figure(number="P9", value=(after - before) / HOLDS, note=note)])


async def _authorized(service: Server, holds: int) -> None:
    await service.saturated(scenario.authorizing(NESTED, count=holds), seconds=600)


async def _used_bytes(on: EmbeddedStores) -> int:
    """Once every event is in the ledger: without what buffers on the way to the disk and to clients take."""
    events = Keys(KEY_PREFIX).events(NESTED.organization)
    async with filling.valkey(on) as valkey:
        while await valkey.call("XLEN", events):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(POLL_S)
        lines = (await valkey.call("INFO", "memory")).decode().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(told["used_memory"]) - sum(
        int(told[name]) for name in ("mem_not_counted_for_evict", "mem_clients_normal")
    )


async def of_worker(calls: int, told: Told) -> Outcome:
    """P10: of Authorizes and their Commits, half of the calls each."""
    async with stores() as started, served(started) as service:
        await seed(service, [NESTED])
        points = []
        for done in range(0, WARM_UP_CALLS + calls + 1, CALLS_A_SAMPLE):
            if done:
                pairs = scenario.pairing(NESTED, count=CALLS_A_SAMPLE // 2)
                await service.saturated(pairs, seconds=600)
            resident = sum(resident_bytes(pid) for pid in family(service.pid))
            told(f"P10: {done:,} of {WARM_UP_CALLS + calls:,} calls, {resident / MIB:.1f} MiB")
            points.append({"calls": done, "resident_bytes": resident})
    settled = [point for point in points if point["calls"] >= WARM_UP_CALLS]
    return Outcome(figures=[growth(settled)], points=points)


def growth(points: list[dict[str, int]]) -> Figure:
    """By the line through all points, so that no single one decides; for a million calls."""
    slope, _ = linear_regression(
        [point["calls"] for point in points], [point["resident_bytes"] for point in points]
    )
    first, last = points[0], points[-1]
    note = (
        f"{first['resident_bytes'] / MIB:.1f} → {last['resident_bytes'] / MIB:.1f} MiB in"
        f" {last['calls'] - first['calls']:,} calls after {first['calls']:,} others"
    )
    return Figure(number="P10", value=slope * CALLS / MIB, note=note)


@click.command()
@click.option("--calls", default=CALLS, show_default=True, type=click.IntRange(2 * CALLS_A_SAMPLE))
def main(calls: int) -> None:
    """Measure what calls leave in a worker's memory."""
    gc.collect()
    gc.freeze()
    watch = machine.Watch()
    try:
        found = uvloop.run(of_worker(calls, lambda text: click.echo(text, err=True)))
    except (CallsFailed, StartFailed, grpc.aio.AioRpcError) as error:
        sys.exit(f"nothing was measured: {str(error) or type(error).__name__}")
    outcome.write(PART, found, watch.document())
    click.echo(found.figures[0].line())


if __name__ == "__main__":
    main()
