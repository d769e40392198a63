"""API keys: their secrets are made here, and seen by nobody but whom they are made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.content import resource_hash
from quota_service.application.administration.references import existence_faults, scope_referrers
from quota_service.application.administration.resources import Resources
from quota_service.application.peppers import Peppers
from quota_service.application.ports import Change, Stored
from quota_service.domain.api_key import ApiKey, rotated
from quota_service.domain.errors import ApiKeyRevoked, FieldProblem, InvalidRequest
from quota_service.domain.faults import refuse
from quota_service.domain.subject import Team, User


class Issued(NamedTuple):
    """A key and its new secret; "" where it was made by an earlier call."""

    key: Stored[ApiKey]
    secret: str


class ApiKeys(Resources[ApiKey]):
    """Raises ReferenceUnknown where the owner does not exist."""

    kind = ApiKey
    singular = "API key"
    field = "api_key"

    def __init__(self, changes: Changes, peppers: Peppers, now_ms: Callable[[], int]) -> None:
        super().__init__(changes)
        self._peppers = peppers
        self._now_ms = now_ms

    def content(self, value: ApiKey) -> str:
        return resource_hash(self.field, replace(value, secrets=()))

    async def admit(self, change: Change, value: ApiKey) -> ApiKey:
        """What only rotating and revoking change stays as it is."""
        if bool(value.user) == bool(value.team):
            raise InvalidRequest(
                FieldProblem("api_key.owner", "must be a user or a team: say who spends with this key")
            )
        refuse(
            (
                *await existence_faults(change, User, [("user", value.user)]),
                *await existence_faults(change, Team, [("team", value.team)]),
            ),
            "api_key.",
        )
        before = await change.get(ApiKey, value.id)
        if before is None:
            return value
        return replace(value, secrets=before.value.secrets, revoke_ms=before.value.revoke_ms)

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return await scope_referrers(change, lambda scope: scope.api_key == id_)

    async def issue(self, organization: str, value: ApiKey, request_id: str) -> Issued:
        """As `create`, with a secret. Raises PepperMissing."""
        text, secret = self._peppers.new(self._now_ms())
        stored = await self.create(organization, replace(value, secrets=(secret,)), request_id)
        return Issued(stored, text if secret in stored.value.secrets else "")

    async def rotate(self, organization: str, id_: str, grace_ms: int, request_id: str) -> Issued:
        """Gives a key another secret. Raises NotFound, OrganizationNotFound, ApiKeyRevoked, PepperMissing,
        IdempotencyConflict.
        """
        now_ms = self._now_ms()
        text, secret = self._peppers.new(now_ms)
        async with self._changes.change(organization) as change:
            stored = await self._found(change, organization, id_)
            if request_id and not await change.claim_request(
                request_id, resource_hash("rotate", id_, grace_ms)
            ):
                return Issued(stored, "")
            if stored.value.revoke_ms is not None:
                raise ApiKeyRevoked(f"{self._name(id_)} was revoked; nothing makes it good again.")
            return Issued(await change.put(rotated(stored.value, secret, now_ms, grace_ms)), text)

    async def revoke(self, organization: str, id_: str) -> Stored[ApiKey]:
        """For good. Raises NotFound, OrganizationNotFound."""
        async with self._changes.change(organization) as change:
            stored = await self._found(change, organization, id_)
            if stored.value.revoke_ms is not None:
                return stored
            return await change.put(replace(stored.value, revoke_ms=self._now_ms()))

    async def _found(self, change: Change, organization: str, id_: str) -> Stored[ApiKey]:
        stored = await change.get(ApiKey, id_)
        if stored is None:
            raise self.not_found(organization, id_)
        return stored
