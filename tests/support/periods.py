"""Periods, time zones and instants at which windows are hard to work out."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import available_timezones

from hypothesis import strategies as st

from quota_service.domain.period import (
    Daily,
    Fixed,
    Monthly,
    Once,
    Period,
    Quarterly,
    Weekly,
    Yearly,
)

_DAY_MS = 86_400_000
_HARD_ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "America/Asuncion",
    "America/Nuuk",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
)


def ms(text: str) -> int:
    """A moment such as 2026-03-29T00:00+01:00."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def text(instant_ms: int) -> str:
    """A moment in UTC, such as 2026-03-28T23:00Z."""
    return datetime.fromtimestamp(instant_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


# Around these the clocks or calendars of some of the zones jump.
_LEAPS = tuple(
    ms(moment)
    for moment in (
        "1993-08-21T12:00Z",  # Kwajalein skips a day
        "1994-12-31T10:00Z",  # Kiritimati skips one
        "2011-12-30T10:00Z",  # Apia skips one
        "2000-02-29T00:00Z",
        "2024-02-29T00:00Z",
        "2010-11-07T02:31Z",  # St John's goes from 00:01 back to 23:01 of the day before
        "2018-11-04T03:00Z",  # São Paulo goes from midnight to 01:00
        "2019-02-17T02:00Z",  # and back
        "2018-05-04T15:00Z",  # Pyongyang goes from 23:30 to midnight
        "2026-03-28T22:00Z",  # Beirut
        "2026-04-23T22:00Z",  # Cairo
        "2026-10-29T21:00Z",
    )
)

_nearby = st.integers(-2 * _DAY_MS, 2 * _DAY_MS) | st.integers(-_DAY_MS // 12, _DAY_MS // 12)
zones = st.one_of(st.sampled_from(_HARD_ZONES), st.sampled_from(sorted(available_timezones())))
instants = st.one_of(
    st.integers(ms("1990-01-01T00:00Z"), ms("2060-01-01T00:00Z")),
    st.builds(int.__add__, st.sampled_from(_LEAPS), _nearby),
)
lengths = st.integers(60, 3_660 * 86_400).map(lambda length_s: length_s * 1000)
recurring: st.SearchStrategy[Period] = st.one_of(
    st.just(Daily()),
    st.builds(Weekly, start_day=st.integers(1, 7)),
    st.builds(Monthly, reset_day=st.integers(1, 31)),
    st.builds(Quarterly, first_month=st.integers(1, 12)),
    st.builds(Yearly, month=st.integers(1, 12), day=st.integers(1, 31)),
    st.builds(Fixed, length_ms=lengths, anchor_ms=st.integers(0, ms("2199-12-31T00:00Z"))),
)


@st.composite
def one_off(draw: st.DrawFn) -> Once:
    """A one-off period, perhaps open at one end or both."""
    start_ms = draw(st.none() | instants)
    end_ms = draw(st.none() | st.integers(1, 400 * _DAY_MS).map(lambda length: (start_ms or 0) + length))
    return Once(start_ms=start_ms, end_ms=end_ms)


periods: st.SearchStrategy[Period] = st.one_of(recurring, one_off())
