"""Budgets that bound a bill: which ones they are, and what each of them comes to when it is full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.budget import Budget, Mode, limits_at
from quota_service.domain.configuration import Configuration
from quota_service.domain.ladder import ceiling_percent
from quota_service.domain.period import Window
from quota_service.domain.schedule import window_of
from quota_service.domain.terms import Counters
from quota_service.domain.traffic import Traffic, equalities, implied, includes, values


class Live(NamedTuple):
    """A budget that requests can fall under now, its window, and what is implied of those requests."""

    budget: Budget
    window: Window
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A budget that bounds the money of its traffic in its current window.

    `values` are those that its counters can have, `None` where callers make them up; `counters_max` bounds
    how many there can be (`None`: as many as values).
    """

    budget: Budget
    window: Window
    traffic: Traffic
    values: tuple[str, ...] | None
    counters_max: int | None


class Ceiling(NamedTuple):
    """What a budget comes to at most, over how many counters, and what of it is spent and held."""

    amount_micros: int
    counters: int
    spent_micros: int
    held_micros: int


def live_budgets(configuration: Configuration, now_ms: int) -> list[Live]:
    """Budgets that requests can fall under now, by id."""
    found = []
    for _, budget in sorted(configuration.budgets.items()):
        window = None if budget.disabled else window_of(budget, now_ms)
        traffic = implied(equalities(budget.scope), configuration.directory)
        if window is not None and traffic is not None:
            found.append(Live(budget, window, traffic))
    return found


def _cap(live: Live, configuration: Configuration) -> Cap | None:
    budget, each = live.budget, live.budget.scope.each
    if budget.mode is not Mode.HARD or budget.limits.cost_micros is None:
        return None
    known: tuple[str, ...] | None = ("",)
    if each is not None:
        known = values(each.dimension, live.traffic, configuration)
        if known is None and not each.max_values:
            return None
    return Cap(
        budget=budget,
        window=live.window,
        traffic=live.traffic,
        values=known,
        counters_max=(each.max_values or None) if each is not None else None,
    )


def is_inside(cap: Cap, other: Cap) -> bool:
    """Whether what the one bounds is counted with the other."""
    return _extent(cap.window) <= _extent(other.window) and includes(other.budget.scope, cap.traffic)


def _extent(window: Window) -> tuple[float, int]:
    """Orders windows by how far they reach: first ahead, then back."""
    return inf if window.end_ms is None else window.end_ms, -window.start_ms


def caps(configuration: Configuration, now_ms: int) -> tuple[Cap, ...]:
    """The outermost budgets that bound money: what has to be read. Several of the same traffic and window are
    alternatives.
    """
    found = [
        cap for live in live_budgets(configuration, now_ms) if (cap := _cap(live, configuration)) is not None
    ]
    return tuple(cap for cap in found if not any(is_inside(cap, o) and not is_inside(o, cap) for o in found))


# --- what a budget comes to ---


def special_values(budget: Budget) -> set[str]:
    """Each values that have a limit of their own."""
    overridden = {override.each_value for override in budget.overrides}
    return overridden | {adjustment.each_value for adjustment in budget.adjustments}


def ceiling(cap: Cap, readings: Mapping[str, Counters], now_ms: int) -> Ceiling:
    """The most that the budget comes to, when every counter that it can have is full.

    Where there may be fewer counters than values, those with the highest ceilings are taken to come first.
    """
    counted = _Counted(cap, readings, now_ms)
    used = [value for value, counters in readings.items() if _used(counters)]
    known = {*special_values(cap.budget), *readings} if cap.values is None else cap.values
    unused = sorted((counted.worst(value) for value in {*known}.difference(used)), reverse=True)
    room = None if cap.counters_max is None else max(0, cap.counters_max - len(used))
    free = unused[:room]
    new = 0
    if cap.values is None and room is not None:
        free = [ceiling for ceiling in free if ceiling > counted.ordinary]
        new = room - len(free)
    return Ceiling(
        amount_micros=sum(map(counted.worst, used)) + sum(free) + new * counted.ordinary,
        counters=len(used) + len(free) + new,
        spent_micros=sum(counters.spent.cost_micros for counters in readings.values()),
        held_micros=sum(counters.held.cost_micros for counters in readings.values()),
    )


class _Counted:
    """The counters of a budget. `ordinary` is the ceiling of a value that nobody has said anything about."""

    def __init__(self, cap: Cap, readings: Mapping[str, Counters], now_ms: int) -> None:
        self._cap = cap
        self._readings = readings
        self._now_ms = now_ms
        self._special = special_values(cap.budget)
        self._percent = ceiling_percent(cap.budget, None)
        self.ordinary = self._scaled(cap.budget.limits, _most_carried(cap.budget))

    def worst(self, value: str) -> int:
        """What the counter of a value comes to at most. What is over its ceiling counts with what it has."""
        counters = self._readings.get(value, Counters())
        highest = max(self._scaled(limits, counters.change) for limits in self._limits(value))
        return max(_used(counters), highest)

    def _limits(self, value: str) -> list[Limits]:
        """The limits that a value has from now to the end of the window, one after the other."""
        budget = self._cap.budget
        if value not in self._special:
            return [budget.limits]
        changes = (self._now_ms, *_ends(budget, value))
        return [limits_at(budget, value, at)[0] for at in changes if self._is_ahead(at)]

    def _is_ahead(self, instant_ms: int) -> bool:
        return self._now_ms <= instant_ms and self._cap.window.holds(instant_ms)

    def _scaled(self, limits: Limits, change: Amounts) -> int:
        return limits.changed_by(change).scaled(self._percent).cost_micros or 0


def _ends(budget: Budget, value: str) -> list[int]:
    """When the override and the adjustments of a value end."""
    overrides = [each.until_ms for each in budget.overrides if each.each_value == value]
    adjustments = [each.until_ms for each in budget.adjustments if each.each_value == value]
    return [until_ms for until_ms in (*overrides, *adjustments) if until_ms is not None]


def _most_carried(budget: Budget) -> Amounts:
    """What a counter that nobody has looked at may bring along from the window before."""
    carry, limit = budget.rollover, budget.limits.cost_micros or 0
    if carry is None:
        return NOTHING
    if carry.max_amounts is not None:
        return Amounts(carry.max_amounts.cost_micros or 0)
    return Amounts(limit * (carry.max_percent or 0) // 100)


def _used(counters: Counters) -> int:
    return counters.spent.cost_micros + counters.held.cost_micros
