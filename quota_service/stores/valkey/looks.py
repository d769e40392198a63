"""Looks at an organization's keys, to compare them with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from quota_service.application.operations.reconciliation_ports import KeysMoment, LiveHold
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.reservation import Hold, State, WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import OUTLIVE_MS
from quota_service.stores.hold_documents import decode_hold
from quota_service.stores.places import window_of
from quota_service.stores.valkey import codec, scripts
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.events import event_of_stream
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.runner import Runner

EVENTS_MAX = 5_000
"""Events that one look reads: normally there are a few dozen."""

HOLDS_MAX = 2_000
"""Live holds that one look reads: a few milliseconds of the server's time."""

HOLDS_PER_READ = 250
KEYS_PER_SCAN = 1_000


class ValkeyLooks:
    """Implements `KeysLook`."""

    def __init__(self, runner: Runner, holds: ValkeyHoldStore) -> None:
        self._runner = runner
        self._connection = runner.connection
        self._keys = runner.keys
        self._holds = holds

    def now_ms(self) -> int:
        return self._runner.now_ms()

    async def windows(self, organization: str, windows: Sequence[WindowRef]) -> Sequence[Counters]:
        keys = self._window_keys(organization, windows)
        return [codec.decode_counters(raw) for raw in await self._connection.call("MGET", *keys)]

    async def moment(self, organization: str, windows: Sequence[WindowRef]) -> KeysMoment:
        keys, arguments = self._window_keys(organization, windows), (EVENTS_MAX, HOLDS_MAX)
        reply = await self._runner.run(organization, scripts.LOOK, keys, arguments)
        _, _, epoch, last_event, found, events, holds = reply
        if isinstance(events, int):
            raise StoreUnavailable(
                f"{events:,} events wait for the ledger: too many to compare anything now."
            )
        return KeysMoment(
            epoch=epoch,
            windows=[codec.decode_counters(raw) for raw in found],
            events=[event_of_stream(id_, fields) for id_, fields in events],
            last_event=last_event.decode(),
            holds=None if isinstance(holds, int) else _live(decode_hold(*parts) for parts in holds),
        )

    async def holds(self, organization: str) -> AsyncIterator[Sequence[LiveHold]]:
        after, found = "", [(0, "")]
        while found:
            found = await self._holds.indexed(organization, after, HOLDS_PER_READ)
            if found:
                yield _live(await self._holds.peek(organization, [reservation for _, reservation in found]))
                after = f"{found[-1][0]} {found[-1][1]}"

    async def live_among(self, organization: str, reservations: Sequence[str]) -> frozenset[str]:
        holds = await self._holds.peek(organization, reservations)
        return frozenset(hold.reservation for hold in _live(holds))

    async def search(self, organization: str) -> AsyncIterator[Sequence[WindowRef]]:
        start = len(self._keys.windows_start(organization))
        async for keys in window_keys(self._connection, self._keys, organization):
            ends = await asyncio.gather(*(self._end_ms(key) for key in keys))
            yield [window_of(key[start:], end) for key, end in zip(keys, ends, strict=True)]

    async def forget(self, organization: str, windows: Sequence[WindowRef]) -> None:
        await self._connection.call("DEL", *self._window_keys(organization, windows))
        await asyncio.gather(
            *(
                self._connection.call("SREM", self._keys.values(organization, window), window.each_value)
                for window in windows
            )
        )

    def _window_keys(self, organization: str, windows: Sequence[WindowRef]) -> tuple[str, ...]:
        return tuple(self._keys.window(organization, window) for window in windows)

    async def _end_ms(self, key: str) -> int | None:
        """Not earlier than the window's: one that may be needed again is kept longer."""
        forgotten_ms: int = await self._connection.call("PEXPIRETIME", key)
        return forgotten_ms - OUTLIVE_MS if forgotten_ms >= 0 else None


def _live(holds: Iterable[Hold]) -> list[LiveHold]:
    """Those that are live."""
    return [
        LiveHold(hold.reservation, hold.create_ms, hold.remaining, hold.windows)
        for hold in holds
        if hold.state is State.HELD
    ]


async def window_keys(connection: Connection, keys: Keys, organization: str) -> AsyncIterator[list[str]]:
    """The keys of all windows that there are, some at a time. Looks at everything that the server has."""
    pattern, cursor = keys.windows_pattern(organization), b"0"
    while True:
        cursor, found = await connection.call(
            "SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN, "TYPE", "string"
        )
        yield [key.decode() for key in found]
        if cursor == b"0":
            return
