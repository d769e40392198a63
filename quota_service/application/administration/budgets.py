"""Budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.ladders import ladder_faults
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.resources import Resources
from quota_service.application.administration.seeding import Seeding
from quota_service.application.ports import Change
from quota_service.domain import budget_rules
from quota_service.domain.adjustments import without_past
from quota_service.domain.budget import Budget
from quota_service.domain.errors import BudgetNotFound
from quota_service.domain.faults import refuse
from quota_service.domain.schedule import rescheduled


class Budgets(Resources[Budget]):
    """Raises ReferenceUnknown where a budget names what does not exist, TimeZoneUnknown, InvalidRequest.

    `now_ms` is the deciding store's clock: the window that runs by it ends as announced.
    """

    kind = Budget
    singular = "budget"
    field = "budget"
    missing = BudgetNotFound

    def __init__(
        self, changes: Changes, references: ScopeReferences, seeding: Seeding, now_ms: Callable[[], int]
    ) -> None:
        super().__init__(changes)
        self._references = references
        self._seeding = seeding
        self._now_ms = now_ms

    async def prepare(self, organization: str) -> None:
        await self._references.refresh(organization)

    async def admit(self, change: Change, value: Budget) -> Budget:
        """The budget with the organization's time zone where it has none, and with what it has become."""
        budget = value if value.time_zone else replace(value, time_zone=change.organization.value.time_zone)
        faults = budget_rules.faults(budget)
        named = await self._references.faults(change, budget_rules.references(budget))
        stored = await change.get(Budget, budget.id)
        ladder = await ladder_faults(change, budget, stored, self._references)
        refuse((*faults, *named, *ladder), "budget.")
        now_ms = self._now_ms()
        if stored is None:
            return await self._seeding.begin(change, budget, now_ms)
        changed = _changed(stored.value, budget, now_ms)
        if _counts_anew(stored.value, changed):
            return await self._seeding.begin(change, changed, now_ms, keep_changes=True)
        return changed

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return ()


def _counts_anew(before: Budget, after: Budget) -> bool:
    """Whether other requests count than before: the running window then begins with what those have spent."""
    return before.scope != after.scope or (before.disabled and not after.disabled)


def _changed(before: Budget, after: Budget, now_ms: int) -> Budget:
    """A changed budget with what the service itself keeps of it; its running window ends as announced."""
    kept = replace(
        after,
        since_ms=before.since_ms,
        seeded=before.seeded,
        adjustments=without_past(before, now_ms).adjustments,
    )
    return rescheduled(before, kept, now_ms)
