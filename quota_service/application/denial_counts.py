"""How often requests are denied, by whom and why: counted per minute in memory, added up in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from quota_service.application.alert_ports import DenialCount, DenialKey, DenialStore
from quota_service.application.writing import Observer
from quota_service.domain.decision import Violation
from quota_service.domain.subject import Subject

MINUTE_MS = 60_000


class DenialSettings(NamedTuple):
    """`distinct_max` counts are held at a time; beyond them nobody is named any more, so that callers who
    make up names cannot fill the memory.
    """

    every_ms: int = 1_000
    distinct_max: int = 10_000


class DenialCounts:
    """Counts denials. They are statistics: a replica that is killed loses its last second, and a store that
    took them without being able to say so gets them twice.
    """

    def __init__(
        self, store: DenialStore, observer: Observer, settings: DenialSettings | None = None
    ) -> None:
        self._store = store
        self._observer = observer
        self._settings = settings or DenialSettings()
        self._counts: dict[DenialKey, DenialCount] = {}

    def denied(
        self,
        organization: str,
        subject: Subject,
        provider: str,
        model: str,
        violations: tuple[Violation, ...],
        now_ms: int,
    ) -> None:
        """Counts one denied request, once for each limit that it did not fit into. Never raises."""
        minute_ms = now_ms - now_ms % MINUTE_MS
        who = (subject.team, subject.user, subject.api_key, subject.project)
        told = {
            DenialKey(organization, minute_ms, *who, provider, model, each.reason, each.source): each.message
            for each in violations
        }
        self._add(DenialCount(key=key, count=1, message=message) for key, message in told.items())

    async def run(self) -> None:
        """Brings the counts to the store, until it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.every_ms / 1000)
            try:
                await self.flush()
            except Exception as error:  # whatever it is, the counts are kept for the next time
                self._observer.work_failed("denials", error)

    async def flush(self) -> None:
        """Brings all counts to the store. Raises StoreUnavailable; they are kept then."""
        counts, self._counts = self._counts, {}
        try:
            if counts:
                await self._store.add(list(counts.values()))
        except BaseException:
            self._add(counts.values())
            raise

    def _add(self, counts: Iterable[DenialCount]) -> None:
        for each in counts:
            key = self._bounded(each.key)
            before = self._counts.get(key)
            count = each.count + (before.count if before else 0)
            self._counts[key] = DenialCount(key=key, count=count, message=each.message)

    def _bounded(self, key: DenialKey) -> DenialKey:
        if key in self._counts or len(self._counts) < self._settings.distinct_max:
            return key
        return key._replace(team="", user="", api_key="", project="", provider="", model="")
