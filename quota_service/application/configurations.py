"""Every organization's configuration, held in the process and replaced when a decision proves it stale."""

from __future__ import annotations

import asyncio

from quota_service.application.caching import Cache, Room
from quota_service.application.health import Health
from quota_service.application.plans import PLANS_BYTES_MAX, Plans
from quota_service.application.ports import ConfigurationStore, ModelAliases
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import OrganizationNotFound, OrganizationRequired, StoreUnavailable
from quota_service.domain.subject import Subject

KEYS_BYTES_MAX = 16 * 1024 * 1024
"""What it takes to know the organizations of API keys that come without one: some 64,000 keys."""

_KEY_BYTES = 256


class Configurations:
    """Loads configurations when they are first needed, and again when a store says that there is a newer
    one.
    """

    def __init__(self, store: ConfigurationStore, aliases: ModelAliases, health: Health) -> None:
        self._store = store
        self._health = health
        self._aliases = aliases
        self._plans: dict[str, Plans] = {}
        self._room = Room(PLANS_BYTES_MAX)
        self._loading: dict[str, asyncio.Task[Plans]] = {}
        # In a room of its own: what is forgotten there costs a query, not only work.
        self._organizations_of_keys: Cache[str, str] = Room(KEYS_BYTES_MAX).cache(lambda _: _KEY_BYTES)

    async def get(self, organization: str) -> Plans:
        """The organization's plans as this process knows them. Raises OrganizationNotFound, and
        StoreUnavailable: at once where PostgreSQL is known not to answer.
        """
        plans = self._plans.get(organization)
        if plans is None:
            self._health.require_ledger()
            plans = await self._load(organization)
        return plans

    async def at_least(self, organization: str, version: int) -> Plans:
        """The plans of a version or a newer one. Raises as `newest`."""
        plans = self._plans.get(organization)
        if plans is None or plans.configuration.version < version:
            plans = await self._load(organization)
        if plans.configuration.version < version:
            # The load under way had begun before the change was committed.
            plans = await self._load(organization)
        if plans.configuration.version < version:
            raise StoreUnavailable("The newest configuration cannot be read yet.")
        return plans

    async def newest(self, organization: str) -> Plans:
        """The plans of the configuration as PostgreSQL has it now. Raises OrganizationNotFound,
        StoreUnavailable.
        """
        return await self._load(organization)

    async def catch_up(self, organization: str, version: int) -> None:
        """Reloads what this process knows and has changed since: while no store decides, none says so."""
        known = self._plans.get(organization)
        if known is not None and known.configuration.version < version:
            await self._load(organization)

    async def fresh(self, organization: str) -> Configuration:
        """The configuration as PostgreSQL has it now. Raises as `newest`."""
        return (await self.newest(organization)).configuration

    async def organization_of(self, subject: Subject) -> str:
        """The organization of a subject: its own, or its key's. Raises OrganizationRequired, and as `get`."""
        if subject.organization:
            return subject.organization
        if not subject.api_key:
            raise OrganizationRequired
        known = self._organizations_of_keys.get(subject.api_key)
        if known is not None and subject.api_key in (await self.get(known)).configuration.directory.api_keys:
            return known
        self._health.require_ledger()
        found = await self._store.organization_of_key(subject.api_key)
        if found is None:
            raise OrganizationNotFound("No organization has this API key.")
        self._organizations_of_keys.put(subject.api_key, found)
        return found

    async def _load(self, organization: str) -> Plans:
        """Loads once for all who wait. A waiter that is cancelled does not cancel the load."""
        task = self._loading.get(organization)
        if task is None:
            task = self._loading[organization] = asyncio.create_task(self._replace(organization))
            task.add_done_callback(lambda _: self._loading.pop(organization, None))
        return await asyncio.shield(task)

    async def _replace(self, organization: str) -> Plans:
        known = self._plans.get(organization)
        try:
            configuration = await self._store.load(organization, known.configuration if known else None)
        except OrganizationNotFound:
            self._plans.pop(organization, None)
            raise
        if known is None or configuration.version > known.configuration.version:
            self._plans[organization] = Plans(configuration, self._aliases, self._room, known)
        return self._plans[organization]
