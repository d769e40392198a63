"""Changing money: what raises, cuts or moves the limit of a live window.

The rules in plain Python, and what they do to a `Book`: the reference for the scripts `adjust` and
`reallocate`. Amounts are signed; a window's limit is the budget's, plus `added`, plus `moved`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.domain import windows
from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Amounts, Limits, Meter
from quota_service.domain.book import Book
from quota_service.domain.commands import Conflict, Event, OutsideBasis, Stale, Unopened
from quota_service.domain.terms import Basis, Counters, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust:
    """Add signed `amounts` to the limit of the window of `term`, once for `key` (a ledger key). The term
    limits every meter of which there is an amount.
    """

    basis: Basis
    key: str
    content_hash: str
    term: Term
    amounts: Amounts
    reason: str
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reallocate:
    """Move `amounts` of unspent, unheld headroom from one window to another, once for `key` (a ledger key).
    Both terms limit every meter of which there is an amount.
    """

    basis: Basis
    key: str
    content_hash: str
    source: Term
    destination: Term
    amounts: Amounts
    reason: str
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The limits have changed, or (`replayed`) had. Counters are those of the command's terms, afterwards."""

    now_ms: int
    counters: tuple[Counters, ...] = ()
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """The source has less than was to be moved. Counters are those of the command's terms."""

    now_ms: int
    counters: tuple[Counters, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfRange:
    """A limit would be less than nothing, or more than a limit may be. Counters are those of the command's
    terms.
    """

    now_ms: int
    counters: tuple[Counters, ...]


AdjustAnswer = Changed | OutOfRange | Stale | OutsideBasis | Unopened | Conflict
ReallocateAnswer = Changed | Short | OutOfRange | Stale | OutsideBasis | Unopened | Conflict


class Reallocated(NamedTuple):
    """Two windows after a reallocation."""

    source: Counters
    destination: Counters


def adjusted(counters: Counters, limits: Limits, amounts: Amounts) -> Counters | None:
    """The window after an adjustment; `None` where that would take its limit out of range. A cut may go below
    what is spent or held: it blocks new holds.
    """
    return _in_range(counters._replace(added=counters.added.plus(amounts)), limits, amounts)


def reallocated(
    source: Counters,
    source_limits: Limits,
    destination: Counters,
    destination_limits: Limits,
    amounts: Amounts,
) -> Reallocated | None:
    """Both windows after a reallocation; `None` where that would take a limit out of range."""
    given = _in_range(source._replace(moved=source.moved.minus(amounts)), source_limits, amounts)
    taken = _in_range(
        destination._replace(moved=destination.moved.plus(amounts)), destination_limits, amounts
    )
    return None if given is None or taken is None else Reallocated(given, taken)


def headroom(counters: Counters, limits: Limits, meter: Meter) -> int:
    """What a window can give away of a meter that is limited: what is neither spent nor held. Whatever the
    ladder says, it is measured at the limit; negative where more is spent or held.
    """
    limit = limits.changed_by(counters.change)[meter] or 0
    return limit - counters.spent[meter] - counters.held[meter]


def short_meters(counters: Counters, limits: Limits, amounts: Amounts) -> tuple[Meter, ...]:
    """The meters in which a window has less than these amounts to give away."""
    return tuple(
        meter for meter in Meter if amounts[meter] and headroom(counters, limits, meter) < amounts[meter]
    )


def _in_range(after: Counters, limits: Limits, amounts: Amounts) -> Counters | None:
    """The window, if every limit that has changed is one that a window may have.

    What was added and what was moved are each bounded too, so that they stay exact whatever the budget's own
    limit becomes.
    """
    for meter in Meter:
        if amounts[meter]:
            limit = (limits[meter] or 0) + after.change[meter]
            parts = abs(after.added[meter]), abs(after.moved[meter])
            if not 0 <= limit <= WINDOW_LIMIT_MAX or max(parts) > WINDOW_LIMIT_MAX:
                return None
    return after


# --- in a book ---


def adjust(book: Book, command: Adjust, now_ms: int) -> AdjustAnswer:
    """The reference of the script `adjust`."""
    if (answer := _begun(book, command, now_ms)) is not None:
        return answer
    term = command.term
    before = windows.get(book.windows, term.window)
    after = adjusted(before, term.limits, command.amounts)
    if after is None:
        return OutOfRange(now_ms=now_ms, counters=(before,))
    windows.put(book.windows, term.window, after)
    book.records[command.key] = command.content_hash
    return Changed(now_ms=now_ms, counters=(after,))


def reallocate(book: Book, command: Reallocate, now_ms: int) -> ReallocateAnswer:
    """The reference of the script `reallocate`."""
    if (answer := _begun(book, command, now_ms)) is not None:
        return answer
    source, destination = command.source, command.destination
    before = windows.counters(book.windows, (source.window, destination.window))
    if short_meters(before[0], source.limits, command.amounts):
        return Short(now_ms=now_ms, counters=before)
    after = reallocated(before[0], source.limits, before[1], destination.limits, command.amounts)
    if after is None:
        return OutOfRange(now_ms=now_ms, counters=before)
    windows.put(book.windows, source.window, after.source)
    windows.put(book.windows, destination.window, after.destination)
    book.records[command.key] = command.content_hash
    return Changed(now_ms=now_ms, counters=after)


def _begun(
    book: Book, command: Adjust | Reallocate, now_ms: int
) -> Stale | OutsideBasis | Changed | Conflict | Unopened | None:
    """The answer to what rests on another basis, has been done before, or finds a window not open."""
    basis = command.basis
    if basis.version < book.version:
        return Stale(now_ms=now_ms, version=book.version)
    if now_ms < basis.from_ms or (basis.until_ms is not None and now_ms >= basis.until_ms):
        return OutsideBasis(now_ms=now_ms)
    book.version = basis.version
    known = book.records.get(command.key)
    if known is not None:
        same = known == command.content_hash
        return Changed(now_ms=now_ms, replayed=True) if same else Conflict(now_ms=now_ms)
    book.expire(now_ms)
    if any(windows.is_unopened(book.windows, term) for term in _terms(command)):
        return Unopened(now_ms=now_ms)
    return None


def _terms(command: Adjust | Reallocate) -> tuple[Term, ...]:
    return (command.term,) if isinstance(command, Adjust) else (command.source, command.destination)
