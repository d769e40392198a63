"""An organization's keys made anew: cleared, filled and raised by one process, as long as no other does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from itertools import count, cycle, islice
from typing import Any, TypeVar

from quota_service.application.recovery_ports import Fence, LiveHold, Restored
from quota_service.domain.reservation import Keeping, WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import OUTLIVE_MS, is_used
from quota_service.stores.hold_documents import in_epoch
from quota_service.stores.valkey import codec, scripts
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.pipeline import Command, Packed, Pipeline, pack
from quota_service.stores.valkey.replying import checked, information

LOWERED = "-"
"""The fence of keys that are being made anew: no epoch."""

SET_BATCH = 100
"""What is set, or forgotten, in one transaction: Valkey is slower with more, and keeps others waiting."""

KEYS_PER_SCRIPT, HOLDS_PER_SCRIPT = 1_000, 200
"""What one script that forgets looks at: a millisecond or two of the server's time."""

KEYS_PASSED_BY = 8
"""Fewer than SCAN passes by in the time that it takes to look at a hold."""

T = TypeVar("T")


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
        self._left = keys.left(organization)
        self._lowered = f"{LOWERED}{epoch}"
        self._made_in = in_epoch(epoch)
        self._lanes = [_Lane(each, self._meta, self._lowered) for each in own]

    async def clear(self) -> bool:
        if not await replace_fence(self._connection, self._meta, self._seen.text, self._lowered):
            return False
        if not await self._set_aside():
            return False
        if not await self._is_memory_short():
            return True
        return await self._forget_counted() and await self._forget_left()

    async def forget_windows(self, *, every: bool) -> bool:
        by_scan = every or await self._are_holds_many()
        return await (self._forget_every_window() if by_scan else self._forget_counted())

    async def put_holds(self, parts: AsyncIterable[Sequence[LiveHold]]) -> bool:
        return await self._set(self._hold_commands(part) async for part in parts if part)

    async def put_windows(self, windows: Iterable[Restored]) -> bool:
        return await self._set(self._window_commands(part) async for part in _in_parts(windows))

    async def raise_fence(self, version: int) -> bool:
        raised = f"{self._epoch} {self._seen.run_id}"
        return await replace_fence(self._connection, self._meta, self._lowered, raised, str(version))

    async def _set_aside(self) -> bool:
        """Leaves the live holds there are to be forgotten later: no script takes them for holds any more."""
        call = self._connection.call
        is_any, are_others = await asyncio.gather(call("EXISTS", self._live), call("EXISTS", self._left))
        commands: list[Command] = []
        if is_any and are_others:  # the keys were made anew only just before
            commands += (("ZUNIONSTORE", self._left, 2, self._left, self._live), ("DEL", self._live))
        elif is_any:
            commands += (("RENAME", self._live, self._left),)
        return await self._set(part async for part in _in_parts(commands))

    async def _is_memory_short(self) -> bool:
        """Whether there might not be enough of it for what is left and as much again."""
        memory = information(await self._connection.call("INFO", "memory"))
        most = int(memory.get("maxmemory", 0))
        return 0 < most < 2 * int(memory["used_memory"])

    async def _are_holds_many(self) -> bool:
        """Whether to look at each is more work than to pass by all that the server has."""
        holds, all_keys = await asyncio.gather(
            self._connection.call("ZCARD", self._left), self._connection.call("DBSIZE")
        )
        return bool(holds * KEYS_PASSED_BY > all_keys)

    async def _forget_every_window(self) -> bool:
        keys, organization, cursor = self._keys, self._organization, b"0"
        named = (
            self._lowered,
            keys.windows_pattern(organization),
            keys.windows_start(organization),
            keys.values_start(organization),
        )
        while True:
            arguments = (*named, cursor, KEYS_PER_SCRIPT)
            reply: Any = await self._connection.run(scripts.FORGET_WINDOWS, (self._meta,), arguments)
            if (cursor := bytes(reply)) in (b"", b"0"):
                return bool(cursor)

    async def _forget_counted(self) -> bool:
        """Forgets the windows in which holds count that are left."""
        starts = (
            self._keys.windows_start(self._organization),
            self._keys.values_start(self._organization),
        )
        async for holds in self._holds_left():
            keys = (self._meta, *holds)
            if not await self._connection.run(scripts.FORGET_COUNTED, keys, (self._lowered, *starts)):
                return False
        return True

    async def _forget_left(self) -> bool:
        forgotten = await self._set([("DEL", *keys)] async for keys in self._holds_left())
        return forgotten and await self._set(part async for part in _in_parts([("DEL", self._left)]))

    async def _holds_left(self) -> AsyncIterator[tuple[str, ...]]:
        """Their keys, some at a time; nobody changes them meanwhile but who makes the keys anew."""
        for start in count(0, HOLDS_PER_SCRIPT):
            found = await self._connection.call("ZRANGE", self._left, start, start + HOLDS_PER_SCRIPT - 1)
            if found:
                yield tuple(self._keys.hold(self._organization, id_.decode()) for id_ in found)
            if len(found) < HOLDS_PER_SCRIPT:
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

    def _hold_commands(self, holds: Sequence[LiveHold]) -> list[Command]:
        hold_start = self._keys.holds_start(self._organization)
        idempotency_start = self._keys.idempotency(self._organization, "")
        live: list[str | int] = []
        own: list[str | bytes] = []
        for _, _, reservation, idempotency_key, content_hash, expire_ms, whole, _ in holds:
            own += (hold_start + reservation, self._made_in + whole)
            live += (expire_ms, reservation)
            if idempotency_key:
                own += (idempotency_start + idempotency_key, f"{content_hash} {reservation}")
        return [("MSET", *own), ("ZADD", self._live, *live)]

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
