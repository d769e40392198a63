"""Where budgets stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quota_service.application.configurations import Configurations
from quota_service.application.opening import Openings
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.terms import ladder_model, term_of
from quota_service.domain.budget import Budget
from quota_service.domain.commands import Inspect, Inspected, OutsideBasis, Stale, Unopened
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import (
    BudgetNotFound,
    FieldProblem,
    InvalidRequest,
    ReferenceUnknown,
    StoreUnavailable,
)
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.schedule import pause_of, window_of
from quota_service.domain.sight import EVERYTHING, Sight
from quota_service.domain.subject import Subject, SubjectFault, SubjectProblem
from quota_service.domain.terms import Basis, Counters, Term

ATTEMPTS = 60
"""How often a decision is begun anew because the configuration or a window has just changed."""


class Status(NamedTuple):
    """One budget's window: its terms and counters."""

    budget: Budget
    term: Term
    counters: Counters


def statuses(
    budgets: Sequence[Budget], terms: Sequence[Term], counters: Sequence[Counters]
) -> tuple[Status, ...]:
    return tuple([Status(*each) for each in zip(budgets, terms, counters, strict=True)])


def statuses_of_hold(
    plans_: Plans, hold: Hold, counters: Sequence[Counters], now_ms: int
) -> tuple[Status, ...]:
    """The windows that a hold counts in, under today's budgets. Budgets deleted since are left out."""
    model = ladder_model(plans_.model(hold.provider, hold.model), (hold.provider, hold.model))
    found = [plans_.term_in(window, model, now_ms) for window in hold.windows]
    return tuple(
        [Status(*known, state) for known, state in zip(found, counters, strict=True) if known is not None]
    )


class Statuses:
    """Reads windows under the current configuration."""

    def __init__(self, configurations: Configurations, holds: HoldStore, openings: Openings) -> None:
        self._configurations = configurations
        self._holds = holds
        self._openings = openings

    async def get(self, organization: str, budget_id: str, each_value: str) -> Sequence[Status]:
        """One budget's window now: none outside a one-off period. Raises BudgetNotFound, InvalidRequest."""
        plans_ = await self._configurations.get(organization)
        for attempt in range(ATTEMPTS):
            try:
                found, basis = _of_budget(plans_.configuration, budget_id, each_value, self._holds.now_ms())
            except (BudgetNotFound, InvalidRequest):
                if attempt:
                    raise
                # The budget may have just been made or changed: no decision has proven the configuration yet.
                await self._configurations.fresh(organization)
                plans_ = await self._configurations.get(organization)
                continue
            read, plans_ = await self.read(plans_, basis, found)
            if read is not None:
                return read
        raise StoreUnavailable("The configuration changes faster than it can be read.")

    async def list(
        self, subject: Subject, provider: str, model: str, sight: Sight = EVERYTHING
    ) -> Sequence[Status]:
        """Every budget in sight that a subject's requests fall under; of all models where none is named."""
        subject, problems = sight.completed(subject)
        _refuse_problems(problems)
        organization = await self._configurations.organization_of(subject)
        plans_ = await self._configurations.get(organization)
        for _ in range(ATTEMPTS):
            plan = plans_.plan(subject, provider, model)
            moment = plan.at(self._holds.now_ms())
            matching = zip(moment.budgets, moment.terms.budgets, strict=True)
            found = [each for each in matching if sight.sees(f"budgets/{each[0].id}")]
            read, plans_ = await self.read(plans_, moment.basis, found)
            if read is not None:
                _refuse_problems(plan.problems)
                return read
        raise StoreUnavailable("The configuration changes faster than it can be read.")

    async def read(
        self, plans_: Plans, basis: Basis, found: Sequence[tuple[Budget, Term]]
    ) -> tuple[Sequence[Status] | None, Plans]:
        """The windows' statuses, or `None` and the plans to try again with."""
        answer = await self._holds.inspect(Inspect(basis=basis, terms=tuple(term for _, term in found)))
        match answer:
            case Inspected():
                budgets, terms = [budget for budget, _ in found], [term for _, term in found]
                return statuses(budgets, terms, answer.counters), plans_
            case Stale():
                return None, await self._configurations.at_least(basis.organization, answer.version)
            case Unopened():
                await self._openings.open(plans_, [term for _, term in found])
                return None, plans_
            case OutsideBasis():
                return None, plans_


def _of_budget(
    configuration: Configuration, budget_id: str, each_value: str, now_ms: int
) -> tuple[list[tuple[Budget, Term]], Basis]:
    budget = configuration.budgets.get(budget_id)
    if budget is None:
        raise BudgetNotFound(
            f"There is no budget “{budget_id}” in organization “{configuration.organization.id}”."
        )
    if each_value and budget.scope.each is None:
        raise InvalidRequest(FieldProblem("each_value", "the budget has one counter, not one for each value"))
    window = window_of(budget, now_ms)
    from_ms, until_ms = window or pause_of(budget, now_ms)
    basis = Basis(
        organization=configuration.organization.id,
        version=configuration.version,
        from_ms=from_ms,
        until_ms=until_ms,
    )
    if window is None:
        return [], basis
    return [(budget, term_of(budget, WindowRef(budget.id, each_value, *window), None, now_ms))], basis


def _refuse_problems(problems: Sequence[SubjectProblem]) -> None:
    """Whoever is stopped may still be asked about."""
    stopped = (SubjectFault.DISABLED, SubjectFault.REVOKED)
    wrong = [problem for problem in problems if problem.fault not in stopped]
    if wrong:
        raise ReferenceUnknown(*(FieldProblem("subject", problem.message) for problem in wrong))
