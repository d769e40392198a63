"""A short run with real processes: every kind of fault once, then the audit."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.chaos import report
from tests.chaos.faults import FAULTS, LOSING_DATA
from tests.chaos.run import Plan, run

SEED = int(os.environ.get("CHAOS_SEED", "4"))


@pytest.mark.timeout(170)
async def test_every_kind_of_fault_under_load_breaks_no_guarantee() -> None:
    plan = Plan(seed=SEED, seconds=None, replicas=2, workers=16)
    lines: list[str] = []
    result = await run(plan, lines.append)
    text = "\n".join(lines) + report.table(result)
    assert not result.verdict.findings, text
    assert result.injected == Counter(FAULTS.keys()), text
    assert len(result.journal.losses) >= len(LOSING_DATA), text
    assert result.verdict.counts["commits LEDGER found in the ledger"] > 0, text
    assert result.lost_replies > 0, text
    assert sum(result.journal.repeats.values()) > 0, text
