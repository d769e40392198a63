"""What goes on beside the calls: due holds are retired, and events that were left behind are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from quota_service.application.ports import ConfigurationStore, EventLog, HoldStore, Ledger
from quota_service.application.writing import Observer, acknowledge

ORGANIZATIONS_PER_PAGE = 500


class UpkeepSettings(NamedTuple):
    """`left_behind_ms`: the age from which an event counts as left behind by whoever made it. `*_every_ms`:
    how often.
    """

    sweep_every_ms: int = 1_000
    repair_every_ms: int = 2_000
    left_behind_ms: int = 10_000
    batch: int = 500


class Upkeep:
    """Runs in every replica; several do the same work without harm."""

    def __init__(
        self,
        configuration: ConfigurationStore,
        holds: HoldStore,
        events: EventLog,
        ledger: Ledger,
        observer: Observer,
        settings: UpkeepSettings | None = None,
    ) -> None:
        self._configuration = configuration
        self._holds = holds
        self._events = events
        self._ledger = ledger
        self._observer = observer
        self._settings = settings or UpkeepSettings()
        self._organizations: tuple[str, ...] = ()

    async def run(self) -> None:
        """Works until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self._settings.sweep_every_ms, "sweep", self.sweep))
            tasks.create_task(self._every(self._settings.repair_every_ms, "repair", self.repair))

    async def sweep(self) -> None:
        """Retires every due hold."""
        for organization in self._organizations:
            while await self._holds.sweep(organization):
                pass

    async def repair(self) -> None:
        """Writes every event that was left behind."""
        self._organizations = await self._all_organizations()
        for organization in self._organizations:
            await self._repair(organization)

    async def _repair(self, organization: str) -> None:
        while events := await self._events.older_than(
            organization, self._settings.left_behind_ms, self._settings.batch
        ):
            await self._ledger.write([event.entry for event in events])
            await acknowledge(self._events, events)

    async def _all_organizations(self) -> tuple[str, ...]:
        found: list[str] = []
        after = ""
        while True:
            page = await self._configuration.list_organizations(ORGANIZATIONS_PER_PAGE, after)
            found += [stored.value.id for stored in page.items]
            if not page.next:
                return tuple(found)
            after = page.next

    async def _every(self, interval_ms: int, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # whatever it is, the work is taken up again next time
                self._observer.work_failed(name, error)
            await asyncio.sleep(interval_ms / 1000)
