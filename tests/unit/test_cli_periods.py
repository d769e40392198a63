"""How files write the period of a budget, and what a file is told that writes it wrongly."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.budget import one_line
from quota_service.cli.files import documents
from quota_service.cli.files.changes import plan_changes
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.render import render
from quota_service.cli.files.state import Desired, Kind, State

FILE = """\
organization: {id: acme, time_zone: Asia/Kolkata}
budgets:
  b: {limit: {usd: 1}, mode: hard, period: PERIOD}
"""


def read(written: str) -> tuple[Desired, list[str]]:
    problems = Problems()
    source = documents.Source("acme.yaml", FILE.replace("PERIOD", written))
    [desired] = documents.parse([source], "", problems)
    return desired, problems.errors


def period_of(written: str) -> budget_pb2.Period:
    desired, errors = read(written)
    assert errors == []
    message = desired.resources[Kind.BUDGET, "b"].message
    assert isinstance(message, budget_pb2.Budget)
    return message.period


WRITTEN = [
    ("daily", {"daily": {}}),
    ("{weekly: {start: sunday}}", {"weekly": {"start": "SUNDAY"}}),
    ("{monthly: {reset_day: 31}}", {"monthly": {"resetDay": 31}}),
    ("quarterly", {"quarterly": {}}),
    ("{quarterly: {first_month: 4}}", {"quarterly": {"firstMonth": 4}}),
    ("yearly", {"yearly": {}}),
    ("{yearly: {month: 4, day: 6}}", {"yearly": {"month": 4, "day": 6}}),
    ("{fixed: {length: 14d}}", {"fixed": {"length": "1209600s"}}),
    (
        "{fixed: {length: 36h, anchor: 2026-01-05T09:00:00Z}}",
        {"fixed": {"length": "129600s", "anchor": "2026-01-05T09:00:00Z"}},
    ),
    # a date is midnight in the budget's zone
    (
        "{fixed: {length: 60s, anchor: 2026-01-05}}",
        {"fixed": {"length": "60s", "anchor": "2026-01-04T18:30:00Z"}},
    ),
    ("{once: {end: 2026-12-31T18:00:00Z}}", {"once": {"endTime": "2026-12-31T18:00:00Z"}}),
]


@pytest.mark.parametrize(("written", "message"), WRITTEN)
def test_a_period_is_read(written: str, message: dict[str, object]) -> None:
    assert period_of(written) == ParseDict(message, budget_pb2.Period())


@pytest.mark.parametrize(("written", "_message"), WRITTEN)
def test_what_is_exported_reads_as_the_same_period(written: str, _message: object) -> None:
    desired, _ = read(written)
    state: State = {key: item.message for key, item in desired.resources.items()}
    problems = Problems()
    [again] = documents.parse([documents.Source("acme.yaml", render("acme", state))], "", problems)
    assert problems.errors == []
    assert plan_changes(again, state, prune=True).changes == []


@pytest.mark.parametrize(
    ("written", "from_server"),
    [
        ("quarterly", {"quarterly": {"firstMonth": 1}}),
        ("yearly", {"yearly": {"month": 1, "day": 1}}),
        ("{yearly: {month: 4}}", {"yearly": {"month": 4, "day": 1}}),
        ("{fixed: {length: 24h, anchor: 1970-01-01T00:00:00Z}}", {"fixed": {"length": "86400s"}}),
        ("{fixed: {length: 1d}}", {"fixed": {"length": "86400s", "anchor": "1970-01-01T00:00:00Z"}}),
    ],
)
def test_defaults_that_the_server_fills_in_are_no_difference(
    written: str, from_server: dict[str, object]
) -> None:
    desired, _ = read(written)
    state: State = {key: item.message for key, item in desired.resources.items()}
    period = ParseDict({**from_server, "timeZone": "Asia/Kolkata"}, budget_pb2.Period())
    kept = budget_pb2.Budget(
        name="organizations/acme/budgets/b",
        limits=types_pb2.Amounts(cost_micros=1_000_000),
        mode=types_pb2.MODE_HARD,
        period=period,
    )
    assert plan_changes(desired, {**state, (Kind.BUDGET, "b"): kept}, prune=False).changes == []


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("fixed", "period: fixed needs a length"),
        ("{fixed: {anchor: 2026-01-05T09:00:00Z}}", "period.fixed: needs a length"),
        ("{fixed: {length: 0s}}", "period.fixed.length: 0s is not between 60s and 3660d"),
        ("{fixed: {length: 4000d}}", "period.fixed.length: 4000d is not between 60s and 3660d"),
        ("{fixed: {length: two weeks}}", "'two weeks' is not a duration"),
        ("{fixed: {length: 14d, anchor: monday}}", "'monday' is neither a date nor a time"),
        ("{quarterly: {first_month: 13}}", "13 is not between 1 and 12"),
        ("{quarterly: {month: 4}}", "unknown key 'month'"),
        ("{yearly: {month: 0}}", "0 is not between 1 and 12"),
        ("{yearly: {day: 32}}", "32 is not between 1 and 31"),
        ("{monthly: {}, yearly: {}}", "needs exactly one of"),
        ("yearli", "did you mean 'yearly'?"),
    ],
)
def test_what_is_wrong_is_named(written: str, error: str) -> None:
    _, errors = read(written)
    assert len(errors) == 1
    assert error in errors[0]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("quarterly", "quarterly"),
        ("{quarterly: {first_month: 4}}", "quarterly first month 4"),
        ("{yearly: {month: 4, day: 6}}", "yearly month 4, day 6"),
        (
            "{fixed: {length: 14d, anchor: 2026-01-05T09:00:00Z}}",
            "fixed length 14d, anchor 2026-01-05T09:00:00Z",
        ),
        ("{once: {end: 2026-12-31T18:00:00Z}}", "once end 2026-12-31T18:00:00Z"),
    ],
)
def test_a_list_tells_the_period_in_one_line(written: str, shown: str) -> None:
    assert one_line(period_of(written), "Asia/Kolkata") == shown
