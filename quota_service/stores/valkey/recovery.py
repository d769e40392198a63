"""An organization's keys behind their fence: lowered, made anew, raised, and brought up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from quota_service.application.recovery_ports import Fence
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import State
from quota_service.stores import hold_documents
from quota_service.stores.valkey import codec, scripts
from quota_service.stores.valkey.events import REMEMBER_MS, event_of_stream, forgettable, named
from quota_service.stores.valkey.making import LOWERED, ValkeyMaking, replace_fence
from quota_service.stores.valkey.runner import Arguments, Runner

REMEMBER_APPLIED_MS = 26 * 3_600_000
"""As long as the ledger remembers what was pending: whatever was brought is not brought twice."""

LANES = 3
"""Connections for making keys anew: so many transactions are under way while the next is made ready. With
more it takes no less time.
"""

_ONLY_ANEW = (EntryType.ADJUST, EntryType.REALLOCATE, EntryType.ROLLOVER)


class ValkeyKeys:
    """Implements `KeyStore`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._connection = runner.connection
        self._keys = runner.keys

    def now_ms(self) -> int:
        return self._runner.now_ms()

    def known_epoch(self, organization: str) -> int:
        return self._runner.epoch_of(organization)

    def adopt(self, organization: str, epoch: int) -> None:
        self._runner.adopt(organization, epoch)

    async def fence(self, organization: str) -> Fence:
        await self._connection.refresh()
        run_id = await self._connection.run_id()
        raw = await self._connection.call("HGET", self._meta(organization), "fence")
        return fence_of(raw.decode() if raw is not None else "", run_id)

    async def lower(self, organization: str, seen: Fence) -> bool:
        is_lowered = seen.text.startswith(LOWERED)
        return is_lowered or await replace_fence(
            self._connection, self._meta(organization), seen.text, LOWERED
        )

    async def waiting(self, organization: str, count: int) -> Sequence[Event]:
        stream = self._keys.events(organization)
        found = await self._connection.call("XRANGE", stream, "-", "+", "COUNT", count)
        return [event_of_stream(id_, fields) for id_, fields in found]

    async def drop(self, organization: str, events: Sequence[Event]) -> None:
        keys = (*self._keys.common(organization), *forgettable(self._keys, organization, events))
        arguments: Arguments = (REMEMBER_MS, self._keys.holds_start(organization), *named(events))
        await self._connection.run(scripts.DROP, keys, arguments)

    @asynccontextmanager
    async def make(self, organization: str, seen: Fence, epoch: int) -> AsyncIterator[ValkeyMaking]:
        async with AsyncExitStack() as stack:
            own = [await stack.enter_async_context(self._connection.apart()) for _ in range(LANES)]
            yield ValkeyMaking(self._connection, own, self._keys, organization, seen, epoch)

    async def apply(self, entry: Entry, epoch: int) -> bool:
        if entry.type in _ONLY_ANEW:
            return False
        hold, organization = entry.hold, entry.hold.organization
        marker = self._keys.record(organization, entry.key)
        keys, content = (marker, marker), entry.content_hash
        if hold.reservation:
            own = self._keys.hold(organization, hold.reservation)
            has_key = hold.state is State.HELD and hold.idempotency_key
            keys = (own, self._keys.idempotency(organization, hold.idempotency_key) if has_key else own)
            content = hold.content_hash
        arguments = (
            "hold" if hold.reservation else "record",
            hold_documents.encode_document(hold),
            hold_documents.encode_live(hold),
            codec.pack(entry.charged),
            codec.pack(entry.overrun),
            content,
            REMEMBER_APPLIED_MS,
        )
        await self._runner.run(organization, scripts.APPLY, keys, arguments, epoch=epoch)
        return True

    def _meta(self, organization: str) -> str:
        return self._keys.common(organization)[0]


def fence_of(text: str, run_id: str) -> Fence:
    """A fence from its text, as a server of that run answered it."""
    epoch, _, made_in = text.partition(" ")
    return Fence(text, int(epoch) if made_in else 0, made_in, run_id)
