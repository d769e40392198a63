"""`make chaos`: kills, cuts off, empties and puts back in time, under load; then counts the money.

    python -m tests.chaos [--short] [--faults NAME,...] [--json FILE] [--journal FILE] [--logs DIR]
    python -m tests.chaos --soak SECONDS [--json FILE]

`CHAOS_SECONDS` (480) is how long faults are injected, `CHAOS_SEED` decides which. Exits with 1 when a
guarantee broke.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from tests.chaos import report, soak
from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, run

DEFAULT_SECONDS = 480.0


@click.command()
@click.option("--short", is_flag=True, help="Every kind of fault once, quickly.")
@click.option("--soak", "soak_s", type=float, help="A moderate load without faults for so many seconds.")
@click.option("--faults", help="Only these kinds, separated by commas; -NAME leaves one out.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the result there, too.")
@click.option("--journal", type=click.Path(path_type=Path), help="Write what clients were told there.")
@click.option(
    "--logs",
    type=click.Path(path_type=Path),
    help="Write what replicas printed and what PostgreSQL holds there.",
)
def main(
    short: bool,
    soak_s: float | None,
    faults: str | None,
    json_file: Path | None,
    journal: Path | None,
    logs: Path | None,
) -> None:
    """Prove the guarantees with real processes."""
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    seconds = float(os.environ.get("CHAOS_SECONDS") or DEFAULT_SECONDS)
    if soak_s is not None:
        sys.exit(_soak(seed, soak_s, json_file))
    plan = Plan(seed=seed, seconds=None if short else seconds, kinds=_kinds(faults), journal=journal)
    _say(f"seed {seed}: CHAOS_SEED={seed} does the same again")
    result = uvloop.run(_ended_by_signals(run(plan, _say)))
    _say(report.table(result))
    _write(json_file, report.document(result))
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        for name, text in result.logs.items():
            (logs / f"{name}.log").write_text(text)
        (logs / "postgres.jsonl").write_text(result.dump)
    sys.exit(1 if result.verdict.findings else 0)


def _soak(seed: int, seconds: float, json_file: Path | None) -> int:
    result = uvloop.run(_ended_by_signals(soak.run(seed, seconds, _say)))
    _say(soak.table(result))
    _write(json_file, soak.document(result))
    return 1 if result.verdict.findings else 0


def _kinds(wanted: str | None) -> tuple[str, ...]:
    names = wanted.split(",") if wanted else []
    unknown = [name for name in names if name.lstrip("-") not in FAULTS]
    if unknown:
        raise click.BadParameter(f"no such fault: {', '.join(unknown)}. There are: {', '.join(FAULTS)}")
    chosen = [name for name in names if not name.startswith("-")] or list(FAULTS)
    return tuple(name for name in chosen if f"-{name}" not in names)


async def _ended_by_signals(work: Any) -> Any:
    """SIGTERM and SIGINT cancel the work, which ends every process that it has started."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        sys.exit("interrupted: everything that was started has been ended")


def _write(file: Path | None, content: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(content, indent=2) + "\n")


def _say(text: str) -> None:
    click.echo(text)


if __name__ == "__main__":
    main()
