"""Budgets: limits, modes, ladders, and the ceiling that a ladder puts on a model."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.period import Daily, Period
from quota_service.domain.scope import Scope


class Mode(IntEnum):
    """What a budget does when it is used up."""

    MONITOR = 1
    SOFT = 2
    HARD = 3


@dataclass(frozen=True, slots=True)
class Notify:
    """Tells the recipients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrict:
    """Lets only models of this tier or below pass."""

    max_tier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Downgrade:
    """Diverts to another model."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Block:
    """Lets nothing pass."""


Action = Notify | Restrict | Downgrade | Block


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStep:
    """What happens at a percentage of the limit."""

    at_percent: int
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class EachOverride:
    """Another limit for one value of the `each` dimension; meters it leaves open keep the budget's.
    `until_ms` `None`: for good.
    """

    each_value: str
    limits: Limits
    until_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """What of a window rolls over into the next: at most a percentage of its limit, or at most an amount in
    each meter (one that is `None` carries nothing). Just one of both is set.
    """

    max_percent: int | None = None
    max_amounts: Limits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A change, by signed amounts, of one counter's limit in every window until an instant."""

    each_value: str
    amounts: Amounts
    until_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerPeriod:
    """The rule that a budget had before, in force from `from_ms` until `until_ms`: until the window ended
    that was running at the change or, where none ran that had an end, until the change.
    """

    period: Period
    time_zone: str
    until_ms: int
    from_ms: int = 0


class Seed(NamedTuple):
    """One counter of a budget made in mid-window: what it must be given to count what had been spent
    by then; less where an earlier budget of the same id had counted some of it, negative where it had more.
    """

    each_value: str
    spent: Amounts
    overrun: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Amounts per meter for a scope and a period.

    `since_ms` is when it was made: a window that began before counts what had been spent by then, of the
    values in `seeded`, which are sorted; the others had spent nothing.
    `rollover` `None`: what is left of a window expires.
    """

    id: str
    display_name: str = ""
    scope: Scope = field(default_factory=Scope)
    period: Period = field(default_factory=Daily)
    time_zone: str = "UTC"
    limits: Limits = field(default_factory=Limits)
    overrides: tuple[EachOverride, ...] = ()
    mode: Mode = Mode.HARD
    ladder: tuple[LadderStep, ...] = ()
    rollover: Carry | None = None
    alert_cooldown_ms: int = 0
    recipients: tuple[str, ...] = ()
    disabled: bool = False
    since_ms: int = 0
    seeded: tuple[Seed, ...] = ()
    former: FormerPeriod | None = None
    adjustments: tuple[Adjustment, ...] = ()


def seed_of(budget: Budget, each_value: str) -> Seed | None:
    """The seed of one value's counter."""
    place = bisect_left(budget.seeded, each_value, key=lambda seed: seed.each_value)
    found = budget.seeded[place : place + 1]
    return found[0] if found and found[0].each_value == each_value else None


def limits_at(budget: Budget, each_value: str, instant_ms: int) -> tuple[Limits, int | None]:
    """The limits of a value's counter at an instant, its override and adjustments included, and the instant
    until which they stay so (`None`: for good).
    """
    live = [
        override
        for override in budget.overrides
        if override.each_value == each_value and (override.until_ms is None or instant_ms < override.until_ms)
    ]
    limits = budget.limits
    for override in live:
        limits = limits.overridden_by(override.limits)
    adjusted = [
        adjustment
        for adjustment in budget.adjustments
        if adjustment.each_value == each_value and instant_ms < adjustment.until_ms
    ]
    # Together, not one after the other: what a cut takes below nothing must not be lost to the next one.
    change = NOTHING
    for adjustment in adjusted:
        change = change.plus(adjustment.amounts)
    limits = limits.changed_by(change)
    ends = (*(o.until_ms for o in live if o.until_ms is not None), *(a.until_ms for a in adjusted))
    return limits, min(ends, default=None)
