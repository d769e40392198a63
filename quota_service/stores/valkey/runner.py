"""Runs scripts for one organization, and keeps the store's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey import scripts
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.scripts import Code, Script

SWEEP_BATCH = 200
"""Due holds retired, or holds of an earlier epoch forgotten, by one script: a few milliseconds of the
server's time.
"""

SWEEPS_MAX = 1_000
"""How often one call sweeps before it gives up."""

FENCES_MAX = 3
"""How often one call waits for keys to be made what the ledger says before it gives up."""

Arguments = tuple[str | bytes | int, ...]

Establish = Callable[[str], Awaitable[object]]
"""Makes an organization's keys what the ledger says, unless they are, and has their epoch adopted.

Raises StoreUnavailable.
"""


class RunnerSettings(NamedTuple):
    """`buffer_bytes_max`: how many bytes of an organization's events may wait for the ledger. `patience_s`:
    how long a decision waits for Valkey.
    """

    buffer_bytes_max: int = 256 * 1024 * 1024
    patience_s: float | None = None


class Runner:
    """What every store over Valkey runs its scripts with; one per connection.

    Every script is told for which epoch the caller takes the keys, and in which run of the server: where
    either is another, nothing is done, and the keys are established first.
    """

    def __init__(self, connection: Connection, keys: Keys, settings: RunnerSettings | None = None) -> None:
        self.connection = connection
        self.keys = keys
        self.settings = settings or RunnerSettings()
        self.establish: Establish = _nobody
        self._epochs: dict[str, int] = {}
        self._clock_offset_ms: int | None = None

    def now_ms(self) -> int:
        """The store's clock, as last heard and carried on."""
        if self._clock_offset_ms is None:
            return time.time_ns() // 1_000_000
        return time.monotonic_ns() // 1_000_000 + self._clock_offset_ms

    def hear(self, now_ms: int) -> None:
        """What the clock is now."""
        self._clock_offset_ms = now_ms - time.monotonic_ns() // 1_000_000

    def epoch_of(self, organization: str) -> int:
        """The epoch that this process takes the organization's keys for; 0: it does not know any."""
        return self._epochs.get(organization, 0)

    def adopt(self, organization: str, epoch: int) -> None:
        """From now on the organization's keys are taken for those of this epoch."""
        self._epochs[organization] = epoch

    async def run(
        self,
        organization: str,
        script: Script,
        keys: tuple[str, ...],
        arguments: Arguments,
        *,
        epoch: int | None = None,
        patience_s: float | None = None,
    ) -> list[Any]:
        """Runs a script behind the organization's common keys; while due holds stand in the way of its
        answer, sweeps them and asks again; while the keys are not what the ledger says, has them established.

        `epoch`: the only one in which the script may run; otherwise StoreUnavailable.
        """
        all_keys = (*self.keys.common(organization), *keys)
        fenced = 0
        for _ in range(SWEEPS_MAX):
            known = self._epochs.get(organization, 0) if epoch is None else epoch
            run_id = self.connection.known_run_id or await self.connection.run_id(patience_s=patience_s)
            common = (f"{known} {run_id}", self.settings.buffer_bytes_max)
            reply = await self.connection.run(script, all_keys, (*arguments, *common), patience_s=patience_s)
            self.hear(reply[1])
            if reply[0] == Code.FENCED:
                fenced += 1
                if fenced > FENCES_MAX or epoch is not None:
                    raise StoreUnavailable(
                        "Valkey's keys are being made what the ledger says; nothing was done."
                    )
                await self._established(organization, patience_s)
            elif reply[0] == Code.SWEEP:
                await self.sweep(organization)
            else:
                return reply
        raise StoreUnavailable("Too many holds have expired at once; they are being returned.")

    async def _established(self, organization: str, patience_s: float | None) -> None:
        """Waits for it, but not beyond the caller's patience; it goes on without him."""
        try:
            async with asyncio.timeout(patience_s):
                await self.establish(organization)
        except TimeoutError:
            raise StoreUnavailable("Valkey's keys are being made what the ledger says.") from None

    async def sweep(self, organization: str, *, forgets: bool = False) -> int:
        """Retires a batch of due holds, and, if asked to, forgets one of an earlier epoch; returns how many
        holds it looked at.
        """
        reply = await self.run(organization, scripts.SWEEP, (), (SWEEP_BATCH, SWEEP_BATCH if forgets else 0))
        _, _, retired, forgotten = reply
        return int(retired + forgotten)


async def _nobody(organization: str) -> None:
    raise StoreUnavailable(f"Nobody establishes the keys of {organization}.")
