"""Tables for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import types_pb2
from quota_service.cli import output, tables

RESET = Timestamp(seconds=1_796_101_200)  # 2026-12-01T05:00:00Z
SOURCE = "organizations/acme/budgets/engineering"


def status(*, spent: int = 0, held: int = 0, limit: int = 100, **fields: object) -> types_pb2.BudgetStatus:
    return types_pb2.BudgetStatus(
        source=SOURCE,
        mode=types_pb2.MODE_HARD,
        meter=types_pb2.METER_COST,
        spent=spent,
        held=held,
        limit=limit,
        remaining=limit - spent - held,
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (status(), "░░░░░░░░░░░░   0%"),
        (status(spent=1, limit=1_000), "█░░░░░░░░░░░  <1%"),
        (status(spent=50, held=25), "██████▒▒▒░░░  75%"),
        (status(spent=150), "████████████ 150%"),
        (status(limit=0), "░░░░░░░░░░░░ 100%"),
    ],
)
def test_a_bar_shows_what_is_spent_and_held(shown: types_pb2.BudgetStatus, expected: str) -> None:
    assert tables.bar(shown).plain == expected


def test_budgets_reset_in_their_own_time_zone() -> None:
    shown = status(reset_time=RESET)
    assert tables.resets(shown, {"": "America/New_York"}) == "Dec 01 00:00 EST"
    assert tables.resets(shown, {"": "America/New_York", SOURCE: "Europe/Berlin"}) == "Dec 01 06:00 CET"
    assert tables.resets(status(), {}) == "never"


def test_a_row_has_everything_in_human_units(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row = status(spent=1_500_000, limit=2_000_000_000, each_value="ada", reset_time=RESET)
    output.print_table(tables.status_table([row], {"": "UTC"}))
    shown = capsys.readouterr().out
    for part in ("engineering [ada]", "$1.50", "$1,998.50", "$2,000.00", "hard", "Dec 01 05:00 UTC"):
        assert part in shown


def test_what_would_have_been_blocked_is_a_sentence() -> None:
    watched = status(would_have_blocked_requests=2, would_have_blocked=3_000_000)
    assert tables.would_have_blocked([watched, status()]) == [
        "engineering (hard) would have blocked 2 requests, $3.00"
    ]
    once = status(would_have_blocked_requests=1, would_have_blocked=10_000)
    assert tables.would_have_blocked([once]) == ["engineering (hard) would have blocked 1 request, $0.01"]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-1, "now"), (43, "43 s"), (119, "119 s"), (121, "2 min"), (90_000, "25 h")]
)
def test_the_time_left_is_in_the_unit_that_fits(seconds: int, expected: str) -> None:
    now = datetime(2026, 12, 1, 5, tzinfo=UTC)
    assert tables.in_words(Timestamp(seconds=RESET.seconds + seconds), now) == expected


def test_a_subject_is_told_in_one_line() -> None:
    subject = types_pb2.Subject(team="sales", user="mary", tags={"run": "7"})
    assert tables.subject_text(subject) == "team sales, user mary, tag run 7"
    assert tables.spender_text(subject) == "sales/mary"
    assert tables.subject_text(types_pb2.Subject()) == "nobody in particular"


@pytest.mark.parametrize(
    ("milliseconds", "expected"), [(1, "1 s"), (18_400, "19 s"), (121_000, "3 min"), (90_000_001, "26 h")]
)
def test_a_wait_is_never_told_shorter_than_it_is(milliseconds: int, expected: str) -> None:
    wait = Duration()
    wait.FromMilliseconds(milliseconds)
    assert tables.wait_in_words(wait) == expected
