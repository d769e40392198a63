"""What a window should be by the ledger, and how it differs: pure functions of what both stores say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from quota_service.application.operations.reconciliation_ports import KeysMoment, LedgerMoment, LiveHold, Ran
from quota_service.application.plans import Plans
from quota_service.application.terms import keeping_of
from quota_service.domain.amounts import METERS, NOTHING, Amounts, Meter
from quota_service.domain.ledger import Entry, Origin
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import WindowKey, is_kept, key_of

BORDER_MS = 60_000
"""Windows that are about to be the ledger's alone are left out for so long before."""


class Quantity(IntEnum):
    """What of a window. The numbers are the contract's."""

    SPENT = 1
    OVERRUN = 2
    ADDED = 3
    MOVED = 4
    HELD = 5
    HOLDS = 6


class Cell(NamedTuple):
    """A number of a window. `meter` `None`: for HOLDS."""

    quantity: Quantity
    meter: Meter | None


class Pair(NamedTuple):
    """What the deciding store has, and what it should have."""

    valkey: int
    ledger: int

    @property
    def difference(self) -> int:
        return self.valkey - self.ledger


Differences = Mapping[Cell, Pair]
Sums = dict[WindowKey, Counters]
"""What of some windows comes to; a window without anything may be missing."""

_OF_ENTRIES = ((Quantity.SPENT, 0), (Quantity.OVERRUN, 3), (Quantity.ADDED, 6), (Quantity.MOVED, 7))
"""What entries move, with its place in Counters."""

_HELD = 1


def differences(actual: Counters, expected: Counters, *, but_held: bool = True) -> Differences:
    """Where two states of a window differ. Without `but_held` only what is held is compared."""
    found: dict[Cell, Pair] = {}
    compared = (*(_OF_ENTRIES if but_held else ()), (Quantity.HELD, _HELD))
    for quantity, place in compared:
        here, there = actual[place], expected[place]
        assert isinstance(here, Amounts)
        assert isinstance(there, Amounts)
        for meter in METERS:
            if here[meter] != there[meter]:
                found[Cell(quantity, meter)] = Pair(here[meter], there[meter])
    if actual.holds != expected.holds:
        found[Cell(Quantity.HOLDS, None)] = Pair(actual.holds, expected.holds)
    return found


class Held:
    """What live holds hold, window by window."""

    def __init__(self, holds: Iterable[LiveHold] = ()) -> None:
        self._sums: dict[WindowKey, list[int]] = {}
        self.add(holds)

    def add(self, holds: Iterable[LiveHold]) -> None:
        """Counts holds. There may be a hundred thousand, so their sums are kept in lists."""
        for _, _, (cost_micros, tokens, requests), windows in holds:
            for window in windows:
                found = self._sums.setdefault(key_of(window), [0, 0, 0, 0])
                found[0] += cost_micros
                found[1] += tokens
                found[2] += requests
                found[3] += 1

    def with_held(self, window: WindowRef, counters: Counters) -> Counters:
        """A window with what is held in it."""
        *amounts, holds = self._sums.get(key_of(window), (0, 0, 0, 0))
        return counters._replace(held=Amounts(*amounts), holds=holds)


def expected(keys: KeysMoment, ledger: LedgerMoment) -> Sums:
    """What windows should be at the moment at which the keys were looked at, but for what is held. The ledger
    was looked at a little later: what it has learnt since is taken off again.
    """
    sums = {key: counters for key, (_, counters) in ledger.windows.items()}
    for key, counters in ledger.dead.items():
        sums[key] = _plus(sums.get(key, Counters()), counters, 1)
    _add(sums, (event.entry for event in keys.events if _is_missing(event.entry, keys, ledger)), 1)
    _add(sums, (ran.entry for ran in ledger.newer if _is_later(ran, keys)), -1)
    _add(sums, ledger.pending, -1)
    return sums


def is_comparable(window: WindowRef, now_ms: int) -> bool:
    """Whether both stores can have the same of a window: not what ended long ago, and not a value that the
    ledger cannot write as it is.
    """
    return is_kept(window, now_ms + BORDER_MS) and not {"\0", "␀"} & set(window.each_value)


def is_open(window: WindowRef, actual: Counters, plans: Plans | None) -> bool:
    """Whether a window that was running when its budget was made has begun with what the ledger sees in it:
    that comes about when it is first needed.
    """
    budget = plans.configuration.budgets.get(window.budget) if plans is not None else None
    if budget is None:
        return True
    opening = keeping_of(budget, window).opening
    return not opening or window.start_ms >= budget.since_ms or actual.opened == opening


def unexplained(
    windows: Sequence[WindowRef],
    keys: KeysMoment,
    ledger: LedgerMoment,
    held: Held,
    plans: Plans | None,
    now_ms: int,
) -> Mapping[WindowRef, Differences]:
    """How windows differ from what they should be, as far as they do."""
    sums = expected(keys, ledger)
    found = {}
    for window, actual in zip(windows, keys.windows, strict=True):
        known, _ = ledger.windows.get(key_of(window), (window, None))
        if not is_comparable(known, now_ms):
            continue
        opened = is_open(window, actual, plans)
        should = held.with_held(window, sums.get(key_of(window), Counters()))
        different = differences(actual, should, but_held=opened)
        if different:
            found[window] = different
    return found


def _is_missing(entry: Entry, keys: KeysMoment, ledger: LedgerMoment) -> bool:
    """Whether an event's entry is in these keys and not in the ledger."""
    return entry.origin is not None and entry.origin.epoch == keys.epoch and entry.key not in ledger.known


def _is_later(ran: Ran, keys: KeysMoment) -> bool:
    """Whether an entry ran in these keys after they were looked at."""
    origin = ran.origin
    return (
        origin is not None
        and origin.epoch == keys.epoch
        and _place(origin) > _place(Origin(0, keys.last_event))
    )


def _place(origin: Origin) -> tuple[int, int]:
    """Where an event stands in its stream."""
    instant, _, number = origin.event.partition("-")
    return int(instant or 0), int(number or 0)


def _add(sums: Sums, entries: Iterable[Entry], sign: int) -> None:
    """What entries charge and change, added or taken off."""
    for entry in entries:
        if entry.charged != NOTHING or entry.overrun != NOTHING:
            charge = Counters(spent=entry.charged, overrun=entry.overrun)
            for window in entry.hold.windows:
                sums[key_of(window)] = _plus(sums.get(key_of(window), Counters()), charge, sign)
        for change in entry.changes:
            if change.until_ms is None:
                key = key_of(change.window)
                limits = Counters(added=change.added, moved=change.moved)
                sums[key] = _plus(sums.get(key, Counters()), limits, sign)


def _plus(before: Counters, more: Counters, sign: int) -> Counters:
    def added(one: Amounts, other: Amounts) -> Amounts:
        return one.plus(other) if sign > 0 else one.minus(other)

    return before._replace(
        spent=added(before.spent, more.spent),
        overrun=added(before.overrun, more.overrun),
        added=added(before.added, more.added),
        moved=added(before.moved, more.moved),
    )
