"""Model policies."""

from __future__ import annotations

from collections.abc import Sequence

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.resources import Resources
from quota_service.application.ports import Change
from quota_service.domain import model_policy_rules
from quota_service.domain.errors import AlreadyExists
from quota_service.domain.faults import refuse
from quota_service.domain.model_policy import ModelPolicy


class ModelPolicies(Resources[ModelPolicy]):
    """Raises ReferenceUnknown where a policy names what does not exist, AlreadyExists where its team has
    another one, InvalidRequest.

    A policy may forbid what a budget's ladder diverts to: the ladder then goes on with what is allowed.
    """

    kind = ModelPolicy
    singular = "model policy"
    field = "model_policy"

    def __init__(self, changes: Changes, references: ScopeReferences) -> None:
        super().__init__(changes)
        self._references = references

    async def prepare(self, organization: str) -> None:
        await self._references.refresh(organization)

    async def admit(self, change: Change, value: ModelPolicy) -> ModelPolicy:
        named = await self._references.faults(change, model_policy_rules.references(value))
        refuse((*model_policy_rules.faults(value), *named), "model_policy.")
        rival = model_policy_rules.rival(value, await change.all(ModelPolicy))
        if rival is not None:
            raise AlreadyExists(
                f"{model_policy_rules.owner(value)} has a model policy already: “{rival.id}”. "
                "Change that one, or delete it first."
            )
        return value

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return ()
