"""Fuzzes what is done with requests before a store is asked, steered by what code they reach.

    python -m tests.fuzz --seconds 600
    python -m tests.fuzz --runs 2000 --seed 7
    python -m tests.fuzz --replay 0a00…

A fault ends it, is told with how to repeat it, and makes the exit code something but 0.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from random import Random

import click

ROOT = Path(__file__).parents[2]
RULES = re.compile(r"quota_service\.(edge\.(convert|validation|names|masks|paging)|domain\.\w+_rules)\b")
"""The code that steers a run of so many requests. One of so many seconds is steered by all of it, which takes
seconds before the first request.
"""

CAN_STEER = importlib.util.find_spec("atheris") is not None
"""Not on every platform."""


def steered(runs: int, seconds: int, seed: int) -> None:
    """Ends the process: libFuzzer does."""
    import atheris

    with atheris.instrument_imports(include=["quota_service"], exclude=_beside_the_rules() if runs else []):
        from tests.fuzz.fuzzing import HANGS_S, SIZE_MAX, Fuzzing

    fuzzing = Fuzzing(runs)

    def another(raw: bytes, size_max: int, seed: int) -> bytes:
        return fuzzing.mutated(
            raw, size_max, Random(seed), lambda part, most: bytes(atheris.Mutate(part, most))
        )

    options = {
        "runs": runs or -1,
        "max_total_time": seconds,
        "seed": seed,
        "max_len": SIZE_MAX,
        "timeout": HANGS_S,
        "rss_limit_mb": 4_096,
        "print_final_stats": 1,
        "exact_artifact_path": "/dev/null",  # a fault is told as it happens
    }
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items())]
    atheris.Setup(arguments, fuzzing.one, custom_mutator=another)
    atheris.Fuzz()


def _beside_the_rules() -> list[str]:
    modules = (file.relative_to(ROOT).with_suffix("") for file in ROOT.glob("quota_service/**/*.py"))
    names = (".".join(module.parts).removesuffix(".__init__") for module in modules)
    return [name for name in names if not RULES.match(name)]


@click.command()
@click.option("--runs", default=0, help="So many requests.")
@click.option("--seconds", default=0, help="So long.")
@click.option("--seed", default=0, help="The same one makes the same requests; 0: others each time.")
@click.option("--blind", is_flag=True, default=not CAN_STEER, help="Without looking at what is reached.")
@click.option("--replay", metavar="HEX", help="One input, as it was told.")
def main(runs: int, seconds: int, seed: int, blind: bool, replay: str | None) -> None:
    """Look for requests that the service does not take well."""
    if replay is not None:
        from tests.fuzz.fuzzing import Fuzzing

        Fuzzing(1).one(bytes.fromhex(replay))
        return
    if not runs and not seconds:
        seconds = 60
    if blind:
        from tests.fuzz.fuzzing import blindly

        blindly(runs, seconds, seed)
    else:
        steered(runs, seconds, seed)


if __name__ == "__main__":
    main()
