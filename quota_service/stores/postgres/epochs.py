"""Epochs of the deciding store, and what the ledger has that its keys have not: within a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from quota_service.application.ledger_ports import Written
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.batch import (
    Batch,
    Before,
    Charges,
    Key,
    is_part,
    key_of,
    origin_text,
    without_known,
)
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("epochs")

PICO_PER_USD = 10**12

_CHARGING = (EntryType.COMMIT, EntryType.RECORD, EntryType.ADJUST, EntryType.REALLOCATE, EntryType.ROLLOVER)
"""What a script must not do a second time."""

encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


class State(NamedTuple):
    """What a transaction finds: the epoch of each organization (0: none), and the reservations for which
    there are pending applications.
    """

    epochs: Mapping[str, int]
    contested: frozenset[Key]

    def epoch_of(self, entry: Entry) -> int:
        """Of the entry's organization."""
        return self.epochs[entry.hold.organization]

    def has_run(self, entry: Entry) -> bool:
        """Whether the deciding store's keys have it."""
        return entry.origin is not None and entry.origin.epoch == self.epoch_of(entry)


async def begin(connection: Connection, batch: Batch) -> State:
    """No epoch of the batch's organizations begins before the transaction ends."""
    owners, reservations = zip(*batch.reservations, strict=True) if batch.reservations else ((), ())
    alone = list(batch.reservations.values())
    rows = await connection.fetch(_SQL["begin"], batch.organizations, owners, reservations, alone)
    return State(
        {row["organization"]: row["epoch"] for row in rows},
        frozenset((row["organization"], name) for row in rows for name in row["contested"] or ()),
    )


async def reduced(connection: Connection, entries: Sequence[Entry], state: State) -> list[Entry]:
    """The entries, with Commits charging what the ledger has not charged yet, where that may be another
    amount: they come in parts, or do not know of all that the ledger has.
    """
    commits = [entry for entry in entries if entry.type is EntryType.COMMIT]
    contested = {_reservation(entry) for entry in commits} & state.contested
    contested |= {_reservation(entry) for entry in commits if is_part(entry) or not state.has_run(entry)}
    if not contested:
        return list(entries)
    known = await charges(connection, contested)
    result = []
    for entry in entries:
        key = _reservation(entry)
        if entry.type is EntryType.COMMIT and key in contested:
            before = known.get(key, Charges())
            entry = without_known(entry, before)
            known[key] = Charges(
                before.charged.plus(entry.charged),
                before.overrun.plus(entry.overrun),
                before.pico + entry.cost_pico,
            )
        result.append(entry)
    return result


async def note(
    connection: Connection,
    state: State,
    new: Iterable[Entry],
    told: Iterable[tuple[Entry, Written]],
    before: Mapping[Key, Before],
) -> None:
    """Remembers what the deciding store's keys have not, and where they have more than the ledger.

    `new`: entries just written, but for those that others imply. `told`: every entry with what became of it.
    """
    pending = [entry for entry in new if not (state.has_run(entry) or _only_lasting(entry))]
    if pending:
        rows = [
            (*key_of(entry), entry.hold.reservation, encode_entry(entry), state.epoch_of(entry))
            for entry in pending
        ]
        await connection.execute(_SQL["add_pending"], *zip(*rows, strict=True))
    doubled = [
        (entry, written)
        for entry, written in told
        if state.has_run(entry)
        and key_of(entry) in before
        and before[key_of(entry)].origin != origin_text(entry.origin)
        and (entry.type in _CHARGING or written is Written.VOID)
    ]
    if doubled:
        await _check_doubled(connection, doubled, state)


async def mark_broken(connection: Connection, organizations: Sequence[str]) -> None:
    await connection.execute(_SQL["mark_broken"], sorted(organizations))


async def _check_doubled(
    connection: Connection, doubled: Sequence[tuple[Entry, Written]], state: State
) -> None:
    """A script has run what the ledger had already by another way. Where that was pending for these keys,
    they have it by now; otherwise they were made with it, and have it twice, or have something else.
    """
    keys = sorted({key_of(entry) for entry, _ in doubled})
    same = sorted({key_of(entry) for entry, written in doubled if written is Written.REPLAYED})
    rows = await connection.fetch(_SQL["pending_of_keys"], *zip(*keys, strict=True))
    known = {(row["organization"], row["key"]): (row["epoch"], decode_entry(row["entry"])) for row in rows}
    if same:
        await connection.execute(_SQL["applied"], *zip(*same, strict=True))
    broken = {
        key_of(entry)[0]
        for entry, written in doubled
        if written is Written.CONFLICT
        or key_of(entry) not in known
        or not _is_same(entry, *known[key_of(entry)], state)
    }
    if broken:
        await mark_broken(connection, sorted(broken))


def _is_same(entry: Entry, epoch: int, pending: Entry, state: State) -> bool:
    """Whether what a script has run is what was pending for its keys. What a Record charges now may be
    another amount, or in other windows, than a moment ago; of a reservation the totals tell.
    """
    effect = (pending.charged, pending.hold.windows)
    is_record = entry.type is EntryType.RECORD
    return epoch == state.epoch_of(entry) and (not is_record or (entry.charged, entry.hold.windows) == effect)


async def charges(connection: Connection, reservations: Collection[Key]) -> dict[Key, Charges]:
    """What the ledger has charged to some reservations."""
    if not reservations:
        return {}
    rows = await connection.fetch(_SQL["charges_of_reservations"], *zip(*sorted(reservations), strict=True))
    return {
        (row["organization"], row["reservation"]): Charges(
            Amounts(row["charged_cost_micros"], row["charged_tokens"], row["charged_requests"]),
            Amounts(row["overrun_cost_micros"], row["overrun_tokens"], row["overrun_requests"]),
            int(row["exact_cost_usd"] * PICO_PER_USD),
        )
        for row in rows
    }


async def known_keys(connection: Connection, organization: str, keys: Sequence[str]) -> frozenset[str]:
    """Those of some keys that the organization's ledger has."""
    if not keys:
        return frozenset()
    named = {storable(key): key for key in keys}
    rows = await connection.fetch(_SQL["known_keys"], organization, list(named))
    return frozenset(named[row["key"]] for row in rows)


def _reservation(entry: Entry) -> Key:
    return entry.hold.organization, entry.hold.reservation


def _only_lasting(entry: Entry) -> bool:
    """Whether it only changes the configuration, which has it."""
    return bool(entry.changes) and all(change.until_ms is not None for change in entry.changes)
