"""Compares the deciding store with the ledger while both are in use, and sets it right.

First everything is read, one part after the other. Windows that come out equal are done. The others are
looked at again, each time with all that is on its way between the stores, until they come out equal or it is
certain that they do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from quota_service.application import authorship
from quota_service.application.configurations import Configurations
from quota_service.application.operations import comparison
from quota_service.application.operations.comparison import Cell, Differences, Held, Pair, Quantity, Sums
from quota_service.application.operations.drift import (
    HoldDrift,
    Missing,
    Progress,
    Step,
    Summary,
    Told,
    WindowDrift,
)
from quota_service.application.operations.reconciliation_ports import KeysLook, LedgerLook
from quota_service.application.operations.steadiness import Suspects
from quota_service.application.plans import Plans
from quota_service.application.recovery import Recovery
from quota_service.application.recovery_ports import EpochStore
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import OUTLIVE_MS, key_of

WINDOWS_PER_READ = 500
"""Windows that one script or statement looks at: about a millisecond of the servers' time."""

FRESH_MS = 5_000
"""The ledger may not know a hold that is younger."""

PAUSE_S = 0.4
"""Between two looks."""

T = TypeVar("T")


class _HoldRef(NamedTuple):
    reservation: str
    missing_in: Missing


@dataclass(slots=True, kw_only=True)
class _Comparison:
    """One comparison of an organization under way."""

    organization: str
    plans: Plans | None
    windows: dict[object, WindowRef] = field(default_factory=dict)
    balances: Sums = field(default_factory=dict)
    held: Held = field(default_factory=Held)
    live: dict[str, int] = field(default_factory=dict)
    suspects: list[WindowRef] = field(default_factory=list)
    hold_suspects: list[_HoldRef] = field(default_factory=list)

    def knows(self, window: WindowRef) -> None:
        """The end that comes first stays: the ledger's, which is the latest that was named."""
        self.windows.setdefault(key_of(window), window)

    def progress(self, step: Step) -> Progress:
        differing = len(self.suspects) + len(self.hold_suspects)
        return Progress(step=step, windows=len(self.windows), holds=len(self.live), differing=differing)


class Reconciliation:
    """The use case. Everything raises StoreUnavailable."""

    def __init__(
        self,
        keys: KeysLook,
        ledger: LedgerLook,
        epochs: EpochStore,
        recovery: Recovery,
        configurations: Configurations,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._epochs = epochs
        self._recovery = recovery
        self._configurations = configurations

    async def reconcile(self, organization: str, *, repair: bool, search: bool) -> AsyncGenerator[Told, None]:
        """Tells progress, drifts, and a summary; after a repair, all that once more. Raises
        OrganizationNotFound.
        """
        drifted: list[WindowRef] = []
        drifts = 0
        async for told in self._compare(organization, search=search, repaired=False):
            if isinstance(told, WindowDrift):
                drifted.append(told.window)
            if isinstance(told, Summary):
                drifts = told.drifts
            yield told
        if not (repair and drifts):
            return
        yield Progress(step=Step.REPAIRING, windows=0, holds=0, differing=drifts)
        await self._repair(organization, drifted)
        async for told in self._compare(organization, search=search, repaired=True):
            yield told

    async def _repair(self, organization: str, drifted: Sequence[WindowRef]) -> None:
        """Has the keys made anew. What a new making would not touch, because the ledger knows nothing of it,
        is dropped first; if this process ended here, another would go on, because the epoch is broken.
        """
        await self._epochs.mark_broken(organization, authorship.current())
        for part in _parts(list(dict.fromkeys(drifted))):
            await self._keys.forget(organization, part)
        await self._recovery.establish(organization)

    async def _compare(self, organization: str, *, search: bool, repaired: bool) -> AsyncIterator[Told]:
        plans = await self._configurations.newest(organization)
        await self._recovery.establish(organization)  # as every call does
        under_way = _Comparison(organization=organization, plans=plans)
        async for progress in self._read(under_way, search=search):
            yield progress
        windows, holds = Suspects(under_way.suspects), Suspects(under_way.hold_suspects)
        while windows.open or holds.open:
            yield under_way.progress(Step.LOOKING_AGAIN)
            await asyncio.sleep(PAUSE_S)
            await self._look_again(under_way, windows, holds)
            under_way.suspects, under_way.hold_suspects = windows.open, holds.open
        drifts: list[WindowDrift | HoldDrift] = [
            *_window_drifts(windows.steady, repaired),
            *_hold_drifts(holds.steady, repaired),
        ]
        for drift in drifts:
            yield drift
        yield Summary(
            windows=len(under_way.windows),
            holds=len(under_way.live),
            drifts=len(drifts),
            undecided=windows.undecided + holds.undecided,
            repaired=repaired,
        )

    async def _read(self, under_way: _Comparison, *, search: bool) -> AsyncIterator[Progress]:
        """Everything, one part after the other; what differs is suspected."""
        organization, now_ms = under_way.organization, self._keys.now_ms()
        async for balances in self._ledger.windows(organization, now_ms - OUTLIVE_MS):
            for window, counters in balances:
                under_way.knows(window)
                under_way.balances[key_of(window)] = counters
        async for part in self._keys.holds(organization):
            under_way.held.add(part)
            for hold in part:
                under_way.live[hold.reservation] = hold.create_ms
                for window in hold.windows:
                    under_way.knows(window)
            yield under_way.progress(Step.READING)
        await self._read_open(under_way)
        if search:
            async for found in self._keys.search(organization):
                for window in found:
                    under_way.knows(window)
        for some in _parts(list(under_way.windows.values())):
            await self._screen(under_way, some)
            yield under_way.progress(Step.READING)

    async def _read_open(self, under_way: _Comparison) -> None:
        """The ledger's open holds. Those that only one store has are suspected, unless they have just come
        about.
        """
        before_ms = self._keys.now_ms() - FRESH_MS
        unmatched = dict(under_way.live)
        async for part in self._ledger.open_holds(under_way.organization):
            for reservation, create_ms, windows in part:
                for window in windows:
                    under_way.knows(window)
                if unmatched.pop(reservation, None) is None and create_ms < before_ms:
                    under_way.hold_suspects.append(_HoldRef(reservation, Missing.VALKEY))
        under_way.hold_suspects += [
            _HoldRef(reservation, Missing.LEDGER)
            for reservation, create_ms in unmatched.items()
            if create_ms < before_ms
        ]

    async def _screen(self, under_way: _Comparison, windows: Sequence[WindowRef]) -> None:
        now_ms = self._keys.now_ms()
        found = await self._keys.windows(under_way.organization, windows)
        for window, actual in zip(windows, found, strict=True):
            key = key_of(window)
            should = under_way.held.with_held(window, under_way.balances.get(key, Counters()))
            if comparison.is_comparable(window, now_ms) and comparison.differences(actual, should):
                under_way.suspects.append(window)

    async def _look_again(
        self, under_way: _Comparison, windows: Suspects[WindowRef], holds: Suspects[_HoldRef]
    ) -> None:
        looked_at = windows.open
        found: dict[WindowRef, Differences] = {}
        held_later: Held | None = None
        for part in _parts(looked_at):
            after_entry = await self._ledger.newest_entry()
            keys = await self._keys.moment(under_way.organization, part)
            ledger = await self._ledger.moment(under_way.organization, part, keys.events, after_entry)
            if keys.holds is not None:
                held = Held(keys.holds)
            else:
                held = held_later = held_later or await self._held(under_way.organization)
            found |= comparison.unexplained(part, keys, ledger, held, under_way.plans, self._keys.now_ms())
        if looked_at:
            windows.look(looked_at, found)
        if holds.open:
            await self._look_at_holds(under_way.organization, holds)

    async def _held(self, organization: str) -> Held:
        held = Held()
        async for part in self._keys.holds(organization):
            held.add(part)
        return held

    async def _look_at_holds(self, organization: str, holds: Suspects[_HoldRef]) -> None:
        """A hold is missing where only one store has it and nothing of it is on its way."""
        looked_at = holds.open
        explained = set(await self._ledger.dead_reservations(organization))
        live: set[str] = set()
        opened: set[str] = set()
        for part in _parts(looked_at):
            reservations = [each.reservation for each in part]
            after_entry = await self._ledger.newest_entry()
            opened |= await self._ledger.open_among(organization, reservations)
            keys = await self._keys.moment(organization, ())
            live |= await self._keys.live_among(organization, reservations)
            ledger = await self._ledger.moment(organization, (), keys.events, after_entry)
            on_their_way = [*(event.entry for event in keys.events), *ledger.pending]
            explained |= {entry.hold.reservation for entry in on_their_way}
        holds.look(
            looked_at,
            {
                each: _MISSING
                for each in looked_at
                if each.reservation not in explained and _is_missing(each, live, opened)
            },
        )


_MISSING: Differences = {Cell(Quantity.HOLDS, None): Pair(0, 1)}
"""How a hold differs that one store has not."""


def _is_missing(hold: _HoldRef, live: set[str], opened: set[str]) -> bool:
    here, there = hold.reservation in live, hold.reservation in opened
    return (here, there) == ((False, True) if hold.missing_in is Missing.VALKEY else (True, False))


def _window_drifts(steady: Mapping[WindowRef, Differences], repaired: bool) -> Iterator[WindowDrift]:
    for window in sorted(steady, key=key_of):
        for (quantity, meter), numbers in steady[window].items():
            yield WindowDrift(
                window=window, quantity=quantity, meter=meter, numbers=numbers, after_repair=repaired
            )


def _hold_drifts(steady: Iterable[_HoldRef], repaired: bool) -> Iterator[HoldDrift]:
    for reservation, missing_in in sorted(steady):
        yield HoldDrift(reservation=reservation, missing_in=missing_in, after_repair=repaired)


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), WINDOWS_PER_READ):
        yield items[start : start + WINDOWS_PER_READ]
