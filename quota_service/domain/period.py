"""Recurrence rule → the window `[start, end)` that an instant falls into, in a time zone.

Instants are milliseconds since 1970 UTC. Borders of days, weeks, months, quarters and years are local
midnights, so a day may have 23 or 25 hours; a midnight that a DST change skips is the instant of the change,
and of two midnights the first counts. A fixed length and a one-off period know instants only.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, assert_never
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """One concrete `[start_ms, end_ms)`; `end_ms` is `None` where it never ends."""

    start_ms: int
    end_ms: int | None

    def holds(self, instant_ms: int) -> bool:
        return self.start_ms <= instant_ms and (self.end_ms is None or instant_ms < self.end_ms)

    def within(self, other: Window) -> Window:
        """The part of it that lies in another window, of which there must be one."""
        ends = [end_ms for end_ms in (self.end_ms, other.end_ms) if end_ms is not None]
        return Window(max(self.start_ms, other.start_ms), min(ends, default=None))


@dataclass(frozen=True, slots=True)
class Daily:
    """A window a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """A window a week; `start_day` is 1 (Monday) to 7 (Sunday)."""

    start_day: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Monthly:
    """A window a month; a `reset_day` of 29–31 is the last day of a shorter month."""

    reset_day: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarterly:
    """A window of three months from the first of one; `first_month` (1–12) begins a (fiscal) year."""

    first_month: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Yearly:
    """A window a year; a `day` that the `month` does not have is its last day."""

    month: int = 1
    day: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Windows of one length, whatever the calendar says; one of them begins at the anchor."""

    length_ms: int
    anchor_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """A single window; without a start it has always run, without an end it never ends."""

    start_ms: int | None = None
    end_ms: int | None = None


CalendarPeriod = Daily | Weekly | Monthly | Quarterly | Yearly
Period = CalendarPeriod | Fixed | Once


def window_at(period: Period, zone: ZoneInfo, instant_ms: int) -> Window | None:
    """The window that the instant falls into; `None` outside a one-off period."""
    match period:
        case Once():
            window = Window(period.start_ms or 0, period.end_ms)
            return window if window.holds(instant_ms) else None
        case Fixed(length_ms=length_ms, anchor_ms=anchor_ms):
            start_ms = instant_ms - (instant_ms - anchor_ms) % length_ms
            return Window(start_ms, start_ms + length_ms)
        case _:
            return _calendar_window(period, zone, instant_ms)


def _calendar_window(period: CalendarPeriod, zone: ZoneInfo, instant_ms: int) -> Window:
    day = (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(zone).date()
    start, end = _days(period, day)
    window = _between(start, end, zone)
    # Where a midnight is ambiguous or skipped, the local date may belong to the neighbour.
    if instant_ms < window.start_ms:
        window = _between(*_days(period, start - timedelta(days=1)), zone)
    elif window.end_ms is not None and instant_ms >= window.end_ms:
        window = _between(*_days(period, end), zone)
    return window


def _between(start: date, end: date, zone: ZoneInfo) -> Window:
    return Window(_midnight_ms(start, zone), _midnight_ms(end, zone))


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def _days(period: CalendarPeriod, day: date) -> tuple[date, date]:
    """The first day of the window that a local day falls into, and the first of the next."""
    match period:
        case Daily():
            return day, day + timedelta(days=1)
        case Weekly(start_day=start_day):
            start = day - timedelta(days=(day.isoweekday() - start_day) % 7)
            return start, start + timedelta(days=7)
        case Monthly(reset_day=reset_day):
            return _month_days(day, months=1, first_month=1, reset_day=reset_day)
        case Quarterly(first_month=first_month):
            return _month_days(day, months=3, first_month=first_month, reset_day=1)
        case Yearly(month=month, day=reset_day):
            return _month_days(day, months=12, first_month=month, reset_day=reset_day)
        case _:
            assert_never(period)


def _month_days(day: date, *, months: int, first_month: int, reset_day: int) -> tuple[date, date]:
    """As `_days`, for windows of so many months from a month's reset day."""
    index = day.year * 12 + day.month - 1
    first = index - (index - (first_month - 1)) % months
    if day < _reset_in(first, reset_day):
        first -= months
    return _reset_in(first, reset_day), _reset_in(first + months, reset_day)


def _reset_in(month_index: int, reset_day: int) -> date:
    """The reset day of a month, counted from the year 0, or its last day where it has no such day."""
    year, month = month_index // 12, month_index % 12 + 1
    return date(year, month, min(reset_day, calendar.monthrange(year, month)[1]))
