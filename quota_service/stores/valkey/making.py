"""An organization's keys made anew: cleared, filled and raised by one process, as long as no other does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from quota_service.application.recovery_ports import Fence, LiveHold, Restored
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Term
from quota_service.domain.windows import OUTLIVE_MS, is_used
from quota_service.stores.valkey import codec, scripts, terms
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.looks import window_keys, window_of
from quota_service.stores.valkey.pipeline import Command, Packed, Pipeline, pack
from quota_service.stores.valkey.replying import checked

LOWERED = "-"
"""The fence of keys that are being made anew: no epoch."""

CLEAR_BATCH = 200
SET_BATCH = 100
"""Holds, or windows, of one transaction: Valkey is slower with more, and keeps others waiting."""


class ValkeyMaking:
    """Implements `Making`.

    Holds and windows are set by plain commands, because to hand each value to a script first takes Valkey
    twice as long. Each transaction of them is void if anything has changed at the meta key since the fence
    was seen there to be this making's own; what watches it must be a connection of its own.
    """

    def __init__(
        self, connection: Connection, own: Pipeline, keys: Keys, organization: str, seen: Fence, epoch: int
    ) -> None:
        self._connection = connection
        self._own = own
        self._keys = keys
        self._organization = organization
        self._seen = seen
        self._epoch = epoch
        self._meta, self._live, _ = keys.common(organization)
        self._lowered = f"{LOWERED}{epoch}"
        self._watch = pack((("WATCH", self._meta), ("HGET", self._meta, "fence")))
        self._fence: asyncio.Future[Any] | None = None  # as it was when it began to be watched
        self._places: dict[tuple[WindowRef, ...], bytes] = {}  # where holds count, packed

    async def clear(self, *, every_window: bool) -> bool:
        if not await replace_fence(self._connection, self._meta, self._seen.text, self._lowered):
            return False
        arguments, found = (self._lowered, CLEAR_BATCH), 1
        while found > 0:
            reply: Any = await self._connection.run(scripts.CLEAR, (self._meta, self._live), arguments)
            found = reply
        return found == 0 and (not every_window or await self._forget_windows())

    async def put_holds(self, holds: Sequence[LiveHold], term_of: Callable[[WindowRef], Term | None]) -> bool:
        starts = range(0, len(holds), SET_BATCH)
        return await self._set(
            self._hold_commands(holds[start : start + SET_BATCH], term_of) for start in starts
        )

    async def put_windows(self, windows: Iterable[Restored]) -> bool:
        waiting = iter(windows)
        batches = iter(lambda: list(islice(waiting, SET_BATCH)), [])
        return await self._set(
            [command for window in some for command in self._window_commands(window)] for some in batches
        )

    async def raise_fence(self, version: int) -> bool:
        raised = f"{self._epoch} {self._seen.run_id}"
        return await replace_fence(self._connection, self._meta, self._lowered, raised, str(version))

    async def _forget_windows(self) -> bool:
        start = len(self._keys.windows_start(self._organization))
        async for found in window_keys(self._connection, self._keys, self._organization):
            windows = [window_of(key[start:], None) for key in found]
            values = [(self._keys.values(self._organization, each), each.each_value) for each in windows]
            gone: list[Command] = [("SREM", *value) for value in values]
            if found and not await self._set([(("DEL", *found), *gone)]):
                return False
        return True

    async def _set(self, batches: Iterable[Sequence[Command]]) -> bool:
        """Each batch is made ready while the one before is carried out."""
        under_way: asyncio.Future[bool] | None = None
        try:
            for commands in batches:
                transaction = pack((("MULTI",), *commands, ("EXEC",)))
                if under_way is not None and not await under_way:
                    return False
                under_way = asyncio.ensure_future(self._carried_out(transaction))
                await asyncio.sleep(0)  # it is on its way
            return under_way is None or await under_way
        finally:
            if under_way is not None:
                under_way.cancel()

    async def _carried_out(self, transaction: Packed) -> bool:
        """Whether the fence was still this making's own."""
        if self._fence is None:
            self._fence = self._own.send_packed(self._watch)
        while checked(await self._fence) == self._lowered.encode():
            done = self._own.send_packed(transaction)
            self._fence = self._own.send_packed(self._watch)  # for the next
            if (replies := checked(await done)) is not None:
                for reply in replies:
                    checked(reply)
                return True
        return False

    def _hold_commands(
        self, holds: Sequence[LiveHold], term_of: Callable[[WindowRef], Term | None]
    ) -> list[Command]:
        organization, keys = self._organization, self._keys
        gone: list[str] = ["DEL"]
        live: list[str | int] = ["ZADD", self._live]
        own: list[str] = ["MSET"]
        hashes: list[Command] = []
        for hold in holds:
            key = keys.hold(organization, hold.reservation)
            places = self._places.get(hold.windows) or self._places_of(hold.windows, term_of)
            gone.append(key)
            hashes.append(("HSET", key, "doc", hold.document, "windows", places, "live", hold.live))
            live += (hold.expire_ms, key)
            if hold.idempotency_key:
                own += (keys.idempotency(organization, hold.idempotency_key), f"{hold.content_hash} {key}")
        commands = [tuple(gone), *hashes, tuple(live)]
        return [*commands, tuple(own)] if len(own) > 1 else commands

    def _places_of(
        self, windows: tuple[WindowRef, ...], term_of: Callable[[WindowRef], Term | None]
    ) -> bytes:
        found = [(window, term_of(window)) for window in windows]
        packed = self._places[windows] = codec.pack(
            [
                terms.place_of(self._keys, self._organization, term._replace(window=window))
                if term is not None
                else terms.place_without_terms(self._keys, self._organization, window)
                for window, term in found
            ]
        )
        return packed

    def _window_commands(self, restored: Restored) -> list[Command]:
        window, counters, term = restored
        key, forget_ms = self._keys.window(self._organization, window), _forget_ms(window, term)
        until: Command = () if forget_ms is None else ("PXAT", forget_ms)
        commands: list[Command] = [
            ("SET", key, codec.pack(counters), *until) if counters != Counters() else ("DEL", key)
        ]
        if term is not None and term.max_values > 0 and is_used(counters):
            values = self._keys.values(self._organization, window)
            commands.append(("SADD", values, window.each_value))
            if forget_ms is not None:
                commands.append(("PEXPIREAT", values, forget_ms))
        return commands


async def replace_fence(
    connection: Connection, meta: str, expected: str, new: str, version: str = ""
) -> bool:
    """Whether it was the expected one."""
    return bool(await connection.run(scripts.FENCE, (meta,), (expected, new, version)))


def _forget_ms(window: WindowRef, term: Term | None) -> int | None:
    """`None`: never."""
    if window.end_ms is None:
        return None
    return window.end_ms + OUTLIVE_MS + (term.keep_ms if term is not None else 0)
