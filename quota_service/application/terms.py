"""What a budget means for a request at an instant, and for how long it stays so."""

from __future__ import annotations

from quota_service.domain import scope
from quota_service.domain.budget import Budget, limits_at, seed_of
from quota_service.domain.configuration import ModelKey
from quota_service.domain.ladder import LadderModel, ceiling_percent
from quota_service.domain.pricing import Model
from quota_service.domain.reservation import Keeping, WindowRef
from quota_service.domain.schedule import pause_of, window_of
from quota_service.domain.scope import Facts
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Term


class Bounds:
    """The stretch of time in which everything looked at so far stays as it is."""

    def __init__(self) -> None:
        self.from_ms = 0
        self.until_ms: int | None = None

    def within(self, from_ms: int, until_ms: int | None) -> None:
        self.from_ms = max(self.from_ms, from_ms)
        if until_ms is not None:
            self.until_ms = until_ms if self.until_ms is None else min(self.until_ms, until_ms)

    def before(self, start_ms: int | None, now_ms: int) -> None:
        """Something begins at the start; before that, all stays as it is without it."""
        if start_ms is not None and now_ms < start_ms:
            self.within(0, start_ms)


def term_at(
    budget: Budget, facts: Facts, model: LadderModel | None, now_ms: int, bounds: Bounds
) -> Term | None:
    """The budget's term for a request at an instant; `None` outside a one-off period. Narrows the bounds."""
    window = window_of(budget, now_ms)
    bounds.within(*(window or pause_of(budget, now_ms)))
    if window is None:
        return None
    value = scope.each_value(budget.scope, facts)
    return term_of(budget, WindowRef(budget.id, value, *window), model, now_ms, bounds)


def term_of(
    budget: Budget, window: WindowRef, model: LadderModel | None, now_ms: int, bounds: Bounds | None = None
) -> Term:
    """The budget's term in a given window. `model` `None`: for a model that no step restricts."""
    limits, until_ms = limits_at(budget, window.each_value, now_ms)
    if bounds is not None:
        bounds.within(0, until_ms)
    return Term(window, limits, ceiling_percent(budget, model), budget.mode, *keeping_of(budget, window))


def keeping_of(budget: Budget, window: WindowRef) -> Keeping:
    """How the budget's window is kept."""
    each = budget.scope.each
    max_values = each.max_values if each is not None else 0
    return Keeping(max_values, _opening(budget, window), _keep_ms(budget, window))


def _opening(budget: Budget, window: WindowRef) -> int:
    """Under what number a window must be opened: that of the budget's making, so that one made anew under an
    old id does not go on with the old one's counters.
    """
    seeded = window.start_ms < budget.since_ms and seed_of(budget, window.each_value) is not None
    begins_with_something = budget.rollover is not None or seeded
    return max(1, budget.since_ms) if begins_with_something else 0


def _keep_ms(budget: Budget, window: WindowRef) -> int:
    """What rolls over is looked up at the first request of the next window, which may come at its end."""
    if budget.rollover is None or window.end_ms is None:
        return 0
    following = window_of(budget, window.end_ms)
    if following is None or following.end_ms is None:
        return 0
    return following.end_ms - following.start_ms


def ladder_model(model: Model | None, asked: ModelKey) -> LadderModel:
    """A model as ladders see it; one that the catalogue does not have goes by the name that was asked for."""
    return LadderModel(model.provider, model.model, model.tier) if model else LadderModel(*asked, None)


def facts_of(subject: Subject, model: Model | None, asked: ModelKey) -> Facts:
    """What budgets look at. The model counts under the catalogue's name, however the request spelt it."""
    provider, name = asked
    if model is None:
        return Facts(subject=subject, provider=provider, model=name, tier=None)
    return Facts(subject=subject, provider=provider, model=model.model, tier=model.tier)
