"""Runs scripts for one organization, and keeps the store's clock."""

from __future__ import annotations

import time
from typing import Any

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey import scripts
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.scripts import Code, Script

SWEEP_BATCH = 200
"""Due holds retired by one script: a few milliseconds of the server's time."""

SWEEPS_MAX = 1_000
"""How often one call sweeps before it gives up."""

Arguments = tuple[str | bytes | int, ...]


class Runner:
    """What every store over Valkey runs its scripts with; one per connection."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self.connection = connection
        self.keys = keys
        self._clock_offset_ms: int | None = None

    def now_ms(self) -> int:
        """The store's clock, as last heard and carried on."""
        if self._clock_offset_ms is None:
            return time.time_ns() // 1_000_000
        return time.monotonic_ns() // 1_000_000 + self._clock_offset_ms

    async def run(
        self, organization: str, script: Script, keys: tuple[str, ...], arguments: Arguments
    ) -> list[Any]:
        """Runs a script behind the organization's common keys; while due holds stand in the way of its
        answer, sweeps them and asks again.
        """
        all_keys = (*self.keys.common(organization), *keys)
        for _ in range(SWEEPS_MAX):
            reply = await self.connection.run(script, all_keys, arguments)
            self._clock_offset_ms = reply[1] - time.monotonic_ns() // 1_000_000
            if reply[0] != Code.SWEEP:
                return reply
            await self.sweep(organization)
        raise StoreUnavailable("Too many holds have expired at once; they are being returned.")

    async def sweep(self, organization: str) -> int:
        """Retires a batch of due holds; returns how many."""
        reply = await self.run(organization, scripts.SWEEP, (), (SWEEP_BATCH,))
        return int(reply[2])
