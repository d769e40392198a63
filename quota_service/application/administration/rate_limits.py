"""Rate limits."""

from __future__ import annotations

from collections.abc import Sequence

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.resources import Resources
from quota_service.application.ports import Change
from quota_service.domain import ratelimit_rules
from quota_service.domain.faults import refuse
from quota_service.domain.ratelimit import RateLimit


class RateLimits(Resources[RateLimit]):
    """Raises ReferenceUnknown where a scope names what does not exist, InvalidRequest."""

    kind = RateLimit
    singular = "rate limit"
    field = "rate_limit"

    def __init__(self, changes: Changes, references: ScopeReferences) -> None:
        super().__init__(changes)
        self._references = references

    async def prepare(self, organization: str) -> None:
        await self._references.refresh(organization)

    async def admit(self, change: Change, value: RateLimit) -> RateLimit:
        named = await self._references.faults(change, ratelimit_rules.references(value))
        refuse((*ratelimit_rules.faults(value), *named), "rate_limit.")
        return value

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return ()
