"""Budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.ladders import ladder_faults
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.resources import Resources
from quota_service.application.ports import Change
from quota_service.domain import budget_rules
from quota_service.domain.budget import Budget
from quota_service.domain.errors import BudgetNotFound
from quota_service.domain.faults import refuse


class Budgets(Resources[Budget]):
    """Raises ReferenceUnknown where a budget names what does not exist, TimeZoneUnknown, InvalidRequest."""

    kind = Budget
    singular = "budget"
    field = "budget"
    missing = BudgetNotFound

    def __init__(self, changes: Changes, references: ScopeReferences) -> None:
        super().__init__(changes)
        self._references = references

    async def prepare(self, organization: str) -> None:
        await self._references.refresh(organization)

    async def admit(self, change: Change, value: Budget) -> Budget:
        """The budget with the organization's time zone where it has none."""
        budget = value if value.time_zone else replace(value, time_zone=change.organization.value.time_zone)
        faults = budget_rules.faults(budget)
        named = await self._references.faults(change, budget_rules.references(budget))
        stored = await change.get(Budget, budget.id)
        ladder = await ladder_faults(change, budget, stored, self._references)
        refuse((*faults, *named, *ladder), "budget.")
        return budget

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return ()
