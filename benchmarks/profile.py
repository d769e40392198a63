"""Where the server's time goes, for Authorize and for Commit.

    python -m benchmarks.profile [--seconds 10]

The server is stopped every millisecond of its processor time and asked which of its modules it is in, the
innermost one; what that has called in libraries counts as its own. Time outside of all Python code of ours
is gRPC's and the event loop's.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import uvloop

from benchmarks import scenario
from benchmarks.laboratory import CONNECTIONS, Server, environment, seed, serve_command, server, stores
from benchmarks.scenario import NESTED

OUTSIDE, ELSEWHERE = "gRPC and the event loop", "elsewhere"

GROUPS: Mapping[str, str] = {
    "cli": OUTSIDE,  # who runs the event loop
    "compose": OUTSIDE,
    "edge.calls": "layers around a call",
    "edge.traffic": "layers around a call",
    "edge.decoding": "decode and validate the request",
    "edge.validation": "decode and validate the request",
    "edge.convert": "requests to values, results to answers",
    "edge.quota": "requests to values, results to answers",
    "edge": "layers around a call",
    "domain": "decide: subject, budgets, prices, statuses",
    "application.writing": "write to the ledger",
    "application.delivery": "write to the ledger",
    "application": "decide: subject, budgets, prices, statuses",
    "stores.postgres": "write to the ledger",
    "stores.valkey": "run scripts in Valkey",
    "stores.hold_documents": "run scripts in Valkey",
    "stores.prices": "decide: subject, budgets, prices, statuses",
}
"""By the beginning of a module's name, the longest one that fits."""


@click.command()
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1, 600))
@click.option("--modules", is_flag=True, help="Tell of each module.")
def main(seconds: float, modules: bool) -> None:
    """Tell where the server's time goes."""
    for name, samples in uvloop.run(_profiled(seconds)).items():
        click.echo(name)
        counts = by_module(samples) if modules else by_group(samples)
        for what, count in counts.most_common(30):
            click.echo(f"  {100 * count / counts.total():5.1f} %  {what}")


async def _profiled(seconds: float) -> Mapping[str, Sequence[tuple[str, str, int]]]:
    async with stores() as started:
        found = {}
        for name in ("Authorize", "Commit"):
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                command = ["benchmarks.profiled", file.name, *serve_command()[1:]]
                async with server(command, environment(started), (), CONNECTIONS) as service:
                    if name == "Authorize":
                        await seed(service, [NESTED])
                    await _driven(service, name, seconds)
                found[name] = [tuple(row) for row in json.loads(Path(file.name).read_text())]
        return found


async def _driven(service: Server, name: str, seconds: float) -> None:
    asked = scenario.authorizing(NESTED)
    if name == "Authorize":
        await service.saturated(asked, seconds=1)
        os.kill(service.pid, signal.SIGUSR1)
        await service.saturated(asked, seconds=seconds)
        return
    _, answers = await service.saturated(asked, seconds=seconds)
    os.kill(service.pid, signal.SIGUSR1)
    await service.saturated(scenario.committing(NESTED, answers), seconds=seconds)


def by_module(samples: Sequence[tuple[str, str, int]]) -> Counter[str]:
    """What each of our modules took."""
    found: Counter[str] = Counter()
    for module, library, count in samples:
        found[module or f"{OUTSIDE}: {library}"] += count
    return found


def by_group(samples: Sequence[tuple[str, str, int]]) -> Counter[str]:
    """What each kind of work took."""
    found: Counter[str] = Counter()
    for module, _, count in samples:
        found[group_of(module)] += count
    return found


def group_of(module: str) -> str:
    """The kind of work of a module; "" is none of ours."""
    name = module.removeprefix("quota_service.")
    if not module:
        return OUTSIDE
    fitting = [start for start in GROUPS if name == start or name.startswith(f"{start}.")]
    return GROUPS[max(fitting, key=len)] if fitting else ELSEWHERE


if __name__ == "__main__":
    main()
