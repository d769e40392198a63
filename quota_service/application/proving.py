"""Configurations for those whose answer no script decides, which would check what it rests on."""

from __future__ import annotations

from quota_service.application.configurations import Configurations
from quota_service.application.ports import HoldStore
from quota_service.domain.commands import Inspect, Stale
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.terms import Basis


class ProvenConfigurations:
    """What this process has in memory, proven to be the newest: whoever has made a change is sure of it on
    all replicas.
    """

    def __init__(self, configurations: Configurations, holds: HoldStore) -> None:
        self._configurations = configurations
        self._holds = holds

    async def get(self, organization: str) -> Configuration:
        """Asks Valkey; PostgreSQL, while Valkey is away. Raises OrganizationNotFound, StoreUnavailable."""
        plans = await self._configurations.get(organization)
        basis = Basis(organization=organization, version=plans.configuration.version)
        try:
            answer = await self._holds.inspect(Inspect(basis=basis), is_urgent=True)
        except StoreUnavailable:
            return await self._configurations.fresh(organization)
        if isinstance(answer, Stale):
            plans = await self._configurations.at_least(organization, answer.version)
        return plans.configuration
