"""What a configuration means for one kind of request: worked out once per change, not per call.

A plan is for a subject as sent, a provider and a model. Its moment is for a stretch of time in which no
window, override or price changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from quota_service.application import messages, objections
from quota_service.application.caching import Cache, Room
from quota_service.application.ports import ModelAliases
from quota_service.application.terms import Bounds, facts_of, ladder_model, term_at, term_of
from quota_service.domain import ladder, ratelimit, scope
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.ladder import LadderModel
from quota_service.domain.matching import Matching
from quota_service.domain.period import Window
from quota_service.domain.pricing import Model, RateCard, rate_card
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.reservation import WindowRef
from quota_service.domain.schedule import pause_of, window_of
from quota_service.domain.scope import Facts
from quota_service.domain.subject import Subject, complete
from quota_service.domain.terms import Basis, Term, Terms

PLANS_BYTES_MAX = 32 * 1024 * 1024
"""What the plans of all organizations take, and the terms that they share: some 6,000 plans of eight budgets.
"""

_PLAN_BYTES, _BYTES_PER_TERM, _TERM_BYTES = 2_500, 400, 700
"""What a plan takes, what each of its terms adds (most of it is how the store encodes it), and what a term
takes that plans share. As measured, rounded up.
"""


class Moment(NamedTuple):
    """A plan in a stretch of time. `terms.budgets` and `budgets` are in the same order; `card` is `None`
    where the model has no price. `others` are the plans, in the same stretch, of the models that may be
    granted in place of the asked one. `violations`: the plan's reasons to refuse that time brings.
    """

    basis: Basis
    terms: Terms
    budgets: tuple[Budget, ...]
    card: RateCard | None
    others: tuple[tuple[Plan, Moment], ...] = ()
    violations: tuple[Violation, ...] = ()


class Plan:
    """What a configuration means for one kind of request.

    `registers`: it names somebody whom the directory does not know and the organization wants registered
    first. What `unknown` says against the request then counts only if that fails.
    """

    def __init__(self, plans: Plans, subject: Subject, model: Model | None, asked: ModelKey) -> None:
        configuration = plans.configuration
        organization = configuration.organization.id
        completed, problems = complete(replace(subject, organization=organization), configuration.directory)
        self.subject = completed
        self.model = model
        self.problems = problems
        self.facts = facts_of(completed, model, asked)
        self.ladder_model = ladder_model(model, asked)
        self.registers = configuration.organization.create_unknown_subjects and objections.registrable(
            completed, problems
        )
        self.unknown = objections.subject_violations(problems)
        self.violations = (
            *(() if self.registers else self.unknown),
            *objections.missing_dimensions(configuration, self.facts),
            *objections.model_not_allowed(configuration, completed, model),
        )
        self._plans = plans
        self._sent = subject
        self._key = configuration.directory.api_keys.get(completed.api_key)
        self._matching = plans.budgets.of(self.facts)
        self.rates = tuple(
            ratelimit.term_of(limit, scope.each_value(limit.scope, self.facts))
            for limit in plans.rate_limits.of(self.facts)
        )
        self._moment: Moment | None = None

    @property
    def bytes(self) -> int:
        """About how much memory it takes, once it has a moment."""
        terms = len(self._matching) + len(self.rates)
        ways = 1 + len(ladder.targets(self._matching))
        tags = sum(len(tag) + len(value) for tag, value in self._sent.tags)
        return ways * (_PLAN_BYTES + terms * _BYTES_PER_TERM) + tags

    def at(self, now_ms: int) -> Moment:
        """The plan's moment that an instant falls into."""
        moment = self._moment
        if moment is None or not _within(moment.basis, now_ms):
            moment = self._moment = self._made(now_ms, self._plans.term_at)
        return moment

    def moment(self, instant_ms: int) -> Moment:
        """As `at`, without remembering anything: for instants of the past."""
        return self._made(instant_ms, term_at)

    def _made(self, now_ms: int, term_at: TermAt) -> Moment:
        bounds = Bounds()
        own = self._own(now_ms, bounds, term_at)
        others = [(plan, plan._own(now_ms, bounds, term_at)) for plan in self._diversions(own.budgets)]
        configuration = self._plans.configuration
        basis = Basis(
            organization=configuration.organization.id,
            version=configuration.version,
            from_ms=bounds.from_ms,
            until_ms=bounds.until_ms,
        )
        usable = tuple(each for each in others if each[0].is_usable(each[1]))
        return own._replace(basis=basis, others=usable)

    def is_usable(self, moment: Moment) -> bool:
        """Whether the model may be granted in place of another: allowed, priced by the catalogue, and in some
        budget where the organization wants that.
        """
        if self.violations or self.model is None or moment.card is None:
            return False
        priced = bool(self.model.prices)
        return priced and (bool(moment.budgets) or self._plans.configuration.organization.allow_unbudgeted)

    def _own(self, now_ms: int, bounds: Bounds, term_at: TermAt) -> Moment:
        """The moment of this model alone. Its basis is not known before those of the others are."""
        card = rate_card(self.model, now_ms) if self.model else None
        if card is not None:
            bounds.within(card.from_ms, card.until_ms)
        elif self.model is not None:
            bounds.before(min((dated.start_ms for dated in self.model.prices), default=None), now_ms)
        found = [
            (budget, term_at(budget, self.facts, self.ladder_model, now_ms, bounds))
            for budget in self._matching
        ]
        live = [(budget, term) for budget, term in found if term is not None]
        terms = Terms(budgets=tuple(term for _, term in live), rates=self.rates)
        budgets = tuple(budget for budget, _ in live)
        return Moment(_NO_BASIS, terms, budgets, card, violations=self._key_over(now_ms, bounds))

    def _key_over(self, now_ms: int, bounds: Bounds) -> tuple[Violation, ...]:
        """Why the key refuses the request, where its time is over."""
        key = self._key
        if key is None or key.end_ms is None:
            return ()
        if not key.has_ended(now_ms):
            bounds.within(0, key.end_ms)
            return ()
        bounds.within(key.end_ms, None)
        return (Violation(Reason.API_KEY_REVOKED, messages.key_over(key), f"apiKeys/{key.id}"),)

    def _diversions(self, budgets: Iterable[Budget]) -> list[Plan]:
        """The plans of the models that the ladders divert to."""
        asked = (self.ladder_model.provider, self.ladder_model.model)
        return [
            self._plans.plan(self._sent, *target) for target in ladder.targets(budgets) if target != asked
        ]


TermAt = Callable[[Budget, Facts, LadderModel, int, Bounds], Term | None]
"""`terms.term_at`, or what remembers its results."""

_NO_BASIS = Basis(organization="", version=0)


def _within(basis: Basis, now_ms: int) -> bool:
    return basis.from_ms <= now_ms and (basis.until_ms is None or now_ms < basis.until_ms)


class _Known(NamedTuple):
    """A budget's term in a window, as it stays until an instant (`None`: for good)."""

    term: Term
    until_ms: int | None


class Plans:
    """The plans of one configuration. Without a `room` of others they have one of their own. `former`: those
    of the configuration before.
    """

    def __init__(
        self,
        configuration: Configuration,
        aliases: ModelAliases,
        room: Room | None = None,
        former: Plans | None = None,
    ) -> None:
        room = room or Room(PLANS_BYTES_MAX)
        budgets, limits = configuration.budgets, configuration.rate_limits
        self.budgets: Matching[Budget] = former.budgets.after(budgets) if former else Matching(budgets)
        self.rate_limits: Matching[RateLimit] = (
            former.rate_limits.after(limits) if former else Matching(limits)
        )
        self.configuration = configuration
        self._aliases = aliases
        self._plans: Cache[tuple[Subject, str, str], Plan] = room.cache(lambda plan: plan.bytes)
        self._terms: Cache[tuple[WindowRef, LadderModel], _Known] = room.cache(lambda _: _TERM_BYTES)
        self._windows: dict[str, Window] = {}  # of each budget the one that runs
        self._providers = {
            provider for provider, _ in (*configuration.own_models, *configuration.imported_models)
        }

    @property
    def organization(self) -> str:
        return self.configuration.organization.id

    def plan(self, subject: Subject, provider: str, model: str) -> Plan:
        key = (subject, provider, model)
        found = self._plans.get(key)
        if found is None:
            found = Plan(self, subject, self.model(provider, model), (self._provider(provider, model), model))
            self._plans.put(key, found)
        return found

    def term_at(
        self, budget: Budget, facts: Facts, model: LadderModel, now_ms: int, bounds: Bounds
    ) -> Term | None:
        """As `terms.term_at`, for now: windows and terms are worked out once for all plans."""
        window = self._windows.get(budget.id)
        if window is None or not window.holds(now_ms):
            window = window_of(budget, now_ms)
            if window is None:
                bounds.within(*pause_of(budget, now_ms))
                return None
            self._windows[budget.id] = window
        bounds.within(*window)
        value = scope.each_value(budget.scope, facts)
        known = self._known(budget, WindowRef(budget.id, value, *window), model, now_ms)
        bounds.within(0, known.until_ms)
        return known.term

    def term_in(self, window: WindowRef, model: LadderModel, now_ms: int) -> tuple[Budget, Term] | None:
        """The budget of a window, and its term there; `None` where it is no longer in the configuration."""
        budget = self.configuration.budgets.get(window.budget)
        return (budget, self._known(budget, window, model, now_ms).term) if budget is not None else None

    def _known(self, budget: Budget, window: WindowRef, model: LadderModel, now_ms: int) -> _Known:
        known = self._terms.get((window, model))
        if known is None or (known.until_ms is not None and now_ms >= known.until_ms):
            bounds = Bounds()
            term = term_of(budget, window, model, now_ms, bounds)
            known = _Known(term, bounds.until_ms)
            self._terms.put((window, model), known)
        return known

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
