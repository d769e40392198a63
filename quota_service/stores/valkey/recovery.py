"""An organization's keys behind their fence: lowered, made anew, raised, and brought up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any

from quota_service.application.recovery_ports import Fence, Restored
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import Hold, State, WindowRef
from quota_service.domain.terms import Counters, Term
from quota_service.domain.windows import OUTLIVE_MS, is_used
from quota_service.stores.valkey import codec, scripts, terms
from quota_service.stores.valkey.events import REMEMBER_MS, event_of_stream, forgettable
from quota_service.stores.valkey.runner import Arguments, Runner

LOWERED = "-"
"""The fence of keys that are being made anew: no epoch."""

REMEMBER_APPLIED_MS = 26 * 3_600_000
"""As long as the ledger remembers what was pending: whatever was brought is not brought twice."""

CLEAR_BATCH = 500
FILL_BATCH = 500
FILLS_AT_ONCE = 16
"""So few that the last one is answered before it counts as lost."""

_ONLY_ANEW = (EntryType.ADJUST, EntryType.REALLOCATE, EntryType.ROLLOVER)


class ValkeyKeys:
    """Implements `KeyStore`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._connection = runner.connection
        self._keys = runner.keys
        # Where holds count, for each organization whose keys are being made anew.
        self._lowered: dict[str, str] = {}
        self._packed: dict[str, dict[tuple[WindowRef, ...], bytes]] = {}

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
        return seen.text.startswith(LOWERED) or await self._set_fence(organization, seen.text, LOWERED)

    async def raise_fence(self, organization: str, epoch: int, run_id: str, version: int) -> bool:
        return await self._set_fence(organization, _lowered(epoch), f"{epoch} {run_id}", str(version))

    async def waiting(self, organization: str, count: int) -> Sequence[Event]:
        stream = self._keys.events(organization)
        found = await self._connection.call("XRANGE", stream, "-", "+", "COUNT", count)
        return [event_of_stream(id_, fields) for id_, fields in found]

    async def drop(self, organization: str, events: Sequence[Event]) -> None:
        keys = (*self._keys.common(organization), *forgettable(self._keys, organization, events))
        arguments: Arguments = (REMEMBER_MS, *(event.id for event in events))
        await self._connection.run(scripts.DROP, keys, arguments)

    async def clear(self, organization: str, seen: Fence, epoch: int) -> bool:
        self._packed[organization] = {}
        lowered = self._lowered[organization] = _lowered(epoch)
        if not await self._set_fence(organization, seen.text, lowered):
            return False
        keys = self._keys.common(organization)[:2]
        found: Any = 1
        while found > 0:
            found = await self._connection.run(scripts.CLEAR, keys, (lowered, CLEAR_BATCH))
        return bool(found == 0)

    async def put_holds(
        self, organization: str, holds: Sequence[Hold], term_of: Callable[[WindowRef], Term | None]
    ) -> bool:
        places, rows = self._packed.setdefault(organization, {}), []
        for hold in holds:
            packed = places.get(hold.windows)
            if packed is None:
                packed = places[hold.windows] = self._places(organization, hold.windows, term_of)
            rows.append(self._row(hold, packed))
        batches = (rows[start : start + FILL_BATCH] for start in range(0, len(rows), FILL_BATCH))
        return await self._fill(organization, [(len(batch), *chain(*batch)) for batch in batches])

    async def put_windows(self, organization: str, windows: Iterable[Restored]) -> bool:
        rows: list[tuple[str | bytes | int, ...]] = []
        for window, counters, term in windows:
            is_counted = term is not None and term.max_values > 0 and is_used(counters)
            rows.append(
                (
                    self._keys.window(organization, window),
                    codec.pack(counters) if counters != Counters() else b"",
                    _forget_ms(window, term),
                    self._keys.values(organization, window) if is_counted else "",
                    window.each_value,
                )
            )
        self._packed.pop(organization, None)
        batches = (rows[start : start + FILL_BATCH] for start in range(0, len(rows), FILL_BATCH))
        return await self._fill(organization, ((0, *chain(*batch)) for batch in batches))

    async def _fill(self, organization: str, steps: Iterable[Arguments]) -> bool:
        """Steps that keep nobody else waiting for long, several on their way at once."""
        keys, waiting = self._keys.common(organization)[:2], iter(steps)
        while some := list(islice(waiting, FILLS_AT_ONCE)):
            runs = [
                self._connection.run(scripts.FILL, keys, (self._lowered[organization], *step))
                for step in some
            ]
            if not all(await asyncio.gather(*runs)):
                return False
        return True

    def _row(self, hold: Hold, places: bytes) -> tuple[str | bytes | int, ...]:
        key = self._keys.hold(hold.organization, hold.reservation)
        own = self._keys.idempotency(hold.organization, hold.idempotency_key) if hold.idempotency_key else ""
        document, live = codec.encode_document(hold), codec.encode_live(hold)
        return key, document, places, live, hold.expire_ms, own, f"{hold.content_hash} {key}"

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
            codec.encode_document(hold),
            terms.encode_windows(self._keys, organization, hold.windows),
            codec.encode_live(hold),
            codec.pack(entry.charged),
            codec.pack(entry.overrun),
            content,
            REMEMBER_APPLIED_MS,
        )
        await self._runner.run(organization, scripts.APPLY, keys, arguments, epoch=epoch)
        return True

    def _places(
        self, organization: str, windows: tuple[WindowRef, ...], term_of: Callable[[WindowRef], Term | None]
    ) -> bytes:
        found = [(window, term_of(window)) for window in windows]
        return codec.pack(
            [
                terms.place_of(self._keys, organization, term._replace(window=window))
                if term is not None
                else terms.place_without_terms(self._keys, organization, window)
                for window, term in found
            ]
        )

    async def _set_fence(self, organization: str, expected: str, new: str, version: str = "") -> bool:
        keys = (self._meta(organization),)
        return bool(await self._connection.run(scripts.FENCE, keys, (expected, new, version)))

    def _meta(self, organization: str) -> str:
        return self._keys.common(organization)[0]


def fence_of(text: str, run_id: str) -> Fence:
    """A fence from its text, as a server of that run answered it."""
    epoch, _, made_in = text.partition(" ")
    return Fence(text, int(epoch) if made_in else 0, made_in, run_id)


def _lowered(epoch: int) -> str:
    """The fence of keys that are being made for an epoch, by whoever is alone with it."""
    return f"{LOWERED}{epoch}"


def _forget_ms(window: WindowRef, term: Term | None) -> int | str:
    """Nothing: never."""
    if window.end_ms is None:
        return ""
    return window.end_ms + OUTLIVE_MS + (term.keep_ms if term is not None else 0)
