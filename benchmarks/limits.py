"""How long an Authorize waits under many limits, beside one budget: L1.

    python -m benchmarks.limits [--json]

One call in flight, in organizations of their own; see the scenes in `scenario`. Exits with 1 when a call
fails, or is not granted what its scene is about.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import click
import grpc.aio
import uvloop

from benchmarks import machine, scenario
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import Server, seed, served, stores
from benchmarks.outcome import Told
from benchmarks.processes import StartFailed
from benchmarks.scenario import Scene
from benchmarks.targets import Figure

SCENES = (scenario.ONE_BUDGET, scenario.MANY_LIMITS, scenario.DIVERTED)
CYCLES, ROUND_S = 9, 0.5


class Waits(NamedTuple):
    """The p50 of each scene in one cycle."""

    one_budget_ms: float
    many_limits_ms: float
    diverted_ms: float


async def measured(service: Server, told: Told) -> Figure:
    """Founds the organizations and makes calls in each in turn. Raises CallsFailed."""
    await seed(service, SCENES)
    cycles = []
    for number in range(CYCLES + 1):
        told(f"L1: cycle {number} of {CYCLES}")
        cycles.append(Waits(*[await _p50_ms(service, scene) for scene in SCENES]))
    return figure(cycles[1:])  # the first one was to warm up


async def _p50_ms(service: Server, scene: Scene) -> float:
    found, _ = await service.saturated(scenario.authorizing(scene), seconds=ROUND_S, in_flight=1)
    return found.p50_ms


def figure(cycles: Sequence[Waits]) -> Figure:
    """The median of the cycles' own ratios."""
    rounds = [each.many_limits_ms / each.one_budget_ms for each in cycles]
    diverted = median(each.diverted_ms / each.one_budget_ms for each in cycles)
    many_ms = median(each.many_limits_ms for each in cycles)
    one_ms = median(each.one_budget_ms for each in cycles)
    note = f"{many_ms:.2f} ÷ {one_ms:.2f} ms; diverted {diverted:.2f}"
    return Figure(number="L1", value=median(rounds), note=note, rounds=rounds)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a line.")
def main(as_json: bool) -> None:
    """Compare Authorize under many limits with Authorize under one budget."""
    watch = machine.Watch()
    try:
        found = uvloop.run(_served())
    except (CallsFailed, StartFailed, grpc.aio.AioRpcError) as error:
        sys.exit(f"nothing was measured: {str(error) or type(error).__name__}")
    document = {"machine": watch.document(), "figures": [found.document()]}
    click.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else found.line())


async def _served() -> Figure:
    async with stores() as started, served(started) as service:
        return await measured(service, lambda _: None)


if __name__ == "__main__":
    main()
