"""Whether what a resource names exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from quota_service.application.administration.shared_catalogue import SharedCatalogue
from quota_service.application.ports import Change
from quota_service.domain.budget import Budget
from quota_service.domain.budget_rules import Reference, references
from quota_service.domain.configuration import ModelKey
from quota_service.domain.errors import ReferenceUnknown
from quota_service.domain.faults import Fault, did_you_mean
from quota_service.domain.pricing import Model
from quota_service.domain.subject import ApiKey, Dimension, Project, Team, User

M = TypeVar("M", Team, User, ApiKey, Project)

_SINGULAR: Mapping[type, str] = {Team: "team", User: "user", ApiKey: "API key", Project: "project"}


async def existence_faults(change: Change, kind: type[M], named: Iterable[tuple[str, str]]) -> list[Fault]:
    """Which of the pairs (field, id) name nothing. Empty ids are passed over."""
    faults = []
    for field, id_ in named:
        # Looked up one by one: all of a kind are read only to help somebody who mistyped.
        if id_ and await change.get(kind, id_) is None:
            ids = [entry.id for entry in await change.all(kind)]
            faults.append(_unknown(field, _SINGULAR[kind], id_, ids))
    return faults


@dataclass(frozen=True, slots=True)
class ScopeReferences:
    """Checks what budgets name."""

    shared: SharedCatalogue

    async def refresh(self, organization: str) -> None:
        """Learns the imported models as of now. Raises OrganizationNotFound, StoreUnavailable."""
        await self.shared.refresh(organization)

    async def faults(self, change: Change, budget: Budget) -> list[Fault]:
        """Everything that the budget names and that does not exist; paths are relative to the budget."""
        found: list[Fault] = []
        for reference in references(budget):
            found += await self._faults_of(change, reference)
        return found

    async def _faults_of(self, change: Change, reference: Reference) -> list[Fault]:
        named = [(reference.field, reference.value)]
        match reference.dimension:
            case Dimension.TEAM:
                return await existence_faults(change, Team, named)
            case Dimension.USER:
                return await existence_faults(change, User, named)
            case Dimension.API_KEY:
                return await existence_faults(change, ApiKey, named)
            case Dimension.PROJECT:
                return await existence_faults(change, Project, named)
            case Dimension.COST_CENTER:
                return _choice(
                    reference, "cost center of a team", {team.cost_center for team in await change.all(Team)}
                )
            case Dimension.PROVIDER:
                return _choice(
                    reference, "provider in the catalogue", {key[0] for key in await self._models(change)}
                )
            case Dimension.MODEL:
                return self._model_faults(reference, await self._models(change))
            case _:
                raise ValueError(f"budgets do not refer to a {reference.dimension.name}")

    async def _models(self, change: Change) -> set[ModelKey]:
        return {*self.shared.models, *((model.provider, model.model) for model in await change.all(Model))}

    def _model_faults(self, reference: Reference, models: set[ModelKey]) -> list[Fault]:
        """A budget compares the catalogue's own name of a model: an alias would never match."""
        names = {model for provider, model in models if reference.provider in ("", provider)}
        known_as = self.shared.known_as(reference.provider, reference.value) if reference.provider else None
        if reference.value not in names and known_as is not None:
            alias = f"“{reference.value}” is an alias; the catalogue calls it “{'/'.join(known_as)}”"
            return [Fault(reference.field, alias, ReferenceUnknown)]
        of = f"model of provider “{reference.provider}”" if reference.provider else "model"
        return _choice(reference, f"{of} in the catalogue", names)


def _choice(reference: Reference, what: str, choices: set[str]) -> list[Fault]:
    if reference.value in choices:
        return []
    return [_unknown(reference.field, what, reference.value, sorted(choices))]


def _unknown(field: str, what: str, name: str, choices: Iterable[str]) -> Fault:
    return Fault(field, f"there is no {what} “{name}”{did_you_mean(name, choices)}", ReferenceUnknown)
