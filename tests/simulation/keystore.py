"""The recovery's way to the simulated Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from quota_service.application.recovery_ports import Fence, LiveHold, Restored
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import Hold
from quota_service.stores.hold_documents import whole_hold
from tests.simulation import making
from tests.simulation.keys import LOWERED
from tests.simulation.network import Link
from tests.simulation.valkey import Runner, SimulatedValkey

REMEMBER_APPLIED_MS = 60_000
"""Simulated memory may be far shorter than the product's. What was applied must outlive the time in which it
may be applied again, which no run reaches with the product's.
"""

_ONLY_ANEW = (EntryType.ADJUST, EntryType.REALLOCATE, EntryType.ROLLOVER)


class Making:
    """Implements the recovery's port of that name."""

    def __init__(self, link: Link, server: SimulatedValkey, seen: Fence, epoch: int) -> None:
        self._link = link
        self._server = server
        self._seen = seen
        self._epoch = epoch
        self._lowered = f"{LOWERED}{epoch}"

    async def clear(self) -> bool:
        server, seen, lowered = self._server, self._seen.text, self._lowered
        if not await self._link.call("claim", lambda: making.replace_fence(server.keys, seen, lowered)):
            return False
        keeps_ended = server.switches.keeps_ended
        return await self._link.call(
            "clear", lambda: making.clear(server.keys, lowered, keeps_ended=keeps_ended)
        )

    async def forget_windows(self, *, every: bool) -> bool:
        lowered = self._lowered
        return await self._link.call(
            "forget windows", lambda: making.forget_windows(self._server.keys, lowered, every=every)
        )

    async def put_holds(self, parts: AsyncIterable[Sequence[LiveHold]]) -> bool:
        async for part in parts:
            set_ = [whole_hold(hold) for hold in part]
            if not await self._link.call("put holds", partial(self._put_holds, set_)):
                return False
        return True

    def _put_holds(self, holds: Sequence[Hold]) -> bool:
        return making.put_holds(self._server.keys, self._lowered, holds)

    async def put_windows(self, windows: Iterable[Restored]) -> bool:
        set_, adds = tuple(windows), self._server.switches.adds_on_rebuild
        lowered = self._lowered
        return await self._link.call(
            "put windows", lambda: making.put_windows(self._server.keys, lowered, set_, adds=adds)
        )

    async def raise_fence(self, version: int) -> bool:
        fence, lowered = f"{self._epoch} {self._seen.run_id}", self._lowered
        return await self._link.call(
            f"raise the fence {fence}", lambda: making.raise_fence(self._server.keys, lowered, fence, version)
        )


class KeyStore:
    """Implements the recovery's port of that name."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._link = runner.link
        self._server = runner.server

    def now_ms(self) -> int:
        return self._runner.now_ms()

    def known_epoch(self, organization: str) -> int:
        return self._runner.epochs.get(organization, 0)

    def adopt(self, organization: str, epoch: int) -> None:
        self._runner.epochs[organization] = epoch

    async def fence(self, organization: str) -> Fence:
        await self._link.connected()
        text = await self._link.call("fence", lambda: self._server.keys.fence)
        epoch, _, made_in = text.partition(" ")
        return Fence(text, int(epoch) if made_in else 0, made_in, self._link.run_id)

    async def lower(self, organization: str, seen: Fence) -> bool:
        if seen.text.startswith(LOWERED):
            return True
        return await self._link.call(
            "lower the fence", lambda: making.replace_fence(self._server.keys, seen.text, LOWERED)
        )

    async def waiting(self, organization: str, count: int) -> Sequence[Event]:
        return await self._link.call("waiting", lambda: list(self._server.keys.events.values())[:count])

    async def drop(self, organization: str, events: Sequence[Event]) -> None:
        def drop() -> None:
            for event in events:
                self._server.keys.events.pop(event.id, None)

        await self._link.call("drop events", drop)

    @asynccontextmanager
    async def make(self, organization: str, seen: Fence, epoch: int) -> AsyncIterator[Making]:
        yield Making(self._link, self._server, seen, epoch)

    async def apply(self, entry: Entry, epoch: int) -> bool:
        if entry.type in _ONLY_ANEW:
            return False
        keep_ms = max(self._runner.remember_ms, REMEMBER_APPLIED_MS)
        await self._runner.run(
            entry.hold.organization,
            f"apply {entry.key}",
            lambda keys, now: keys.apply(entry, keep_ms, now),
            epoch=epoch,
        )
        return True
