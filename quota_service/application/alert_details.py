"""What an alert tells besides: who spent most, and when the limit will be reached. Worked out afterwards, so
that no request waits for it.
"""

from __future__ import annotations

import asyncio

from quota_service.application.alert_ports import DetailStore, StoredAlert
from quota_service.application.writing import Observer
from quota_service.domain import forecast

EVERY_MS = 2_000


class AlertDetails:
    """Runs in every replica; each alert is taken up by one."""

    def __init__(self, store: DetailStore, observer: Observer, every_ms: int = EVERY_MS) -> None:
        self._store = store
        self._observer = observer
        self._every_ms = every_ms

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            try:
                await self.fill()
            except Exception as error:  # whatever it is, the work is taken up again next time
                self._observer.work_failed("alert details", error)
            await asyncio.sleep(self._every_ms / 1000)

    async def fill(self) -> None:
        """Fills in the details of every alert that has none. Raises StoreUnavailable."""
        while await self._store.fill_next(_forecast_ms):
            pass


def _forecast_ms(stored: StoredAlert) -> int | None:
    alert = stored.alert
    return forecast.exhausted_ms(
        limit=alert.limit,
        spent=alert.spent,
        start_ms=alert.window.start_ms,
        end_ms=alert.window.end_ms,
        now_ms=stored.create_ms,
    )
