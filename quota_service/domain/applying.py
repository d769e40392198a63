"""Bringing to a book what the ledger has and it has not: the reference of the script `apply`.

An entry may have run elsewhere, while the deciding store was away, or before its keys were made anew. Whether
these have it is told by how far the reservation is in its life, and what is missing by its totals, whatever
entries they came by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quota_service.domain import windows
from quota_service.domain.book import Book
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import Hold, Move, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The book has the entry, or (`replayed`) had it."""

    now_ms: int
    replayed: bool = False


def apply(book: Book, entry: Entry, now_ms: int) -> Applied:
    """Makes no event: the ledger has its entry. Not for entries that change limits."""
    return _settle(book, entry, now_ms) if entry.hold.reservation else _charge(book, entry, now_ms)


def _charge(book: Book, entry: Entry, now_ms: int) -> Applied:
    """What was charged without a reservation, once for its key."""
    if entry.key in book.records:
        return Applied(now_ms=now_ms, replayed=True)
    book.records[entry.key] = entry.content_hash
    _move(book, entry.hold, Move(entry.hold, spent=entry.charged, overrun=entry.overrun), now_ms)
    return Applied(now_ms=now_ms)


def _settle(book: Book, entry: Entry, now_ms: int) -> Applied:
    after, here = entry.hold, book.holds.get(entry.hold.reservation)
    if here is not None and _has_passed(here, after):
        after = _charged_more(here, after)
        if after.charged == here.charged:
            book.holds[after.reservation] = after
            return Applied(now_ms=now_ms, replayed=True)
    is_live = after.state is State.HELD
    if here is None:
        move = Move(
            after, spent=entry.charged, held=after.remaining, holds=int(is_live), overrun=entry.overrun
        )
        if is_live and after.idempotency_key:
            book.reservations[after.idempotency_key] = after.reservation
    else:
        after = _further(here, after)
        move = Move(
            after,
            spent=after.charged.minus(here.charged),
            held=after.remaining.minus(here.remaining),
            holds=int(is_live) - int(here.state is State.HELD),
            overrun=after.charged.beyond(after.held).minus(here.charged.beyond(here.held)),
        )
    book.holds[after.reservation] = after
    _move(book, after, move, now_ms)
    return Applied(now_ms=now_ms)


def _has_passed(here: Hold, there: Hold) -> bool:
    """Whether the hold that is here is at least as far in its life as the one that is to be. It may have been
    charged less all the same.
    """
    if here.settlement is not None or there.settlement is not None:
        return here.settlement is not None
    if there.state is State.HELD:
        return here.state is not State.HELD or _progress(here) >= _progress(there)
    return here.state is not State.HELD and here.late_parts >= there.late_parts


def _progress(hold: Hold) -> int:
    return hold.parts + hold.granted_output_tokens + hold.expire_ms


def _charged_more(here: Hold, there: Hold) -> Hold:
    """What has been settled late here, because its time was over before the Commit was brought, had been
    settled in time.
    """
    in_time = there.state is State.COMMITTED and here.state is not State.COMMITTED
    return replace(
        _further(here, there) if in_time else here,
        charged=here.charged.at_least(there.charged),
        charged_pico=max(here.charged_pico, there.charged_pico),
    )


def _further(here: Hold, there: Hold) -> Hold:
    """What is fixed stays as it is here; what has been charged is never less than either."""
    return replace(
        here,
        state=there.state,
        held=there.held,
        granted_output_tokens=there.granted_output_tokens,
        charged=there.charged.at_least(here.charged),
        charged_pico=there.charged_pico,
        parts=there.parts,
        late_parts=there.late_parts,
        create_ms=there.create_ms,
        expire_ms=there.expire_ms,
        end_ms=there.end_ms,
        settle_hash=there.settle_hash,
        settlement=there.settlement,
    )


def _move(book: Book, hold: Hold, move: Move, now_ms: int) -> None:
    windows.move(book.windows, hold.windows, move, now_ms)
