"""`make bench-quick`: the figures P1 to P4, in about a minute.

    python -m benchmarks.quick [--json]

Exits with 1 when a call fails or is answered wrongly, or when a server does not start. A figure that misses
its target is told, and is no failure: see docs/performance.md.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Sequence

import click
import grpc.aio
import uvloop

from benchmarks import basics, machine
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import laboratory
from benchmarks.processes import StartFailed
from benchmarks.targets import Figure

CYCLES, ROUND_S = 5, 1.0
TIME_LIMIT_S = 150


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("--cycles", default=CYCLES, show_default=True, type=click.IntRange(1, 100))
def main(as_json: bool, cycles: int) -> None:
    """Measure what Authorize and Commit cost, as ratios to trivial calls in the same run."""
    gc.collect()
    gc.freeze()  # the caller must not pause to look through what it has imported
    watch = machine.Watch()
    try:
        found = uvloop.run(_bounded(cycles))
    except (CallsFailed, StartFailed, grpc.aio.AioRpcError, TimeoutError) as error:
        sys.exit(f"nothing was measured: {str(error) or type(error).__name__}")
    if as_json:
        document = {"machine": watch.document(), "figures": [each.document() for each in found]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join([*(each.line() for each in found), watch.line()]))


async def _bounded(cycles: int) -> Sequence[Figure]:
    async with asyncio.timeout(TIME_LIMIT_S * max(1, cycles / CYCLES)), laboratory() as started:
        saturating, pacing = await basics.measured(started, cycles=cycles, seconds=ROUND_S, told=_nobody)
        return basics.figures(saturating, pacing)


def _nobody(_: str) -> None:
    """A minute passes without being told of."""


if __name__ == "__main__":
    main()
