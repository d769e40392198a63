"""Whether what a resource names exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from quota_service.application.administration.shared_catalogue import SharedCatalogue
from quota_service.application.ports import Change
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import ModelKey
from quota_service.domain.errors import ReferenceUnknown
from quota_service.domain.faults import Fault, did_you_mean
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.scope import Scope
from quota_service.domain.scope_rules import Reference
from quota_service.domain.subject import Dimension, Project, Team, User

M = TypeVar("M", Team, User, ApiKey, Project)

_PROVIDER = "provider in the catalogue"
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


async def scope_referrers(change: Change, names: Callable[[Scope], bool]) -> list[str]:
    """The budgets and rate limits of whose scope something is true, such as `budgets/sales`."""
    budgets = [f"budgets/{budget.id}" for budget in await change.all(Budget) if names(budget.scope)]
    limits = [f"rateLimits/{limit.id}" for limit in await change.all(RateLimit) if names(limit.scope)]
    return [*budgets, *limits]


@dataclass(frozen=True, slots=True)
class ScopeReferences:
    """Checks what budgets, rate limits and model policies name."""

    shared: SharedCatalogue

    async def refresh(self, organization: str) -> None:
        """Learns the imported models as of now. Raises OrganizationNotFound, StoreUnavailable."""
        await self.shared.refresh(organization)

    async def faults(self, change: Change, named: Iterable[Reference]) -> list[Fault]:
        """Everything that a resource names and that does not exist; paths are relative to the resource."""
        found: list[Fault] = []
        for reference in named:
            found += await self._faults_of(change, reference)
        return found

    async def models(self, change: Change) -> Mapping[ModelKey, Model]:
        """The organization's catalogue: its own entries before the imported ones."""
        return {
            **self.shared.models,
            **{(model.provider, model.model): model for model in await change.all(Model)},
        }

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
                return _choice(reference, _PROVIDER, {key[0] for key in await self.models(change)})
            case Dimension.MODEL:
                return self._model_faults(reference, await self.models(change))
            case _:
                raise ValueError(f"nothing refers to a {reference.dimension.name}")

    def _model_faults(self, reference: Reference, models: Iterable[ModelKey]) -> list[Fault]:
        """What is compared is the catalogue's own name of a model: an alias would never match."""
        names = {model for provider, model in models if reference.provider in ("", provider)}
        known_as = self.shared.known_as(reference.provider, reference.value) if reference.provider else None
        if reference.value not in names and known_as is not None:
            alias = f"“{reference.value}” is an alias; the catalogue calls it “{'/'.join(known_as)}”"
            return [Fault(reference.field, alias, ReferenceUnknown)]
        if reference.provider and not names:
            provider = reference._replace(value=reference.provider)
            return _choice(provider, _PROVIDER, {key[0] for key in models})
        of = f"model of provider “{reference.provider}”" if reference.provider else "model"
        return _choice(reference, f"{of} in the catalogue", names)


def _choice(reference: Reference, what: str, choices: set[str]) -> list[Fault]:
    if reference.value in choices:
        return []
    return [_unknown(reference.field, what, reference.value, sorted(choices))]


def _unknown(field: str, what: str, name: str, choices: Iterable[str]) -> Fault:
    return Fault(field, f"there is no {what} “{name}”{did_you_mean(name, choices)}", ReferenceUnknown)
