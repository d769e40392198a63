"""Negative controls: the auditor misses every mechanism that is taken out, within a few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run

FIRST_SEED, SEEDS_MAX = 61_255, 2_000
"""From where even the rarest is missed soon: keeps-ended takes some three hundred seeds on average."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "guarantee"),
    [
        ("no-idempotency", "G3: the ledger has"),
        ("forgets-keys", "G4: k"),
        ("add-on-rebuild", "G6: Place"),
        ("acknowledge-first", "G3: "),
        ("retries-scripts", "G4: "),
        ("no-fence", "G6: Place"),
        ("keeps-ended", "G6: Place"),
    ],
)
def test_what_is_taken_out_is_missed(name: str, guarantee: str) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS_MAX):
        findings = run(seed, MUTANTS[name]()).findings
        if any(finding.startswith(guarantee) for finding in findings):
            return
    pytest.fail(f"{SEEDS_MAX} seeds without {name} break nothing of {guarantee}")
