"""Runs seeds of the simulation, or replays one with everything that happens in it.

    python -m tests.simulation --seed 4711
    python -m tests.simulation --seeds 0..9999 [--mutant NAME]

Exits with 1 when a guarantee broke.
"""

from __future__ import annotations

import sys
import time

import click

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run


@click.command()
@click.option("--seed", type=int, help="Replay this one, telling every step.")
@click.option("--seeds", default="0..999", show_default=True, help="Run all of these: FIRST..LAST.")
@click.option("--mutant", type=click.Choice(sorted(MUTANTS)), help="Take a mechanism out first.")
@click.option("--keep-going", is_flag=True, help="Do not stop at the first seed that fails.")
def main(seed: int | None, seeds: str, mutant: str | None, keep_going: bool) -> None:
    """Simulate replicas and every fault of their stores."""
    if seed is not None:
        outcome = run(seed, MUTANTS[mutant]() if mutant else None, click.echo)
        click.echo("\n".join(outcome.findings) or "every guarantee holds")
        sys.exit(bool(outcome.findings))
    first, _, last = seeds.partition("..")
    sys.exit(_run_all(range(int(first), int(last or first) + 1), mutant, keep_going))


def _run_all(seeds: range, mutant: str | None, keep_going: bool) -> int:
    began_s, failed, calls = time.monotonic(), 0, 0
    for count, seed in enumerate(seeds, 1):
        outcome = run(seed, MUTANTS[mutant]() if mutant else None)
        calls += outcome.calls
        if outcome.findings:
            failed += 1
            click.echo(f"seed {seed}: {outcome.findings[0]}")
            if not keep_going:
                break
        if count % 200 == 0:
            click.echo(f"{count} seeds, {calls} calls, {failed} failed, {time.monotonic() - began_s:.0f} s")
    click.echo(f"{calls} calls, {failed} seeds failed, {time.monotonic() - began_s:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
