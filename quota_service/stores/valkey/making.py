"""An organization's keys made anew: cleared, filled and raised by one process, as long as no other does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from itertools import count, cycle, islice
from typing import Any, TypeVar

from quota_service.application.recovery_ports import Fence, LiveHold, PlacesOf, Restored
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Keeping
from quota_service.domain.windows import OUTLIVE_MS, is_used
from quota_service.stores.hold_documents import windows_digest
from quota_service.stores.valkey import codec, scripts, terms
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.looks import decode_places, window_keys, window_of
from quota_service.stores.valkey.pipeline import Command, Packed, Pipeline, pack
from quota_service.stores.valkey.replying import checked

LOWERED = "-"
"""The fence of keys that are being made anew: no epoch."""

SET_BATCH = 100
"""What is set, or forgotten, in one transaction: Valkey is slower with more, and keeps others waiting."""

READ_BATCH = 1_000
KEYS_PASSED_BY = 8
"""Fewer than SCAN passes by in the time that it takes to look at a hold."""

PLACES_MS = 26 * 3_600_000
"""Longer than any hold lives."""

T = TypeVar("T")

_Place = tuple[str, str, str]
"""A window's key, that of the set of its values ("": none), and its value."""


class _Lane:
    """Carries out one transaction at a time. Each is void if anything has changed at the meta key since the
    fence was seen there to be the expected one; what watches it must be a connection of its own.
    """

    def __init__(self, connection: Pipeline, meta: str, expected: str) -> None:
        self._connection = connection
        self._expected = expected.encode()
        self._watch = pack((("WATCH", meta), ("HGET", meta, "fence")))
        self._fence: asyncio.Future[Any] | None = None  # as it was when it began to be watched

    async def carried_out(self, transaction: Packed) -> bool:
        """Whether the fence was still the expected one."""
        if self._fence is None:
            self._fence = self._connection.send_packed(self._watch)
        while checked(await self._fence) == self._expected:
            done = self._connection.send_packed(transaction)
            self._fence = self._connection.send_packed(self._watch)  # for the next
            if (replies := checked(await done)) is not None:
                for reply in replies:
                    checked(reply)
                return True
        return False


class ValkeyMaking:
    """Implements `Making`.

    Holds and windows are set by plain commands, because to hand each value to a script first takes Valkey
    twice as long. `own`: connections that nobody else uses.
    """

    def __init__(
        self,
        connection: Connection,
        own: Iterable[Pipeline],
        keys: Keys,
        organization: str,
        seen: Fence,
        epoch: int,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._organization = organization
        self._seen = seen
        self._epoch = epoch
        self._meta, self._live, _ = keys.common(organization)
        self._lowered = f"{LOWERED}{epoch}"
        self._lanes = [_Lane(each, self._meta, self._lowered) for each in own]
        self._placed: set[bytes] = set()  # windows of which is told where they are

    async def clear(self, *, every_window: bool) -> bool:
        if not await replace_fence(self._connection, self._meta, self._seen.text, self._lowered):
            return False
        # Windows first: live holds, as long as they are there, tell which there are.
        by_scan = every_window or await self._are_holds_many()
        windows = self._every_window() if by_scan else self._windows_of_holds()
        forgotten = await self._set(self._window_commands_to_forget(part) async for part in windows)
        return forgotten and await self._forget_holds()

    async def put_holds(self, parts: AsyncIterable[Sequence[LiveHold]], places_of: PlacesOf) -> bool:
        return await self._set(self._hold_commands(part, places_of) async for part in parts if part)

    async def put_windows(self, windows: Iterable[Restored]) -> bool:
        return await self._set(self._window_commands(part) async for part in _in_parts(windows))

    async def raise_fence(self, version: int) -> bool:
        raised = f"{self._epoch} {self._seen.run_id}"
        return await replace_fence(self._connection, self._meta, self._lowered, raised, str(version))

    async def _are_holds_many(self) -> bool:
        """Whether to look at each is more work than to pass by all that the server has."""
        holds, all_keys = await asyncio.gather(
            self._connection.call("ZCARD", self._live), self._connection.call("DBSIZE")
        )
        return bool(holds * KEYS_PASSED_BY > all_keys)

    async def _every_window(self) -> AsyncIterator[Sequence[_Place]]:
        start = len(self._keys.windows_start(self._organization))
        async for found in window_keys(self._connection, self._keys, self._organization):
            windows = [window_of(key[start:], None) for key in found]
            values = [self._keys.values(self._organization, each) for each in windows]
            places = zip(found, values, (window.each_value for window in windows), strict=True)
            async for part in _in_parts(places):
                yield part

    async def _windows_of_holds(self) -> AsyncIterator[Sequence[_Place]]:
        known: set[bytes] = set()  # most holds share their windows with others
        places: dict[str, _Place] = {}
        async for keys in self._live_holds():
            found = await self._connection.run(scripts.PEEK, keys, (scripts.WINDOWS,))
            fresh = {packed for (packed,) in found if packed is not None} - known
            known |= fresh
            for packed in fresh:
                places |= {place[1]: place[1:4] for place in decode_places(packed)}
        async for part in _in_parts(places.values()):
            yield part

    async def _forget_holds(self) -> bool:
        shared = (self._live, self._keys.places(self._organization))
        done = await self._set([("DEL", *keys)] async for keys in self._live_holds())
        return done and await self._set([("DEL", *part)] async for part in _in_parts(shared))

    async def _live_holds(self) -> AsyncIterator[tuple[str, ...]]:
        """Their keys, some at a time; nobody changes them meanwhile but who makes the keys anew."""
        for start in count(0, READ_BATCH):
            found = await self._connection.call("ZRANGE", self._live, start, start + READ_BATCH - 1)
            if found:
                yield tuple(key.decode() for key in found)
            if len(found) < READ_BATCH:
                return

    async def _set(self, batches: AsyncIterable[Sequence[Command]]) -> bool:
        """Carries out some batches while others are made ready."""
        under_way: deque[asyncio.Future[bool]] = deque()
        lanes = cycle(self._lanes)
        try:
            async for commands in batches:
                transaction = pack((("MULTI",), *commands, ("EXEC",)))
                if len(under_way) == len(self._lanes) and not await under_way.popleft():
                    return False
                under_way.append(asyncio.ensure_future(next(lanes).carried_out(transaction)))
                await asyncio.sleep(0)  # it is on its way
            while under_way:
                if not await under_way.popleft():
                    return False
            return True
        finally:
            for each in under_way:
                each.cancel()

    def _hold_commands(self, holds: Sequence[LiveHold], places_of: PlacesOf) -> list[Command]:
        hold_start = self._keys.hold(self._organization, "")
        idempotency_start = self._keys.idempotency(self._organization, "")
        live: list[str | int] = []
        own: list[str | bytes] = []
        places: list[bytes] = []
        for hold in holds:
            windows, _, reservation, idempotency_key, content_hash, expire_ms, whole = hold
            key = hold_start + reservation
            own += (key, whole)
            live += (expire_ms, key)
            if idempotency_key:
                own += (idempotency_start + idempotency_key, f"{content_hash} {key}")
            if windows not in self._placed:
                self._placed.add(windows)
                places += (windows_digest(hold), self._packed_places(places_of(hold)))
        commands: list[Command] = [("MSET", *own), ("ZADD", self._live, *live)]
        if places:
            name = self._keys.places(self._organization)
            commands += (("HSET", name, *places), ("PEXPIRE", name, PLACES_MS))
        return commands

    def _packed_places(self, windows: Iterable[tuple[WindowRef, Keeping | None]]) -> bytes:
        return codec.pack([terms.place_of(self._keys, self._organization, *each) for each in windows])

    def _window_commands(self, windows: Iterable[Restored]) -> list[Command]:
        commands: list[Command] = []
        values: dict[tuple[str, int | None], list[str]] = {}  # those in use, by their set and its end
        for window, counters, keeping in windows:
            key, forget_ms = self._keys.window(self._organization, window), _forget_ms(window, keeping)
            until: Command = () if forget_ms is None else ("PXAT", forget_ms)
            is_empty = counters == Counters()
            commands.append(("DEL", key) if is_empty else ("SET", key, codec.pack(counters), *until))
            if keeping is not None and keeping.max_values and is_used(counters):
                name = self._keys.values(self._organization, window)
                values.setdefault((name, forget_ms), []).append(window.each_value)
        for (name, forget_ms), used in values.items():
            commands.append(("SADD", name, *used))
            if forget_ms is not None:
                commands.append(("PEXPIREAT", name, forget_ms))
        return commands

    @staticmethod
    def _window_commands_to_forget(places: Sequence[_Place]) -> list[Command]:
        values: list[Command] = [("SREM", values, value) for _, values, value in places if values]
        return [("DEL", *(key for key, _, _ in places)), *values]


async def _in_parts(items: Iterable[T]) -> AsyncIterator[Sequence[T]]:
    waiting = iter(items)
    while part := list(islice(waiting, SET_BATCH)):
        yield part


async def replace_fence(
    connection: Connection, meta: str, expected: str, new: str, version: str = ""
) -> bool:
    """Whether it was the expected one."""
    return bool(await connection.run(scripts.FENCE, (meta,), (expected, new, version)))


def _forget_ms(window: WindowRef, keeping: Keeping | None) -> int | None:
    """`None`: never."""
    if window.end_ms is None:
        return None
    return window.end_ms + OUTLIVE_MS + (keeping.keep_ms if keeping is not None else 0)
