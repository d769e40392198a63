"""Organizations and their settings."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from quota_service.application import authorship
from quota_service.application.administration.changes import Changes, require_etag, require_id
from quota_service.application.ports import Page, Stored
from quota_service.domain.amounts import WINDOW_LIMIT_MAX
from quota_service.domain.errors import OrganizationNotFound
from quota_service.domain.faults import Fault, refuse, time_zone_faults
from quota_service.domain.subject import Dimension, Organization, OutagePolicy


class Organizations:
    """Every method raises StoreUnavailable where a store does not answer."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def create(self, value: Organization, request_id: str = "") -> Stored[Organization]:
        """The same request_id with the same content returns what it created.

        Raises AlreadyExists, IdempotencyConflict, InvalidRequest.
        """
        require_id(value.id, "organization_id")
        _check(value)
        by = authorship.current()
        stored, version = await self._changes.store.create_organization(value, request_id, by)
        await self._changes.publish(value.id, version)
        return stored

    async def get(self, organization: str) -> Stored[Organization]:
        """Raises OrganizationNotFound."""
        return await self._changes.store.get_organization(organization)

    async def list(self, page_size: int, after: str) -> Page[Stored[Organization]]:
        """By id."""
        return await self._changes.store.list_organizations(page_size, after)

    async def update(
        self,
        organization: str,
        evolve: Callable[[Organization], Organization],
        *,
        etag: str = "",
        otherwise: Callable[[], Organization] | None = None,
    ) -> Stored[Organization]:
        """Replaces the settings by `evolve` of them; where there are none, creates what `otherwise` returns.

        Raises OrganizationNotFound, EtagMismatch, InvalidRequest.
        """
        try:
            return await self._update(organization, evolve, etag)
        except OrganizationNotFound:
            if otherwise is None or etag:
                raise
        return await self.create(otherwise())

    async def delete(self, organization: str, etag: str = "") -> None:
        """Its ledger stays. Raises OrganizationNotFound, EtagMismatch, ResourceInUse."""
        if etag:
            require_etag(etag, (await self.get(organization)).etag, f"organization “{organization}”")
        version = await self._changes.store.delete_organization(organization, authorship.current())
        await self._changes.publish(organization, version)

    async def _update(
        self, organization: str, evolve: Callable[[Organization], Organization], etag: str
    ) -> Stored[Organization]:
        async with self._changes.change(organization) as change:
            stored = change.organization
            require_etag(etag, stored.etag, f"organization “{organization}”")
            value = evolve(stored.value)
            _check(value)
            return stored if value == stored.value else await change.put_organization(value)


_NO_CAP = (
    "is required with OUTAGE_POLICY_ALLOW_DEGRADED: say how much each replica may grant in one outage, in "
    "micro-USD"
)


def _check(value: Organization) -> None:
    """Raises InvalidRequest, TimeZoneUnknown."""
    faults = list(time_zone_faults(value.time_zone, "time_zone"))
    faults += [
        Fault(f"required_dimensions[{index}]", "must be a dimension of the subject or the model, and no tag")
        for index, dimension in enumerate(value.required_dimensions)
        if dimension is Dimension.TAG
    ]
    if value.help_url and urlsplit(value.help_url).scheme not in ("http", "https"):
        faults.append(Fault("help_url", "must be an http or https URL"))
    cap_micros = value.degraded_cost_cap_micros
    if cap_micros is not None and not 0 <= cap_micros <= WINDOW_LIMIT_MAX:
        faults.append(Fault("degraded_cost_cap_micros", f"must be 0–{WINDOW_LIMIT_MAX}"))
    if cap_micros is None and value.outage_policy is OutagePolicy.ALLOW_DEGRADED:
        faults.append(Fault("degraded_cost_cap_micros", _NO_CAP))
    refuse(faults, "organization.")
