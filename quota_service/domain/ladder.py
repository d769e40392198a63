"""Ladders: what happens on the way to a budget's limit, and where a model is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, assert_never

from quota_service.domain.amounts import METERS, Amounts, Limits, Meter
from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode, Notify, Restrict


class LadderModel(NamedTuple):
    """A model as ladders see it: the catalogue's name and tier (`None`: it has none)."""

    provider: str
    model: str
    tier: int | None


_NOTICES = tuple(LadderStep(at_percent=percent, action=Notify()) for percent in (50, 80, 100))
HARD_LADDER = (*_NOTICES, LadderStep(at_percent=100, action=Block()))
SOFT_LADDER = _NOTICES


def ladder_of(budget: Budget) -> tuple[LadderStep, ...]:
    """The budget's ladder, or the one its mode brings."""
    return budget.ladder or (HARD_LADDER if budget.mode is Mode.HARD else SOFT_LADDER)


def stopping_steps(budget: Budget, model: LadderModel | None) -> tuple[LadderStep, ...]:
    """The steps that stop a model, first things first. `None`: a model that no step restricts or diverts.

    A downgrade stops every model but those that it, or a later one, diverts to.
    """
    ladder = ladder_of(budget)
    return tuple(step for number, step in enumerate(ladder) if _stops(step, model, ladder[number:]))


def _stops(step: LadderStep, model: LadderModel | None, from_here: Sequence[LadderStep]) -> bool:
    action = step.action
    match action:
        case Notify():
            return False
        case Restrict():
            return model is not None and (model.tier is None or model.tier > action.max_tier)
        case Downgrade():
            return model is not None and all(
                later.action != Downgrade(provider=model.provider, model=model.model) for later in from_here
            )
        case Block():
            return True
        case _:
            assert_never(action)


def block_percent(budget: Budget, model: LadderModel | None) -> int | None:
    """The percentage of the limit at which the ladder stops a model; `None`: never."""
    return min((step.at_percent for step in stopping_steps(budget, model)), default=None)


def ceiling_percent(budget: Budget, model: LadderModel | None) -> int:
    """The percentage at which the model is stopped, or would be if the budget were hard.

    A soft or monitor budget whose ladder stops nothing is measured at its limit.
    """
    percent = block_percent(budget, model)
    return 100 if percent is None else percent


def targets(budgets: Iterable[Budget]) -> tuple[tuple[str, str], ...]:
    """Provider and model of what the ladders of hard budgets divert to: those of lower steps come first."""
    found = sorted(
        (step.at_percent, budget.id, step.action.provider, step.action.model)
        for budget in budgets
        if budget.mode is Mode.HARD
        for step in budget.ladder
        if isinstance(step.action, Downgrade)
    )
    return tuple(dict.fromkeys((provider, model) for _, _, provider, model in found))


class Reached(NamedTuple):
    """A step that has been reached, and the first meter that did."""

    step: LadderStep
    meter: Meter


def reached(steps: Iterable[LadderStep], limits: Limits, spent: Amounts) -> tuple[Reached, ...]:
    """The steps of a ladder that what is spent has reached, in their order."""
    found: list[Reached] = []
    for step in steps:
        meter = reached_in(step.at_percent, limits, spent)
        if meter is None:
            break  # steps rise: no later one is reached either
        found.append(Reached(step, meter))
    return tuple(found)


def reached_in(at_percent: int, limits: Limits, spent: Amounts) -> Meter | None:
    """The first meter whose spending has reached the percentage. A limit of 0 is reached by the first
    spending, not by none.
    """
    for meter in METERS:
        limit = limits[meter]
        if limit is not None and spent[meter] > 0 and spent[meter] * 100 >= limit * at_percent:
            return meter
    return None
