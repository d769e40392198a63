"""`make bench`: everything that has a target, beside its target, and what the charts are drawn of.

    python -m benchmarks.bench [--only P6,P7] [--folder DIR]

Each part starts stores and servers of its own and writes a file to benchmarks/results as soon as it is done;
`python -m benchmarks.charts` draws them. Exits with 1 when a part could not be measured. A figure that misses
its target is told, and is no failure: see docs/performance.md.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import grpc.aio
import uvloop

from benchmarks import basics, curves, growth, k6, limits, machine, memory, outcome, page, scaling
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import laboratory, served, stores
from benchmarks.outcome import Outcome, Told
from benchmarks.processes import StartFailed

CYCLES, ROUND_S = 7, 1.0


class Part(NamedTuple):
    """What is measured together, and the numbers of its figures."""

    numbers: Sequence[str]
    measure: Callable[[Told], Awaitable[Outcome]]


async def _basics(told: Told) -> Outcome:
    async with laboratory() as started:
        cycles, paces = await basics.measured(started, cycles=CYCLES, seconds=ROUND_S, told=told)
    return Outcome(figures=basics.figures(cycles, paces), points=basics.points(cycles, paces))


async def _limits(told: Told) -> Outcome:
    async with stores() as started, served(started) as service:
        return Outcome(figures=[await limits.measured(service, told)])


PARTS: Mapping[str, Part] = {
    "basics": Part(("P1", "P2", "P3", "P4"), _basics),
    "k6": Part(("P1", "P2", "P3"), k6.measured),
    "curves": Part((), curves.measured),
    "workers": Part(("P5",), scaling.workers),
    "budgets": Part(("P6",), growth.budgets),
    "holds": Part(("P7",), growth.holds),
    "ledger": Part(("P8", "P11"), growth.ledger),
    "hold-memory": Part(("P9",), memory.of_holds),
    "batch": Part(("P12",), scaling.batches),
    "limits": Part(("L1",), _limits),
}
"""By the name of their files. P10 needs ten minutes of its own: `make bench-memory`."""


def _chosen(_: click.Context, __: click.Parameter, value: str | None) -> Sequence[str]:
    """The parts that have one of these numbers or names."""
    if value is None:
        return list(PARTS)
    wanted = [each.strip() for each in value.split(",")]
    known = {*PARTS, *(number for part in PARTS.values() for number in part.numbers)}
    unknown = [each for each in wanted if each not in known]
    if unknown:
        hint = "; P10 is measured by `make bench-memory`" if "P10" in unknown else ""
        raise click.BadParameter(f"{', '.join(unknown)} is none of {', '.join(sorted(known))}{hint}")
    return [name for name, part in PARTS.items() if {name, *part.numbers}.intersection(wanted)]


@click.command()
@click.option("--only", callback=_chosen, metavar="P6,P7", help="Numbers of figures, or names of parts.")
@click.option("--folder", default=outcome.FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(only: Sequence[str], folder: Path) -> None:
    """Measure everything, and print each figure beside its target."""
    gc.collect()
    gc.freeze()  # the caller must not pause to look through what it has imported
    watch, begun, failed = machine.Watch(), time.monotonic(), False

    def told(text: str) -> None:
        click.echo(f"{time.monotonic() - begun:5.0f} s  {text}", err=True)

    for name in only:
        of_part = machine.Watch()
        try:
            found = uvloop.run(_told_of(PARTS[name], told))
        except (CallsFailed, StartFailed, grpc.aio.AioRpcError, TimeoutError) as error:
            told(f"{name} was not measured: {str(error) or type(error).__name__}")
            failed = True
            continue
        outcome.write(name, found, of_part.document(), folder)
    click.echo("\n".join(lines(folder)))
    click.echo(watch.line())
    sys.exit(failed)


async def _told_of(part: Part, told: Told) -> Outcome:
    found = await part.measure(told)
    for figure in found.figures:
        told(figure.line())
    return found


def lines(folder: Path) -> list[str]:
    """Of every figure, what was last measured, and when."""
    return [f"{each.figure.line()}  [{each.date:%Y-%m-%d %H:%M}]" for each in page.measured(folder)]


if __name__ == "__main__":
    main()
