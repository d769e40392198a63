"""Thousands of seeds: whatever fails, every guarantee holds in the end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.run import run

SEEDS = int(os.environ.get("QUOTA_SIMULATION_SEEDS", "2000"))
"""How many are run, in batches that workers can share: by default, what takes one processor a minute."""

BATCHES = 20


@pytest.mark.timeout(60 + SEEDS / BATCHES)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_guarantee_holds_whatever_fails(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        outcome = run(seed)
        assert not outcome.findings, (
            f"seed {seed} breaks a guarantee; `python -m tests.simulation --seed {seed}` tells every step\n"
            + "\n".join(outcome.findings)
        )


def test_a_seed_does_the_same_again_step_by_step() -> None:
    traces: list[list[str]] = [[], []]
    for steps in traces:
        run(7, trace=steps.append)
    assert len(traces[0]) > 100
    assert traces[0] == traces[1]


def test_a_seed_does_the_same_in_another_process_whatever_its_hashes() -> None:
    told = {_replayed("7", hash_seed) for hash_seed in ("1", "2")}
    assert len(told) == 1
    assert b"every guarantee holds" in told.pop()


def _replayed(seed: str, hash_seed: str) -> bytes:
    return subprocess.run(
        (sys.executable, "-m", "tests.simulation", "--seed", seed),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    ).stdout
