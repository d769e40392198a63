"""Recurrence rule → the window `[start, end)` that an instant falls into, in a time zone.

Instants are milliseconds since 1970 UTC. Borders are local midnights, so a day may have 23 or 25 hours; a
midnight that a DST change skips is the instant of the change.
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
class Once:
    """A single window; without a start it has always run, without an end it never ends."""

    start_ms: int | None = None
    end_ms: int | None = None


Period = Daily | Weekly | Monthly | Once


def window_at(period: Period, zone: ZoneInfo, instant_ms: int) -> Window | None:
    """The window that the instant falls into; `None` outside a one-off period."""
    if isinstance(period, Once):
        window = Window(period.start_ms or 0, period.end_ms)
        return window if window.holds(instant_ms) else None
    day = (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(zone).date()
    start = _first_day(period, day)
    window = _between(period, zone, start)
    # Where a midnight is ambiguous or skipped, the local date may belong to the neighbour.
    if instant_ms < window.start_ms:
        window = _between(period, zone, _first_day(period, start - timedelta(days=1)))
    elif window.end_ms is not None and instant_ms >= window.end_ms:
        window = _between(period, zone, _next_first_day(period, start))
    return window


def _between(period: Daily | Weekly | Monthly, zone: ZoneInfo, start: date) -> Window:
    return Window(_midnight_ms(start, zone), _midnight_ms(_next_first_day(period, start), zone))


def _first_day(period: Daily | Weekly | Monthly, day: date) -> date:
    """The first day of the window that a local day falls into."""
    match period:
        case Daily():
            return day
        case Weekly():
            return day - timedelta(days=(day.isoweekday() - period.start_day) % 7)
        case Monthly():
            reset = _reset_in_month(day.year, day.month, period.reset_day)
            if day >= reset:
                return reset
            year, month = _month_after(day.year, day.month, -1)
            return _reset_in_month(year, month, period.reset_day)
        case _:
            assert_never(period)


def _next_first_day(period: Daily | Weekly | Monthly, start: date) -> date:
    match period:
        case Daily():
            return start + timedelta(days=1)
        case Weekly():
            return start + timedelta(days=7)
        case Monthly():
            return _reset_in_month(*_month_after(start.year, start.month, 1), period.reset_day)
        case _:
            assert_never(period)


def _reset_in_month(year: int, month: int, reset_day: int) -> date:
    return date(year, month, min(reset_day, calendar.monthrange(year, month)[1]))


def _month_after(year: int, month: int, months: int) -> tuple[int, int]:
    index = year * 12 + month - 1 + months
    return index // 12, index % 12 + 1


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
