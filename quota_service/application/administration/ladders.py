"""Whether a budget's ladder goes with the other budgets and with the model policies."""

from __future__ import annotations

from quota_service.application.administration.references import ScopeReferences
from quota_service.application.ports import Change, Stored
from quota_service.domain import ladder_rules
from quota_service.domain.budget import Budget
from quota_service.domain.faults import Fault
from quota_service.domain.model_policy import ModelPolicy


async def ladder_faults(
    change: Change, budget: Budget, stored: Stored[Budget] | None, references: ScopeReferences
) -> list[Fault]:
    """Diversions in a circle, and to models that no policy allows; `stored` is the budget before the change.

    A policy may forbid a model after a ladder began to divert to it. So what the change leaves as it was is
    not asked again: nobody shall be kept from raising a limit by that.
    """
    if not ladder_rules.diversions(budget) or (stored and _rules(stored.value) == _rules(budget)):
        return []
    others = [other for other in await change.all(Budget) if other.id != budget.id]
    policies = {policy.id: policy for policy in await change.all(ModelPolicy)}
    return [
        *ladder_rules.circle_faults(budget, others),
        *ladder_rules.policy_faults(budget, policies, await references.models(change)),
    ]


def _rules(budget: Budget) -> tuple[object, ...]:
    return budget.scope, budget.ladder, budget.disabled
