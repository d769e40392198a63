"""What one transaction of the ledger has to do, worked out without the database.

A batch first claims the key of every entry, and for everything that happened to a reservation also the keys
of what must have come before: its HOLD entry and, where it is settled late, the release or the expiry. What
it wins is new and gets written; what it loses was written before, by whoever.

Entries of one reservation may meet that do not know of each other: one was settled in the ledger while the
deciding store was away, or that store's keys have been made anew in between. Then a Commit that meets a
release or an expiry becomes a late settlement, and a release or an expiry that meets a Commit is void.
Commits that come in parts count by the total that each of them tells, in whatever order they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from quota_service.application.ledger_ports import Written
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import Entry, EntryType, Origin, key_of_end, key_of_hold, key_of_late
from quota_service.domain.reservation import Hold, State, WindowRef
from quota_service.stores.postgres import holds
from quota_service.stores.postgres.entry_rows import storable

Key = tuple[str, str]
"""Organization and ledger key; for reservations and windows, organization and what is unique within it."""


class Claimed(NamedTuple):
    """What an entry got by winning its key."""

    id: int
    create_time: datetime


class Before(NamedTuple):
    """What had been written under a key; `type` `None`: so long ago that only the key is left."""

    content_hash: str
    origin: str
    type: EntryType | None


_RETURNS = (EntryType.RELEASE, EntryType.EXPIRE)
_RETURNED = (State.RELEASED, State.EXPIRED)

_IMPLIED = (EntryType.HOLD, *_RETURNS)
"""What others tell of, where it is not there itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldChange:
    """What becomes of a row of `open_holds`: made (`fresh`), moved forward, or (`hold` `None`) removed."""

    organization: str
    reservation: str
    hold: Hold | None
    fresh: bool


class Charges(NamedTuple):
    """What the ledger has charged to a reservation so far."""

    charged: Amounts = NOTHING
    overrun: Amounts = NOTHING
    pico: int = 0


Counter = tuple[str, str, str, int]
"""Organization, budget, value of `each`, start of the window: what a row of `window_balances` is about."""


@dataclass(slots=True)
class Balance:
    """What a window gains. Entries may name different ends for it, where its budget was changed meanwhile."""

    end_ms: int | None
    spent: Amounts = NOTHING
    overrun: Amounts = NOTHING
    added: Amounts = NOTHING
    moved: Amounts = NOTHING


class Batch:
    """Entries to be written together."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    @cached_property
    def claims(self) -> Mapping[Key, Entry | Hold]:
        """The keys to claim, in the order of their ids. A Hold stands for the HOLD entry that it implies."""
        told = {key_of(entry): entry for entry in reversed(self._entries) if entry.type in _IMPLIED}
        claims: dict[Key, Entry | Hold] = {}
        for entry in self._entries:
            # What is charged to a reservation that no store knew has no hold; a degraded one held nothing.
            if entry.hold.reservation and (entry.hold.held != NOTHING or entry.hold.degraded):
                key = (entry.hold.organization, key_of_hold(entry.hold.reservation))
                claims.setdefault(key, told.get(key, entry.hold))
                # The end may have gone with the deciding store's data, and nobody would write it any more.
                if entry.type is EntryType.COMMIT and entry.hold.state in _RETURNED:
                    key = (entry.hold.organization, key_of_end(entry.hold.reservation))
                    claims.setdefault(key, told.get(key) or holds.implied_return(entry.hold))
            claims.setdefault(key_of(entry), entry)
        return claims

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    @cached_property
    def organizations(self) -> Sequence[str]:
        return sorted({entry.hold.organization for entry in self._entries})

    @cached_property
    def reservations(self) -> Mapping[Key, bool]:
        """Those that are charged, and whether by entries that need not know of each other: parts, late ones,
        and
        those that the deciding store has not run.
        """
        found: dict[Key, bool] = {}
        for entry in self._entries:
            if entry.type is EntryType.COMMIT and entry.hold.reservation:
                key = (entry.hold.organization, entry.hold.reservation)
                found[key] = found.get(key, False) or is_part(entry) or entry.late or entry.origin is None
        return found

    def rekeyed(self, before: Mapping[Key, Before]) -> Batch:
        """This batch with other keys for what found its own taken and has happened all the same; the batch
        itself where there is nothing of the kind.

        A Commit that met a release or an expiry is the late settlement. A part that met another one, of an
        epoch that counted them otherwise, goes by its own epoch's count.
        """
        changed = [_rekeyed(entry, before) for entry in self._entries]
        return Batch(changed) if changed != list(self._entries) else self

    def new_entries(self, won: Mapping[Key, Claimed]) -> list[tuple[Claimed, Entry]]:
        """The entries to write by rising id, those that are implied included."""
        return [
            (won[key], claim if isinstance(claim, Entry) else holds.implied_hold(claim))
            for key, claim in self.claims.items()
            if key in won
        ]

    def lost(self, won: Mapping[Key, Claimed]) -> list[Key]:
        """Keys of the batch's own entries that were written before."""
        return [key for key in dict.fromkeys(map(key_of, self._entries)) if key not in won]

    def replayed(self, won: Mapping[Key, Claimed]) -> list[Entry]:
        """The batch's own entries that were written before."""
        return [entry for entry in self._entries if key_of(entry) not in won]

    def results(self, won: Mapping[Key, Claimed], before: Mapping[Key, Before]) -> list[Written]:
        """One an entry. `before`: what had been written under the keys that were lost."""
        results = []
        hashes = {key: self.claims[key].content_hash for key in won if key in self.claims}
        hashes |= {key: known.content_hash for key, known in before.items()}
        fresh = set(won)
        for entry in self._entries:
            key = key_of(entry)
            if key in fresh:
                fresh.remove(key)
                results.append(Written.NEW)
            elif hashes[key] == entry.content_hash:
                results.append(Written.REPLAYED)
            else:
                is_void = any(_meets(entry, before, type_, (EntryType.COMMIT,)) for type_ in _RETURNS)
                results.append(Written.VOID if is_void else Written.CONFLICT)
        return results


def is_part(entry: Entry) -> bool:
    """Whether a Commit is one of several of its reservation."""
    return not entry.final or bool(entry.hold.parts or entry.hold.late_parts)


def origin_text(origin: Origin | None) -> str:
    """As `ledger_keys` has it."""
    return f"{origin.epoch}/{origin.event}" if origin is not None else ""


def key_of(entry: Entry) -> Key:
    return entry.hold.organization, storable(entry.key)


def without_known(entry: Entry, known: Charges) -> Entry:
    """The entry of a Commit with only what the ledger has not charged to its reservation before.

    `known`: what it has charged so far. A Commit's total counts, whatever the parts it came in.
    """
    hold = entry.hold
    total = hold.charged.at_least(known.charged)
    return replace(
        entry,
        charged=total.minus(known.charged),
        overrun=total.beyond(hold.held).beyond(known.overrun),
        cost_pico=max(0, hold.charged_pico - known.pico),
    )


def _meets(entry: Entry, before: Mapping[Key, Before], type_: EntryType, others: Sequence[EntryType]) -> bool:
    """Whether an entry of that type found its key taken by one of another kind."""
    known = before.get(key_of(entry))
    return entry.type is type_ and known is not None and known.type in others


def _rekeyed(entry: Entry, before: Mapping[Key, Before]) -> Entry:
    known = before.get(key_of(entry))
    if entry.type is not EntryType.COMMIT or known is None or known.content_hash == entry.content_hash:
        return entry
    if known.type in _RETURNS:
        return replace(entry, key=key_of_late(entry.hold.reservation, 0), late=True)
    if not entry.final and entry.origin is not None:
        return replace(entry, key=f"{entry.key}/{entry.origin.epoch}")
    return entry


def hold_changes(written: Iterable[Entry]) -> list[HoldChange]:
    """What new entries do to the open holds.

    Whoever writes anything of a reservation writes its HOLD entry first. So a row is made together with that
    entry or never, and an entry that comes after the end has no row to bring back.
    """
    newest: dict[Key, Hold] = {}
    fresh: set[Key] = set()
    for entry in written:
        key = (entry.hold.organization, entry.hold.reservation)
        if not entry.hold.reservation:
            continue
        if entry.type is EntryType.HOLD:
            fresh.add(key)
        newest[key] = max(newest.get(key, entry.hold), entry.hold, key=holds.rank)
    changes = []
    for key, hold in newest.items():
        live = hold.state is State.HELD
        if live or key not in fresh:
            changes.append(
                HoldChange(
                    organization=key[0], reservation=key[1], hold=hold if live else None, fresh=key in fresh
                )
            )
    return changes


def balances(written: Sequence[Entry]) -> Mapping[Counter, Balance]:
    """What new entries charge and change, window by window."""
    sums: dict[Counter, Balance] = {}
    for entries in _by_windows(written):
        hold = entries[0].hold
        spent, overrun = (
            _total(entry.charged for entry in entries),
            _total(entry.overrun for entry in entries),
        )
        for window in hold.windows:
            balance = _balance(sums, hold.organization, window)
            balance.spent, balance.overrun = balance.spent.plus(spent), balance.overrun.plus(overrun)
    for entry in written:
        for change in entry.changes:
            if change.until_ms is None:
                balance = _balance(sums, entry.hold.organization, change.window)
                balance.added = balance.added.plus(change.added)
                balance.moved = balance.moved.plus(change.moved)
    return sums


def _by_windows(written: Iterable[Entry]) -> Iterable[Sequence[Entry]]:
    """Entries that charge something, those together that share their windows with others of their kind."""
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in written:
        if entry.charged != NOTHING or entry.overrun != NOTHING:
            groups.setdefault((entry.hold.organization, id(entry.hold.windows)), []).append(entry)
    return groups.values()


def _total(amounts: Iterable[Amounts]) -> Amounts:
    return Amounts(*map(sum, zip(*amounts, strict=True)))


def _balance(sums: dict[Counter, Balance], organization: str, window: WindowRef) -> Balance:
    key = (organization, window.budget, storable(window.each_value), window.start_ms)
    balance = sums.setdefault(key, Balance(window.end_ms))
    balance.end_ms = _later(balance.end_ms, window.end_ms)
    return balance


def _later(one_ms: int | None, other_ms: int | None) -> int | None:
    """`None` is no end."""
    return None if one_ms is None or other_ms is None else max(one_ms, other_ms)
