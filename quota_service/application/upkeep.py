"""What goes on beside the calls: due holds are retired, what somebody left half done is finished, and the
ledger is sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from quota_service.application.audit_ports import LedgerSeals
from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.ports import ConfigurationStore, EventLog, HoldStore
from quota_service.application.publishing import VersionPublisher
from quota_service.application.recovery import Recovery
from quota_service.application.writing import Observer, Watch, finish


class UpkeepSettings(NamedTuple):
    """`left_behind_ms`: the age from which an event counts as left behind by whoever made it. `*_every_ms`:
    how often. An organization's repair ends for now when `refused_max` of its events have been refused.
    """

    sweep_every_ms: int = 1_000
    epochs_every_ms: int = 1_000
    repair_every_ms: int = 2_000
    seal_every_ms: int = 30_000
    left_behind_ms: int = 10_000
    batch: int = 500
    refused_max: int = 500


class Upkeep:
    """Runs in every replica; several do the same work without harm."""

    def __init__(
        self,
        configuration: ConfigurationStore,
        holds: HoldStore,
        publisher: VersionPublisher,
        events: EventLog,
        delivery: Delivery,
        watch: Watch,
        recovery: Recovery,
        configurations: Configurations,
        seals: LedgerSeals,
        observer: Observer,
        settings: UpkeepSettings | None = None,
    ) -> None:
        self._configuration = configuration
        self._holds = holds
        self._publisher = publisher
        self._events = events
        self._delivery = delivery
        self._watch = watch
        self._recovery = recovery
        self._configurations = configurations
        self._seals = seals
        self._observer = observer
        self._settings = settings or UpkeepSettings()
        self._organizations: tuple[str, ...] = ()
        self._published: dict[str, int] = {}

    async def run(self) -> None:
        """Works until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self._settings.sweep_every_ms, "sweep", self.sweep))
            tasks.create_task(self._every(self._settings.repair_every_ms, "repair", self.repair))
            tasks.create_task(self._every(self._settings.seal_every_ms, "seals", self._seals.seal))
            epochs_every_ms = self._settings.epochs_every_ms
            tasks.create_task(self._every(epochs_every_ms, "epochs", self._recovery.keep_up))

    async def sweep(self) -> None:
        """Retires every due hold."""
        for organization in self._organizations:
            while await self._holds.sweep(organization):
                pass

    async def repair(self) -> None:
        """Publishes every version and writes every event that was left behind."""
        versions = await self._configuration.versions()
        self._organizations = tuple(versions)
        for organization, version in versions.items():
            try:
                await self._configurations.catch_up(organization, version)
                await self._publish(organization, version)
                await self._repair(organization)
            except Exception as error:  # one organization's trouble is not the others'
                self._observer.work_failed(f"repair of {organization}", error)

    async def _publish(self, organization: str, version: int) -> None:
        """Whoever made a change may have died, or lost Valkey, before telling it."""
        if self._published.get(organization) != version:
            await self._publisher.publish_version(organization, version)
            self._published[organization] = version

    async def _repair(self, organization: str) -> None:
        """Looks beyond events that the ledger refuses; those are tried again next time."""
        refused: set[str] = set()
        while len(refused) <= self._settings.refused_max:
            found = await self._events.older_than(
                organization, self._settings.left_behind_ms, self._settings.batch + len(refused)
            )
            events = [event for event in found if event.id not in refused]
            if not events:
                break
            delivered = await self._delivery.deliver(events)
            await finish(self._events, self._watch, delivered.done, delivered.balances)
            refused |= {event.id for event in delivered.left}

    async def _every(self, interval_ms: int, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # whatever it is, the work is taken up again next time
                self._observer.work_failed(name, error)
            await asyncio.sleep(interval_ms / 1000)
