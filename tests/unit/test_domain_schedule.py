"""A change of a budget's period or zone: which window runs on, and where the new rule begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.budget import Budget
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Period, Quarterly, Weekly, Yearly
from quota_service.domain.schedule import pause_of, rescheduled, window_of
from tests.support.periods import ms, text

NOW = "2026-05-10T12:00Z"  # a Sunday
HOUR_MS = 3_600_000
FORTNIGHT = Fixed(length_ms=14 * 24 * HOUR_MS, anchor_ms=ms("2026-05-04T00:00Z"))


def a_budget(period: Period, time_zone: str = "UTC") -> Budget:
    return Budget(id="b", period=period, time_zone=time_zone)


def changed(before: Budget, period: Period, time_zone: str = "UTC", *, at: str = NOW) -> Budget:
    """The budget after somebody has sent it with another period."""
    return rescheduled(before, replace(before, period=period, time_zone=time_zone, former=None), ms(at))


def window(budget: Budget, at: str = NOW) -> tuple[str, str] | None:
    """The window at a moment, with both ends in UTC; a missing end is "never"."""
    found = window_of(budget, ms(at))
    if found is None:
        return None
    return text(found.start_ms), "never" if found.end_ms is None else text(found.end_ms)


@pytest.mark.parametrize(
    ("before", "after", "running", "next_"),
    [
        (Monthly(), Weekly(), ("2026-05-01", "2026-06-01"), ("2026-06-01", "2026-06-08")),
        # the first window of the new rule is what the old one leaves of it
        (Monthly(), Monthly(reset_day=15), ("2026-05-01", "2026-06-01"), ("2026-06-01", "2026-06-15")),
        (Monthly(), Yearly(month=4, day=6), ("2026-05-01", "2026-06-01"), ("2026-06-01", "2027-04-06")),
        (Weekly(), Monthly(), ("2026-05-04", "2026-05-11"), ("2026-05-11", "2026-06-01")),
        (Daily(), Quarterly(first_month=2), ("2026-05-10", "2026-05-11"), ("2026-05-11", "2026-08-01")),
        (Yearly(), Daily(), ("2026-01-01", "2027-01-01"), ("2027-01-01", "2027-01-02")),
        (FORTNIGHT, Weekly(start_day=7), ("2026-05-04", "2026-05-18"), ("2026-05-18", "2026-05-24")),
        (
            Once(end_ms=ms("2026-05-20T00:00Z")),
            Monthly(),
            ("1970-01-01", "2026-05-20"),
            ("2026-05-20", "2026-06-01"),
        ),
        (Monthly(), Once(), ("2026-05-01", "2026-06-01"), ("2026-06-01", "never")),
    ],
)
def test_the_running_window_ends_as_announced_and_the_next_follows_the_new_rule(
    before: Period, after: Period, running: tuple[str, str], next_: tuple[str, str]
) -> None:
    budget = changed(a_budget(before), after)
    assert budget.period == after
    assert window(budget) == tuple(f"{day}T00:00Z" for day in running)
    expected = tuple(day if day == "never" else f"{day}T00:00Z" for day in next_)
    assert window(budget, f"{running[1]}T00:00Z") == expected


def test_a_change_of_zone_waits_for_the_end_of_the_window_too() -> None:
    budget = changed(a_budget(Monthly(), "Europe/Berlin"), Monthly(), "America/New_York")
    assert window(budget) == ("2026-04-30T22:00Z", "2026-05-31T22:00Z")
    assert window(budget, "2026-05-31T22:00Z") == ("2026-05-31T22:00Z", "2026-06-01T04:00Z")
    assert window(budget, "2026-06-01T04:00Z") == ("2026-06-01T04:00Z", "2026-07-01T04:00Z")


@pytest.mark.parametrize("period", [FORTNIGHT, Once(), Once(end_ms=ms("2026-06-01T00:00Z"))])
def test_a_zone_means_nothing_to_a_period_of_instants(period: Period) -> None:
    budget = changed(a_budget(period, "UTC"), period, "Asia/Tokyo")
    assert (budget.time_zone, budget.former) == ("Asia/Tokyo", None)


def test_other_changes_leave_the_rule_that_is_to_come() -> None:
    pending = changed(a_budget(Monthly()), Weekly())
    renamed = rescheduled(pending, replace(pending, display_name="B", former=None), ms("2026-05-20T00:00Z"))
    assert renamed == replace(pending, display_name="B")


def test_a_further_change_replaces_the_rule_that_is_to_come() -> None:
    budget = changed(changed(a_budget(Monthly()), Weekly()), Daily(), at="2026-05-20T00:00Z")
    assert window(budget) == ("2026-05-01T00:00Z", "2026-06-01T00:00Z")
    assert window(budget, "2026-06-01T00:00Z") == ("2026-06-01T00:00Z", "2026-06-02T00:00Z")


def test_a_change_back_while_the_window_runs_revokes_the_change() -> None:
    budget = a_budget(Monthly(), "Europe/Berlin")
    pending = changed(budget, Weekly(), "UTC")
    assert changed(pending, Monthly(), "Europe/Berlin", at="2026-05-31T21:59Z") == budget


def test_a_shortened_window_keeps_its_start_whatever_is_changed_meanwhile() -> None:
    """Its start is what its counter is known by: another start would forgive what has been spent."""
    budget = changed(a_budget(Weekly()), Monthly())
    shortened = ("2026-05-11T00:00Z", "2026-06-01T00:00Z")
    later = "2026-05-20T00:00Z"
    assert window(budget, later) == shortened
    renamed = changed(budget, Monthly(), at=later)
    assert window(renamed, later) == shortened
    pending = changed(renamed, Daily(), at=later)
    assert window(pending, later) == shortened
    back = changed(pending, Monthly(), at="2026-05-21T00:00Z")
    assert window(back, later) == shortened
    assert window(back, "2026-06-01T00:00Z") == ("2026-06-01T00:00Z", "2026-07-01T00:00Z")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(Once(), id="never ends"),
        pytest.param(Once(start_ms=ms("2026-05-01T00:00Z")), id="began and never ends"),
        pytest.param(Once(end_ms=ms("2026-05-05T00:00Z")), id="is over"),
        pytest.param(Once(start_ms=ms("2026-05-20T00:00Z")), id="has not begun"),
    ],
)
def test_where_no_window_runs_that_ends_the_change_takes_effect_at_once(before: Once) -> None:
    budget = changed(a_budget(before), Monthly())
    assert window(budget) == (NOW, "2026-06-01T00:00Z")
    told = window_of(a_budget(before), ms(NOW) - 1)
    assert window_of(budget, ms(NOW) - 1) == (told and told._replace(end_ms=ms(NOW)))


@pytest.mark.parametrize("end", ["2026-05-11T00:00Z", "2026-07-01T00:00Z", None])
def test_a_one_off_window_whose_end_is_moved_is_the_same_window(end: str | None) -> None:
    """It keeps its counter: a second window would bring the whole limit again."""
    start_ms = ms("2026-05-01T00:00Z")
    before = a_budget(Once(start_ms=start_ms, end_ms=ms("2026-06-01T00:00Z")))
    budget = changed(before, Once(start_ms=start_ms, end_ms=None if end is None else ms(end)))
    assert budget.former is None
    assert window(budget) == ("2026-05-01T00:00Z", end or "never")


def test_a_one_off_window_that_is_over_is_not_taken_up_again() -> None:
    """What it counted is forgotten some time after its end: it would begin anew, and not say so."""
    start_ms = ms("2026-04-01T00:00Z")
    before = a_budget(Once(start_ms=start_ms, end_ms=ms("2026-05-01T00:00Z")))
    budget = changed(before, Once(start_ms=start_ms, end_ms=ms("2026-06-01T00:00Z")))
    assert window(budget) == (NOW, "2026-06-01T00:00Z")
    assert window(budget, "2026-05-05T00:00Z") is None


def test_a_one_off_window_with_another_start_follows_the_one_that_runs() -> None:
    before = a_budget(Once(end_ms=ms("2026-06-01T00:00Z")))
    budget = changed(before, Once(start_ms=ms("2026-07-01T00:00Z"), end_ms=ms("2026-08-01T00:00Z")))
    assert window(budget) == ("1970-01-01T00:00Z", "2026-06-01T00:00Z")
    assert window(budget, "2026-06-15T00:00Z") is None
    assert pause_of(budget, ms("2026-06-15T00:00Z")) == (ms("2026-06-01T00:00Z"), ms("2026-07-01T00:00Z"))
    assert window(budget, "2026-07-01T00:00Z") == ("2026-07-01T00:00Z", "2026-08-01T00:00Z")


@pytest.mark.parametrize(
    ("at", "pause"),
    [
        ("2026-04-30T00:00Z", (0, ms("2026-05-01T00:00Z"))),
        ("2026-06-05T00:00Z", (ms("2026-06-01T00:00Z"), None)),
    ],
)
def test_before_and_after_a_one_off_window_there_is_a_pause(at: str, pause: tuple[int, int | None]) -> None:
    budget = a_budget(Once(start_ms=ms("2026-05-01T00:00Z"), end_ms=ms("2026-06-01T00:00Z")))
    assert window(budget, at) is None
    assert pause_of(budget, ms(at)) == pause


def test_only_a_one_off_period_pauses() -> None:
    with pytest.raises(ValueError, match="one-off"):
        pause_of(a_budget(Daily()), ms(NOW))
