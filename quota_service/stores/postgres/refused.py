"""What entries that the ledger refuses would change in it: keys that are made anew count them as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import asyncpg
import msgspec

from quota_service.domain.ledger import Entry, Origin
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import WindowKey, key_of
from quota_service.stores.postgres import holds, sql
from quota_service.stores.postgres.batch import Balance, Counter
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("dead_letters")

encode_entry = msgspec.json.Encoder().encode
"""JSON has room for any number, which may be why the ledger refuses the entry."""

_decode_entry = msgspec.json.Decoder(Entry).decode


def entry_of(row: asyncpg.Record) -> Entry:
    """The entry of a dead letter, told of by its event in the epoch whose keys count it."""
    origin = Origin(row["epoch"], row["event"]) if row["event"] else None
    return replace(_decode_entry(row["entry"]), origin=origin)


async def counted(connection: Connection, organization: str) -> list[Entry]:
    """The entries of dead letters that the ledger has not."""
    return _entries(await connection.fetch(_SQL["counted"], organization))


async def counted_by_keys(pool: asyncpg.Pool | Connection, organization: str) -> list[Entry]:
    """Those of them that the deciding store's keys have."""
    return _entries(await pool.fetch(_SQL["counted_by_keys"], organization))


async def holds_of(pool: asyncpg.Pool, organization: str, reservation: str) -> list[Hold]:
    """The states of a reservation that such entries tell of."""
    arguments = organization, storable(reservation)
    return [entry.hold for entry in _entries(await pool.fetch(_SQL["counted_of_reservation"], *arguments))]


async def begin_epoch(connection: Connection, organization: str, epoch: int) -> None:
    """The keys that are about to be made for an epoch count them."""
    await connection.execute(_SQL["begin_epoch"], organization, epoch)


def latest_holds(entries: Iterable[Entry]) -> dict[str, Hold]:
    """The furthest state that entries tell of each reservation."""
    latest: dict[str, Hold] = {}
    for hold in (entry.hold for entry in entries if entry.hold.reservation):
        latest[hold.reservation] = further(hold, latest.get(hold.reservation))
    return latest


def further(hold: Hold, other: Hold | None) -> Hold:
    """The later of two states of a reservation."""
    return hold if other is None else max(hold, other, key=holds.rank)


def windows_with(
    known: Iterable[tuple[WindowRef, Counters]], gains: Mapping[Counter, Balance], ended_after_ms: int
) -> list[tuple[WindowRef, Counters]]:
    """Where windows stand that have also gained something; with those that end later, or never, and have
    nothing else.
    """
    by_key: dict[WindowKey, tuple[WindowRef, Counters]] = {key_of(window[0]): window for window in known}
    for window, counters in gains_of(gains):
        before = by_key.get(key_of(window))
        if before is not None:
            by_key[key_of(window)] = (_later(before[0], window), _plus(before[1], counters))
        elif window.end_ms is None or window.end_ms > ended_after_ms:
            by_key[key_of(window)] = (window, counters)
    return list(by_key.values())


def gains_of(gains: Mapping[Counter, Balance]) -> Iterator[tuple[WindowRef, Counters]]:
    """What windows of one organization gain, as counters."""
    for (_, budget, each_value, start_ms), gain in gains.items():
        window = WindowRef(budget, each_value, start_ms, gain.end_ms)
        yield window, Counters(spent=gain.spent, overrun=gain.overrun, added=gain.added, moved=gain.moved)


def _entries(rows: Sequence[asyncpg.Record]) -> list[Entry]:
    return [_decode_entry(row["entry"]) for row in rows]


def _later(window: WindowRef, other: WindowRef) -> WindowRef:
    if window.end_ms is None or other.end_ms is None:
        return window._replace(end_ms=None)
    return window._replace(end_ms=max(window.end_ms, other.end_ms))


def _plus(one: Counters, other: Counters) -> Counters:
    return one._replace(
        spent=one.spent.plus(other.spent),
        overrun=one.overrun.plus(other.overrun),
        added=one.added.plus(other.added),
        moved=one.moved.plus(other.moved),
    )
