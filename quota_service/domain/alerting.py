"""Which steps of a budget's ladder tell somebody, and when.

A step tells once in each window of each counter. Notices tell when what is spent reaches them; steps that
stop a model tell when they first deny or divert a request, which only the decision knows. A budget that is
not HARD stops nobody, so under SOFT every step is a notice; under MONITOR none tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from quota_service.domain import ladder
from quota_service.domain.amounts import Amounts, Limits, Meter
from quota_service.domain.budget import (
    Action,
    Block,
    Budget,
    Downgrade,
    LadderStep,
    Mode,
    Notify,
    Restrict,
)
from quota_service.domain.ladder import Reached, ladder_of
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A step that tells, with the budget's state at that time: all that a delivery needs.

    Amounts are in the meter's unit. `held` is 0 where only the ledger was asked. `subject` is who made the
    request that met the step, empty where it is not known. `repeat` counts the reminders of a SOFT budget
    that stays over its limit; 0 is the first alert.
    """

    organization: str
    window: WindowRef
    step: LadderStep
    meter: Meter
    mode: Mode
    limit: int
    spent: int
    held: int = 0
    repeat: int = 0
    display_name: str = ""
    time_zone: str = "UTC"
    recipients: tuple[str, ...] = ()
    subject: Subject = field(default_factory=Subject)


def reached(budget: Budget, limits: Limits, spent: Amounts) -> tuple[Reached, ...]:
    """The steps that what is spent has reached by itself, in the order of the ladder."""
    return ladder.reached(_notices(budget), limits, spent)


def overage(budget: Budget, limits: Limits, spent: Amounts) -> Reached | None:
    """What a SOFT budget that has reached its limit reminds of: its highest step reached so far; `None` where
    there is nothing to repeat.
    """
    if budget.mode is not Mode.SOFT or ladder.reached_in(100, limits, spent) is None:
        return None
    return max(reached(budget, limits, spent), key=lambda each: each.step.at_percent, default=None)


def quiet_below(budget: Budget, limits: Limits, spent: Amounts) -> Limits:
    """The amounts below which nothing more is reached than what is spent has reached; `None`: nothing more
    ever.
    """
    percents = {step.at_percent for step in _notices(budget)}
    if budget.mode is Mode.SOFT:
        percents.add(100)
    return Limits(*(_next(limit, done, percents) for limit, done in zip(limits, spent, strict=True)))


def _next(limit: int | None, spent: int, percents: Iterable[int]) -> int | None:
    if limit is None:
        return None
    thresholds = (max(1, -(-limit * percent // 100)) for percent in percents)
    return min((threshold for threshold in thresholds if threshold > spent), default=None)


def action_name(action: Action) -> str:
    """The kind of an action in one word."""
    match action:
        case Notify():
            return "notify"
        case Restrict():
            return "restrict"
        case Downgrade():
            return "downgrade"
        case Block():
            return "block"
        case _:
            assert_never(action)


def _notices(budget: Budget) -> tuple[LadderStep, ...]:
    if budget.disabled or budget.mode is Mode.MONITOR:
        return ()
    steps = ladder_of(budget)
    return steps if budget.mode is Mode.SOFT else tuple(s for s in steps if isinstance(s.action, Notify))
