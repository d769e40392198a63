"""A budget made in mid-window counts what had been spent by then.

What counts is what the ledger has when the budget is made: by the entries' own subjects and models, under the
catalogue of that moment. A call that is under way then counts in the budgets that it was authorized under.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quota_service.application.administration.shared_catalogue import SharedCatalogue
from quota_service.application.ledger_ports import Charged, LedgerSpend
from quota_service.application.plans import Plans
from quota_service.application.ports import Change, ModelAliases
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import Configuration
from quota_service.domain.pricing import Model
from quota_service.domain.schedule import window_of
from quota_service.domain.scope import Facts, Scope, dimension_value
from quota_service.domain.subject import Dimension, Subject

_OF_MODELS = (Dimension.PROVIDER, Dimension.MODEL, Dimension.TIER)


@dataclass(frozen=True, slots=True)
class Seeding:
    """What new budgets begin with."""

    shared: SharedCatalogue
    aliases: ModelAliases

    async def begin(
        self, change: Change, budget: Budget, now_ms: int, *, keep_changes: bool = False
    ) -> Budget:
        """The budget as made now. Its running window is given what has been spent, in the same change; what
        its limits had been given or had lost goes, unless it is to be kept.
        """
        made = replace(budget, since_ms=now_ms)
        window = window_of(made, now_ms)
        if window is None or window.start_ms >= now_ms:
            return made
        spends = await change.spend_in(made, window)
        sums = _sums(made.scope, await self._models(change), spends)
        seeded = await change.begin_balances(made.id, window, sums, keep_changes=keep_changes)
        return replace(made, seeded=seeded)

    async def _models(self, change: Change) -> Plans:
        """Knows every model by the name that budgets see."""
        own = {(model.provider, model.model): model for model in await change.all(Model)}
        return Plans(
            Configuration(
                version=change.version,
                organization=change.organization.value,
                own_models=own,
                imported_models=self.shared.models,
            ),
            self.aliases,
        )


def _sums(scope: Scope, models: Plans, spends: Sequence[LedgerSpend]) -> Mapping[str, Charged]:
    """What matches the scope, by value of its `each` dimension."""
    sums: defaultdict[str, Charged] = defaultdict(Charged)
    for spend in spends:
        facts = models.plan(Subject(), spend.provider, spend.model).facts
        if _matches_model(scope, facts):
            value = _each_value(scope, facts, spend)
            sums[value] = sums[value].plus(spend.charged)
    return sums


def _matches_model(scope: Scope, facts: Facts) -> bool:
    return (
        scope.provider in ("", facts.provider)
        and scope.model in ("", facts.model)
        and scope.tier in (None, facts.tier)
    )


def _each_value(scope: Scope, facts: Facts, spend: LedgerSpend) -> str:
    if scope.each is not None and scope.each.dimension in _OF_MODELS:
        return dimension_value(facts, scope.each.dimension)
    return spend.each_value
