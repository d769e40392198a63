"""What a configuration means for one kind of request: worked out once per change, not per call.

A plan is for a subject as sent, a provider and a model. Its moment is for a stretch of time in which no
window, override or price changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

from quota_service.application.ports import ModelAliases
from quota_service.domain import scope
from quota_service.domain.budget import Budget, ceiling_percent, limits_at
from quota_service.domain.commands import Basis, Term
from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.period import Once, Window, window_at
from quota_service.domain.pricing import Model, RateCard, rate_card
from quota_service.domain.reservation import WindowRef
from quota_service.domain.scope import Facts
from quota_service.domain.subject import Subject, SubjectFault, SubjectProblem, complete

PLANS_MAX = 20_000
"""Plans kept per configuration, and terms of holds; beyond it all are forgotten and made anew."""

_REASONS = {
    SubjectFault.UNKNOWN: Reason.SUBJECT_UNKNOWN,
    SubjectFault.CONTRADICTORY: Reason.SUBJECT_CONTRADICTORY,
    SubjectFault.DISABLED: Reason.SUBJECT_DISABLED,
}


class Moment(NamedTuple):
    """A plan in a stretch of time. `terms` and `budgets` are in the same order; `card` is `None` where the
    model has no price.
    """

    basis: Basis
    terms: tuple[Term, ...]
    budgets: tuple[Budget, ...]
    card: RateCard | None


class Plan:
    """What a configuration means for one kind of request.

    `registers`: it names somebody whom the directory does not know and the organization wants registered
    first. What `unknown` says against the request then counts only if that fails.
    """

    def __init__(
        self, configuration: Configuration, subject: Subject, model: Model | None, asked: ModelKey
    ) -> None:
        organization = configuration.organization.id
        completed, problems = complete(replace(subject, organization=organization), configuration.directory)
        self.subject = completed
        self.model = model
        self.problems = problems
        self.facts = facts_of(completed, model, asked)
        self.registers = configuration.organization.create_unknown_subjects and _registrable(
            completed, problems
        )
        self.unknown = _subject_violations(problems)
        self.violations = (
            *(() if self.registers else self.unknown),
            *_missing_dimensions(configuration, self.facts),
        )
        self._configuration = configuration
        self._matching = tuple(
            budget
            for _, budget in sorted(configuration.budgets.items())
            if not budget.disabled and scope.matches(budget.scope, self.facts)
        )
        self._moment: Moment | None = None

    def at(self, now_ms: int) -> Moment:
        """The plan's moment that an instant falls into."""
        moment = self._moment
        if moment is None or not _within(moment.basis, now_ms):
            moment = self._moment = self.moment(now_ms)
        return moment

    def moment(self, now_ms: int) -> Moment:
        """As `at`, without remembering it: for instants of the past."""
        bounds = Bounds()
        card = rate_card(self.model, now_ms) if self.model else None
        if card is not None:
            bounds.within(card.from_ms, card.until_ms)
        elif self.model is not None:
            bounds.outside(min((dated.start_ms for dated in self.model.prices), default=None), None, now_ms)
        found = [(budget, term_at(budget, self.facts, now_ms, bounds)) for budget in self._matching]
        live = [(budget, term) for budget, term in found if term is not None]
        return Moment(
            Basis(
                organization=self._configuration.organization.id,
                version=self._configuration.version,
                from_ms=bounds.from_ms,
                until_ms=bounds.until_ms,
            ),
            tuple(term for _, term in live),
            tuple(budget for budget, _ in live),
            card,
        )


class Bounds:
    """The stretch of time in which everything looked at so far stays as it is."""

    def __init__(self) -> None:
        self.from_ms = 0
        self.until_ms: int | None = None

    def within(self, from_ms: int, until_ms: int | None) -> None:
        self.from_ms = max(self.from_ms, from_ms)
        if until_ms is not None:
            self.until_ms = until_ms if self.until_ms is None else min(self.until_ms, until_ms)

    def outside(self, start_ms: int | None, end_ms: int | None, now_ms: int) -> None:
        """`now_ms` is before the start or not before the end of something, and stays so until the border."""
        if start_ms is not None and now_ms < start_ms:
            self.within(0, start_ms)
        elif end_ms is not None and now_ms >= end_ms:
            self.within(end_ms, None)


def term_at(budget: Budget, facts: Facts, now_ms: int, bounds: Bounds | None = None) -> Term | None:
    """The budget's term for a request at an instant; `None` outside a one-off period. Narrows the bounds."""
    bounds = bounds or Bounds()
    window = window_at(budget.period, ZoneInfo(budget.time_zone), now_ms)
    if window is None:
        if isinstance(budget.period, Once):
            bounds.outside(budget.period.start_ms, budget.period.end_ms, now_ms)
        return None
    bounds.within(*window)
    value = scope.each_value(budget.scope, facts)
    return term_of(budget, WindowRef(budget.id, value, *window), facts.tier, now_ms, bounds)


def term_of(
    budget: Budget, window: WindowRef, tier: int | None, now_ms: int, bounds: Bounds | None = None
) -> Term:
    """The budget's term in a given window."""
    limits, until_ms = limits_at(budget, window.each_value, now_ms)
    if bounds is not None:
        bounds.within(0, until_ms)
    each = budget.scope.each
    return Term(
        window=window,
        limits=limits,
        percent=ceiling_percent(budget, tier),
        mode=budget.mode,
        max_values=each.max_values if each is not None else 0,
    )


def window_of(budget: Budget, now_ms: int) -> Window | None:
    """The budget's window at an instant."""
    return window_at(budget.period, ZoneInfo(budget.time_zone), now_ms)


def facts_of(subject: Subject, model: Model | None, asked: ModelKey) -> Facts:
    """What budgets look at. The model counts under the catalogue's name, however the request spelt it."""
    provider, name = asked
    if model is None:
        return Facts(subject=subject, provider=provider, model=name, tier=None)
    return Facts(subject=subject, provider=provider, model=model.model, tier=model.tier)


def _within(basis: Basis, now_ms: int) -> bool:
    return basis.from_ms <= now_ms and (basis.until_ms is None or now_ms < basis.until_ms)


def _subject_violations(problems: Iterable[SubjectProblem]) -> tuple[Violation, ...]:
    return tuple(Violation(_REASONS[problem.fault], problem.message, problem.source) for problem in problems)


def _registrable(subject: Subject, problems: tuple[SubjectProblem, ...]) -> bool:
    """Whether unknown names are all that is wrong. A key must have somebody to belong to."""
    owned = bool(subject.user or subject.team) or not subject.api_key
    return bool(problems) and owned and all(problem.fault is SubjectFault.UNKNOWN for problem in problems)


def _missing_dimensions(configuration: Configuration, facts: Facts) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            Reason.DIMENSION_REQUIRED,
            f"The organization requires a {dimension.name.lower()} with every request.",
        )
        for dimension in configuration.organization.required_dimensions
        if not scope.dimension_value(facts, dimension)
    )


class _Known(NamedTuple):
    """A budget's term in a window, as it stays until an instant (`None`: for good)."""

    budget: Budget
    term: Term
    until_ms: int | None


class Plans:
    """The plans of one configuration."""

    def __init__(self, configuration: Configuration, aliases: ModelAliases) -> None:
        self.configuration = configuration
        self._aliases = aliases
        self._plans: dict[tuple[Subject, str, str], Plan] = {}
        self._terms: dict[tuple[WindowRef, int | None], _Known] = {}
        self._providers = {
            provider for provider, _ in (*configuration.own_models, *configuration.imported_models)
        }

    def plan(self, subject: Subject, provider: str, model: str) -> Plan:
        key = (subject, provider, model)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            found = self._plans[key] = Plan(
                self.configuration,
                subject,
                self.model(provider, model),
                (self._provider(provider, model), model),
            )
        return found

    def term_in(self, window: WindowRef, tier: int | None, now_ms: int) -> tuple[Budget, Term] | None:
        """The budget of a window, and its term there; `None` where it is no longer in the configuration."""
        known = self._terms.get((window, tier))
        if known is None or (known.until_ms is not None and now_ms >= known.until_ms):
            budget = self.configuration.budgets.get(window.budget)
            if budget is None:
                return None
            if len(self._terms) >= PLANS_MAX:
                self._terms.clear()
            bounds = Bounds()
            term = term_of(budget, window, tier, now_ms, bounds)
            known = self._terms[window, tier] = _Known(budget, term, bounds.until_ms)
        return known.budget, known.term

    def _provider(self, provider: str, model: str) -> str:
        """The provider as budgets know it.

        A cloud that resells another's models under their prices is itself; another spelling of a provider is
        that provider, so that no budget is passed by for it.
        """
        if provider in self._providers:
            return provider
        found = self.model(provider, model)
        return found.provider if found is not None else provider

    def model(self, provider: str, model: str) -> Model | None:
        """The catalogue's entry of a model, also under another spelling."""
        found = self.configuration.model(provider, model)
        if found is not None:
            return found
        alias = self._aliases.resolve(provider, model)
        return self.configuration.model(*alias) if alias is not None else None
