"""A little of the fuzzing in every run of the tests, and that it would find something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from quota.v1 import budget_pb2
from quota_service.application import intents
from quota_service.edge import masks
from tests.fuzz.__main__ import CAN_STEER
from tests.fuzz.fuzzing import Fuzzing
from tests.fuzz.target import Fault
from tests.support.process import ROOT, clean_environment

RUNS = 1_000


@pytest.fixture
def fuzzing() -> Iterator[Fuzzing]:
    fuzzing = Fuzzing(0)
    yield fuzzing
    fuzzing.target.close()


def test_a_thousand_requests_that_come_of_good_ones_are_taken_well() -> None:
    """In a process of its own, which libFuzzer takes over and ends."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--runs", str(RUNS), "--seed", "1"],
        cwd=ROOT,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert f"{RUNS:,} requests" in done.stdout
    assert ("cov: " in done.stderr) == CAN_STEER


def test_every_method_s_good_request_gets_past_validation(fuzzing: Fuzzing) -> None:
    """Or hardly anything that comes of it would."""
    outcomes = {fuzzing.target.served(raw).descriptor.name: fuzzing.one(raw) for raw in fuzzing.seeds}
    refused = {name for name, outcome in outcomes.items() if outcome == "INVALID_ARGUMENT"}
    assert refused <= {"CreateRateLimit", "CreateApiKey"}  # which want what a test would have to say


def test_a_fault_in_one_request_of_a_batch_is_found(
    fuzzing: Fuzzing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("colour")

    [raw] = [raw for raw in fuzzing.seeds if fuzzing.target.served(raw).descriptor.name == "AuthorizeBatch"]
    assert fuzzing.one(raw) == "OK"
    monkeypatch.setattr(intents, "content_of", fails)
    with pytest.raises(Fault):
        fuzzing.one(raw)


def test_a_fault_is_told_with_how_to_repeat_it(
    fuzzing: Fuzzing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("colour")

    monkeypatch.setattr(masks, "check", fails)
    [raw] = [raw for raw in fuzzing.seeds if fuzzing.target.served(raw).descriptor.name == "UpdateBudget"]
    with pytest.raises(KeyError):
        fuzzing.one(raw)
    said = capsys.readouterr().err
    assert "quota.v1.BudgetService/UpdateBudget" in said
    assert f"--replay {raw.hex()}" in said
    assert budget_pb2.UpdateBudgetRequest.FromString(raw[1:]).budget.name in said
