"""The windows of a budget: its period in its time zone, and how one rule gives way to another.

The running window of a budget ends as announced, whatever becomes of its period or time zone meanwhile; the
next one follows the new rule, and is the shorter for it where the old border lies inside of it. So windows
tile time across a change too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

from quota_service.domain.budget import Budget, FormerPeriod
from quota_service.domain.period import Fixed, Once, Period, Window, window_at


class _Rule(NamedTuple):
    """How windows follow each other, while it is in force."""

    period: Period
    time_zone: str
    force: Window

    def window(self, instant_ms: int) -> Window | None:
        found = window_at(self.period, ZoneInfo(self.time_zone), instant_ms)
        return found.within(self.force) if found is not None else None


def window_of(budget: Budget, instant_ms: int) -> Window | None:
    """The budget's window at an instant; `None` outside a one-off period."""
    return _rule_at(budget, instant_ms).window(instant_ms)


def pause_of(budget: Budget, instant_ms: int) -> Window:
    """The stretch without a window that an instant falls into, for which `window_of` is `None`."""
    rule = _rule_at(budget, instant_ms)
    period = rule.period
    if not isinstance(period, Once):
        raise ValueError("only a one-off period leaves instants without a window")
    if instant_ms < (period.start_ms or 0):
        return Window(0, period.start_ms).within(rule.force)
    return Window(period.end_ms or 0, None).within(rule.force)


def rescheduled(before: Budget, after: Budget, now_ms: int) -> Budget:
    """What a budget becomes when it is changed: `after`, with the rule that is in force until the running
    window ends.

    A further change meanwhile replaces the rule to come; a change back to the rule in force revokes it. Where
    no window runs that has an end, the new rule is in force at once: its first window begins now.
    """
    if _goes_on(before.period, before.time_zone, after, now_ms):
        return replace(after, former=before.former)
    former = before.former
    if former is None or now_ms >= former.until_ms:
        return replace(after, former=_replaced(before, now_ms))
    if _goes_on(former.period, former.time_zone, after, now_ms):
        return replace(after, former=_border(former))
    return replace(after, former=former)


def _rule_at(budget: Budget, instant_ms: int) -> _Rule:
    former = budget.former
    if former is None:
        return _Rule(budget.period, budget.time_zone, Window(0, None))
    if instant_ms >= former.until_ms:
        return _Rule(budget.period, budget.time_zone, Window(former.until_ms, None))
    if instant_ms >= former.from_ms:
        return _Rule(former.period, former.time_zone, Window(former.from_ms, former.until_ms))
    # What was before the former rule is forgotten: that there was a border is not.
    return _Rule(former.period, former.time_zone, Window(0, former.from_ms))


def _goes_on(period: Period, time_zone: str, after: Budget, now_ms: int) -> bool:
    """Whether a changed budget follows the same rule. The zone means nothing to a period of instants.

    A one-off window whose end is moved before it has come is the same window, with what it has counted: a
    second one would have the whole limit again.
    """
    if isinstance(period, Once) and isinstance(after.period, Once):
        is_over = period.end_ms is not None and now_ms >= period.end_ms
        same_start = (period.start_ms or 0) == (after.period.start_ms or 0)
        return period == after.period or (same_start and not is_over)
    return period == after.period and (time_zone == after.time_zone or isinstance(period, Fixed))


def _replaced(budget: Budget, now_ms: int) -> FormerPeriod:
    """The rule of a budget that is to be replaced as soon as its window allows."""
    window = window_of(budget, now_ms)
    until_ms = window.end_ms if window is not None else None
    return FormerPeriod(
        period=budget.period,
        time_zone=budget.time_zone,
        from_ms=budget.former.until_ms if budget.former is not None else 0,
        until_ms=now_ms if until_ms is None else until_ms,
    )


def _border(former: FormerPeriod) -> FormerPeriod | None:
    """What remains of a former rule that is not given up after all: the border at which it began."""
    return replace(former, from_ms=0, until_ms=former.from_ms) if former.from_ms else None
