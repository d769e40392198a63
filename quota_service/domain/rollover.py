"""Rollover: what of a window that has ended is added to the limit of the next one.

    carry = min(cap, max(0, limit − net moved in − spent − held))

The limit is the window's own, with its adjustments and with what had been carried into it. What was moved
in from another budget never rolls over; what was moved away is gone for the giver too. The cap is an amount,
or a percentage of what the budget says (its limit or the value's override at that time), so that what piles
up does not raise its own cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.budget import Budget, limits_at
from quota_service.domain.period import Window
from quota_service.domain.schedule import window_of
from quota_service.domain.terms import Counters

SILENT_WINDOWS_MAX = 400
"""Through how many windows without any spend what is left is carried."""


class Remainder(NamedTuple):
    """How to tell what is left of a window: its limits without its own changes, and the most that is carried.
    A meter that is open in either carries nothing.
    """

    limits: Limits
    caps: Limits

    def carry(self, counters: Counters) -> Amounts:
        """What rolls over out of the window as it stands."""
        limits = self.limits.changed_by(counters.change)
        kept = counters.spent.plus(counters.held).plus(counters.moved.at_least(NOTHING))
        return Amounts(
            *(
                0 if limit is None or cap is None else min(cap, max(0, limit - gone))
                for limit, cap, gone in zip(limits, self.caps, kept, strict=True)
            )
        )


class Past(NamedTuple):
    """A window that something is known of: when it began and where it stands."""

    start_ms: int
    counters: Counters


def remainder_of(budget: Budget, each_value: str, window: Window) -> Remainder:
    """How to tell what is left of a window that has an end."""
    assert window.end_ms is not None
    last_ms = window.end_ms - 1
    limits, _ = limits_at(budget, each_value, last_ms)
    return Remainder(limits, _caps(budget, each_value, last_ms))


def _caps(budget: Budget, each_value: str, instant_ms: int) -> Limits:
    carry = budget.rollover
    if carry is None:
        return Limits()
    if carry.max_percent is None:
        return carry.max_amounts or Limits()
    base, _ = limits_at(replace(budget, adjustments=()), each_value, instant_ms)
    return base.scaled(carry.max_percent)


def window_before(budget: Budget, start_ms: int) -> Window | None:
    """The budget's window that ends where another begins. One that ended before the budget was made is none
    of its; nor is one under a rule that has been forgotten, two changes of the period ago.
    """
    remembered_ms = max(budget.since_ms, budget.former.from_ms if budget.former is not None else 0)
    return window_of(budget, start_ms - 1) if start_ms > remembered_ms else None


@lru_cache(maxsize=256)
def windows_before(budget: Budget, start_ms: int) -> tuple[Window, ...]:
    """The budget's windows before the one that begins at an instant, the latest first: as many as can matter
    for what is carried into it.
    """
    found: list[Window] = []
    window = window_before(budget, start_ms)
    while window is not None and len(found) <= SILENT_WINDOWS_MAX:
        found.append(window)
        window = window_before(budget, window.start_ms)
    return tuple(found)


def carried_into(budget: Budget, each_value: str, start_ms: int, latest: Past | None) -> Amounts:
    """What is carried into the window that starts at an instant, through windows without any spend.

    `latest` is the latest of `windows_before` that anything is known of; `None`: of none. Before the earliest
    that counts there was nothing to carry.
    """
    chain = _chain(windows_before(budget, start_ms), latest)
    own, carry = _of_value(budget, each_value), NOTHING
    for window, counters in reversed(chain):
        standing = Counters(added=carry) if counters is None else counters
        carry = remainder_of(own, each_value, window).carry(standing)
    return carry


def _chain(windows: Sequence[Window], latest: Past | None) -> list[tuple[Window, Counters | None]]:
    """The windows through which is carried, the latest first. All are silent but the one that is known."""
    silent: list[tuple[Window, Counters | None]] = []
    for window in windows:
        if latest is not None and window.start_ms == latest.start_ms:
            return [*silent, (window, latest.counters)]
        silent.append((window, None))
    return silent[:SILENT_WINDOWS_MAX]


def _of_value(budget: Budget, each_value: str) -> Budget:
    """The budget as one value's counter sees it: looked at for every window of the chain."""
    return replace(
        budget,
        overrides=tuple(each for each in budget.overrides if each.each_value == each_value),
        adjustments=tuple(each for each in budget.adjustments if each.each_value == each_value),
    )
