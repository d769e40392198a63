"""Recurrence rules become windows: calendars, reset days, and the clocks that people change."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from quota_service.domain.period import (
    Daily,
    Fixed,
    Monthly,
    Once,
    Period,
    Quarterly,
    Weekly,
    Window,
    Yearly,
    window_at,
)
from tests.support.periods import ms, text

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def _window(period: Period, zone: str, at: str) -> tuple[str, str]:
    """The window, with both ends written in UTC."""
    found = window_at(period, ZoneInfo(zone), ms(at))
    assert found is not None
    assert found.end_ms is not None
    return text(found.start_ms), text(found.end_ms)


@pytest.mark.parametrize(
    ("zone", "at", "start", "end"),
    [
        ("UTC", "2026-05-04T12:00Z", "2026-05-04T00:00Z", "2026-05-05T00:00Z"),
        ("UTC", "2026-05-04T00:00Z", "2026-05-04T00:00Z", "2026-05-05T00:00Z"),
        ("Europe/Berlin", "2026-01-10T23:30Z", "2026-01-10T23:00Z", "2026-01-11T23:00Z"),
        ("Asia/Kolkata", "2026-01-10T18:29Z", "2026-01-09T18:30Z", "2026-01-10T18:30Z"),
        ("Asia/Kathmandu", "2026-01-10T18:15Z", "2026-01-10T18:15Z", "2026-01-11T18:15Z"),
        # 23 hours in spring, 25 in autumn
        ("Europe/Berlin", "2026-03-29T10:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("Europe/Berlin", "2026-10-25T10:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("America/New_York", "2026-03-08T12:00Z", "2026-03-08T05:00Z", "2026-03-09T04:00Z"),
        ("America/New_York", "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        # half an hour of summer time
        ("Australia/Lord_Howe", "2026-04-05T00:00Z", "2026-04-04T13:00Z", "2026-04-05T13:30Z"),
        ("Australia/Lord_Howe", "2026-10-04T00:00Z", "2026-10-03T13:30Z", "2026-10-04T13:00Z"),
        # midnight is skipped: the day begins when the clocks jump to 01:00
        ("Asia/Beirut", "2026-03-29T10:00Z", "2026-03-28T22:00Z", "2026-03-29T21:00Z"),
        ("America/Santiago", "2026-09-06T10:00Z", "2026-09-06T04:00Z", "2026-09-07T03:00Z"),
        # the clocks go from midnight back to 23:00: the hour belongs to the day that is not yet over
        ("America/Santiago", "2026-04-05T03:30Z", "2026-04-04T03:00Z", "2026-04-05T04:00Z"),
        ("Asia/Beirut", "2026-10-24T21:30Z", "2026-10-23T21:00Z", "2026-10-24T22:00Z"),
        # the clocks go from 01:00 back to midnight: the day begins the first time
        ("America/Havana", "2026-11-01T05:30Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
        # from 00:01 back to 23:01: the day that has begun goes on
        ("America/St_Johns", "2010-11-07T03:00Z", "2010-11-07T02:30Z", "2010-11-08T03:30Z"),
        # Samoa had no 30 December
        ("Pacific/Apia", "2011-12-30T09:00Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
        ("Pacific/Apia", "2011-12-30T11:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
        # nor Kwajalein a 21 August
        ("Pacific/Kwajalein", "1993-08-21T11:59Z", "1993-08-20T12:00Z", "1993-08-21T12:00Z"),
        ("Pacific/Kwajalein", "1993-08-21T12:00Z", "1993-08-21T12:00Z", "1993-08-22T12:00Z"),
        # summer began at midnight in Brazil and begins there in Egypt, on a Friday; it ends at 24:00
        ("America/Sao_Paulo", "2018-11-04T03:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z"),
        ("America/Sao_Paulo", "2019-02-17T02:30Z", "2019-02-16T02:00Z", "2019-02-17T03:00Z"),
        ("Africa/Cairo", "2026-04-23T22:00Z", "2026-04-23T22:00Z", "2026-04-24T21:00Z"),
        ("Africa/Cairo", "2026-10-29T21:30Z", "2026-10-28T21:00Z", "2026-10-29T22:00Z"),
        # from 23:30 on to midnight
        ("Asia/Pyongyang", "2018-05-04T14:59Z", "2018-05-03T15:30Z", "2018-05-04T15:00Z"),
        # quarters of an hour, and summer time on top of them
        ("Pacific/Chatham", "2026-09-27T00:00Z", "2026-09-26T11:15Z", "2026-09-27T10:15Z"),
    ],
)
def test_a_day_runs_from_local_midnight_to_local_midnight(zone: str, at: str, start: str, end: str) -> None:
    assert _window(Daily(), zone, at) == (start, end)


@pytest.mark.parametrize(
    ("start_day", "at", "start"),
    [
        (1, "2026-05-04T00:00Z", "2026-05-04T00:00Z"),  # a Monday
        (1, "2026-05-10T23:59Z", "2026-05-04T00:00Z"),
        (7, "2026-05-09T12:00Z", "2026-05-03T00:00Z"),
        (7, "2026-05-10T00:00Z", "2026-05-10T00:00Z"),
        (3, "2027-01-01T12:00Z", "2026-12-30T00:00Z"),
    ],
)
def test_a_week_begins_on_its_start_day(start_day: int, at: str, start: str) -> None:
    found = _window(Weekly(start_day=start_day), "UTC", at)
    assert found[0] == start
    assert ms(found[1]) - ms(found[0]) == 7 * DAY_MS


def test_a_week_with_a_change_of_clocks_ends_at_local_midnight() -> None:
    found = _window(Weekly(), "Europe/Berlin", "2026-03-27T12:00Z")
    assert found == ("2026-03-22T23:00Z", "2026-03-29T22:00Z")


@pytest.mark.parametrize(
    ("reset_day", "at", "start", "end"),
    [
        (1, "2026-02-15T00:00Z", "2026-02-01T00:00Z", "2026-03-01T00:00Z"),
        (15, "2026-02-14T23:59Z", "2026-01-15T00:00Z", "2026-02-15T00:00Z"),
        (15, "2026-02-15T00:00Z", "2026-02-15T00:00Z", "2026-03-15T00:00Z"),
        (31, "2026-02-15T00:00Z", "2026-01-31T00:00Z", "2026-02-28T00:00Z"),
        (31, "2026-02-28T00:00Z", "2026-02-28T00:00Z", "2026-03-31T00:00Z"),
        (31, "2028-02-28T12:00Z", "2028-01-31T00:00Z", "2028-02-29T00:00Z"),  # a leap year
        (31, "2028-02-29T00:00Z", "2028-02-29T00:00Z", "2028-03-31T00:00Z"),
        (30, "2026-03-29T00:00Z", "2026-02-28T00:00Z", "2026-03-30T00:00Z"),
        (29, "2026-03-01T00:00Z", "2026-02-28T00:00Z", "2026-03-29T00:00Z"),
        (31, "2026-04-30T00:00Z", "2026-04-30T00:00Z", "2026-05-31T00:00Z"),
        (31, "2026-12-31T00:00Z", "2026-12-31T00:00Z", "2027-01-31T00:00Z"),
        (5, "2027-01-04T00:00Z", "2026-12-05T00:00Z", "2027-01-05T00:00Z"),
    ],
)
def test_a_month_begins_on_its_reset_day_or_on_the_last_day_of_a_shorter_month(
    reset_day: int, at: str, start: str, end: str
) -> None:
    assert _window(Monthly(reset_day=reset_day), "UTC", at) == (start, end)


def test_a_month_is_that_of_the_budgets_time_zone() -> None:
    found = _window(Monthly(), "America/New_York", "2026-11-01T03:59Z")
    assert found == ("2026-10-01T04:00Z", "2026-11-01T04:00Z")


def test_a_month_may_begin_on_a_day_that_the_zone_skipped() -> None:
    found = _window(Monthly(reset_day=30), "Pacific/Apia", "2011-12-30T10:00Z")
    assert found == ("2011-12-30T10:00Z", "2012-01-29T10:00Z")


@pytest.mark.parametrize(
    ("first_month", "zone", "at", "start", "end"),
    [
        (1, "UTC", "2026-05-15T00:00Z", "2026-04-01T00:00Z", "2026-07-01T00:00Z"),
        (1, "UTC", "2026-12-31T23:59Z", "2026-10-01T00:00Z", "2027-01-01T00:00Z"),
        # a fiscal year from February: the last quarter runs across the new year
        (2, "UTC", "2027-01-31T23:59Z", "2026-11-01T00:00Z", "2027-02-01T00:00Z"),
        (2, "UTC", "2027-02-01T00:00Z", "2027-02-01T00:00Z", "2027-05-01T00:00Z"),
        (12, "UTC", "2026-02-28T12:00Z", "2025-12-01T00:00Z", "2026-03-01T00:00Z"),
        (4, "Asia/Kolkata", "2026-03-31T18:30Z", "2026-03-31T18:30Z", "2026-06-30T18:30Z"),
        (4, "Asia/Kolkata", "2026-03-31T18:29Z", "2025-12-31T18:30Z", "2026-03-31T18:30Z"),
        # winter time when it begins, summer time when it ends
        (1, "America/New_York", "2026-02-01T00:00Z", "2026-01-01T05:00Z", "2026-04-01T04:00Z"),
        # October begins in the hour that Paraguay's clocks skip
        (10, "America/Asuncion", "2023-10-01T04:00Z", "2023-10-01T04:00Z", "2024-01-01T03:00Z"),
    ],
)
def test_a_quarter_begins_on_the_first_of_every_third_month(
    first_month: int, zone: str, at: str, start: str, end: str
) -> None:
    assert _window(Quarterly(first_month=first_month), zone, at) == (start, end)


def test_quarters_that_begin_three_months_apart_are_the_same() -> None:
    at = "2026-05-15T00:00Z"
    assert _window(Quarterly(first_month=2), "UTC", at) == _window(Quarterly(first_month=11), "UTC", at)


@pytest.mark.parametrize(
    ("month", "day", "zone", "at", "start", "end"),
    [
        (1, 1, "UTC", "2026-12-31T23:59Z", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
        # the British tax year
        (4, 6, "Europe/London", "2026-04-05T22:59Z", "2025-04-05T23:00Z", "2026-04-05T23:00Z"),
        (4, 6, "Europe/London", "2026-04-05T23:00Z", "2026-04-05T23:00Z", "2027-04-05T23:00Z"),
        (2, 29, "UTC", "2026-02-27T23:59Z", "2025-02-28T00:00Z", "2026-02-28T00:00Z"),
        (2, 29, "UTC", "2027-12-01T00:00Z", "2027-02-28T00:00Z", "2028-02-29T00:00Z"),
        (2, 29, "UTC", "2028-02-28T23:59Z", "2027-02-28T00:00Z", "2028-02-29T00:00Z"),
        (2, 29, "UTC", "2028-02-29T00:00Z", "2028-02-29T00:00Z", "2029-02-28T00:00Z"),
        (2, 31, "UTC", "2100-03-01T00:00Z", "2100-02-28T00:00Z", "2101-02-28T00:00Z"),  # no leap year
        (6, 31, "UTC", "2026-06-30T00:00Z", "2026-06-30T00:00Z", "2027-06-30T00:00Z"),
        (12, 31, "UTC", "2026-12-30T23:59Z", "2025-12-31T00:00Z", "2026-12-31T00:00Z"),
        (12, 30, "Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00Z", "2012-12-29T10:00Z"),
        (1, 1, "Asia/Kathmandu", "2025-12-31T18:15Z", "2025-12-31T18:15Z", "2026-12-31T18:15Z"),
    ],
)
def test_a_year_begins_on_its_day_or_on_the_last_of_its_month(
    month: int, day: int, zone: str, at: str, start: str, end: str
) -> None:
    assert _window(Yearly(month=month, day=day), zone, at) == (start, end)


@pytest.mark.parametrize(
    ("length_ms", "anchor", "at", "start", "end"),
    [
        (14 * DAY_MS, "2026-01-05T09:00Z", "2026-01-05T09:00Z", "2026-01-05T09:00Z", "2026-01-19T09:00Z"),
        (14 * DAY_MS, "2026-01-05T09:00Z", "2026-02-02T08:59Z", "2026-01-19T09:00Z", "2026-02-02T09:00Z"),
        # before the anchor
        (14 * DAY_MS, "2026-01-05T09:00Z", "2026-01-05T08:59Z", "2025-12-22T09:00Z", "2026-01-05T09:00Z"),
        (5 * HOUR_MS, "1970-01-01T00:00Z", "1970-01-01T04:59Z", "1970-01-01T00:00Z", "1970-01-01T05:00Z"),
        # across a change of clocks: 24 hours are 24 hours
        (DAY_MS, "2026-03-28T23:00Z", "2026-03-29T22:59Z", "2026-03-28T23:00Z", "2026-03-29T23:00Z"),
    ],
)
def test_a_fixed_length_is_counted_from_its_anchor_whatever_the_clocks_say(
    length_ms: int, anchor: str, at: str, start: str, end: str
) -> None:
    period = Fixed(length_ms=length_ms, anchor_ms=ms(anchor))
    assert _window(period, "Europe/Berlin", at) == (start, end)


@pytest.mark.parametrize(
    ("period", "at_ms", "expected"),
    [
        (Once(), 5, Window(0, None)),
        (Once(start_ms=10), 10, Window(10, None)),
        (Once(start_ms=10), 9, None),
        (Once(end_ms=10), 9, Window(0, 10)),
        (Once(end_ms=10), 10, None),
        (Once(start_ms=10, end_ms=20), 19, Window(10, 20)),
    ],
)
def test_a_one_off_period_is_its_only_window(period: Once, at_ms: int, expected: Window | None) -> None:
    assert window_at(period, ZoneInfo("Asia/Tokyo"), at_ms) == expected
