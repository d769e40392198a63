"""Negative controls: the auditor misses every mechanism that is taken out, within a few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run

SEEDS_MAX = 300


@pytest.mark.parametrize(
    ("name", "guarantee"),
    [
        ("no-idempotency", "G3: the ledger has"),
        ("forgets-keys", "G4: k"),
        ("add-on-rebuild", "G6: Place"),
        ("acknowledge-first", "G3: "),
        ("retries-scripts", "G4: "),
        ("no-fence", "G6: Place"),
    ],
)
def test_what_is_taken_out_is_missed(name: str, guarantee: str) -> None:
    for seed in range(SEEDS_MAX):
        findings = run(seed, MUTANTS[name]()).findings
        if any(finding.startswith(guarantee) for finding in findings):
            return
    pytest.fail(f"{SEEDS_MAX} seeds without {name} break nothing of {guarantee}")
