"""Opening a window that begins with something, before anything counts in it.

A window of a budget with rollover begins with what is carried into it; one that was running when its budget
was made begins with what the ledger says had been spent. Both are worked out once, by whoever comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.domain import windows
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.book import Book
from quota_service.domain.commands import Event, OutsideBasis, Stale
from quota_service.domain.reservation import WindowRef
from quota_service.domain.rollover import Remainder
from quota_service.domain.terms import Basis, Counters, Term


class FromLedger(NamedTuple):
    """Where the window stands in the ledger: for one that was running when its budget was made.

    `spent_more` and `overrun_more` are by how much that is more than an earlier budget of the same id had
    counted: what its calls under way charge meanwhile comes on top, whatever the ledger knows of it yet.
    """

    spent: Amounts = NOTHING
    overrun: Amounts = NOTHING
    added: Amounts = NOTHING
    moved: Amounts = NOTHING
    spent_more: Amounts = NOTHING
    overrun_more: Amounts = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPrevious:
    """What is left of the window before, as the deciding store knows it: worked out in the same step."""

    window: WindowRef
    remainder: Remainder


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What is carried, as it has been worked out or (`in_ledger`) had been before."""

    amounts: Amounts
    in_ledger: bool = False


Beginning = FromPrevious | Carried | FromLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Let the window of `term` begin with something, under the number `term.opening`, if it has not been
    opened under it. `beginning` `None`: the caller does not know yet with what.
    """

    basis: Basis
    term: Term
    beginning: Beginning | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The window is open, or (`replayed`) had been. The event says what was carried, if anything was."""

    now_ms: int
    counters: Counters
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginningUnknown:
    """The window is not open, and this store cannot tell with what it begins."""

    now_ms: int


OpenAnswer = Opened | BeginningUnknown | Stale | OutsideBasis


def opened(book: Book, command: Open, now_ms: int) -> OpenAnswer:
    """The reference: what the script does, in a book."""
    basis, term = command.basis, command.term
    if basis.version < book.version:
        return Stale(now_ms=now_ms, version=book.version)
    if now_ms < basis.from_ms or (basis.until_ms is not None and now_ms >= basis.until_ms):
        return OutsideBasis(now_ms=now_ms)
    book.version = basis.version
    book.expire(now_ms)
    before = windows.get(book.windows, term.window)
    if before.opened == term.opening:
        return Opened(now_ms=now_ms, counters=before, replayed=True)
    after = _after(book, term, before, command.beginning)
    if after is None:
        return BeginningUnknown(now_ms=now_ms)
    windows.put(book.windows, term.window, after)
    return Opened(now_ms=now_ms, counters=after)


def _after(book: Book, term: Term, before: Counters, beginning: Beginning | None) -> Counters | None:
    match beginning:
        case FromLedger():
            is_new = windows.key_of(term.window) not in book.windows
            spent = beginning.spent if is_new else before.spent.plus(beginning.spent_more)
            overrun = beginning.overrun if is_new else before.overrun.plus(beginning.overrun_more)
            return Counters(
                spent=spent,
                held=before.held,
                holds=before.holds,
                overrun=overrun,
                added=beginning.added,
                moved=beginning.moved,
                opened=term.opening,
            )
        case Carried(amounts=amounts):
            return before._replace(added=before.added.plus(amounts), opened=term.opening)
        case FromPrevious(window=window, remainder=remainder):
            previous = windows.get(book.windows, window)
            # One that was never opened is not whole: this store has lost it and it came back with a late
            # charge, or it ended before rollover was switched on.
            if previous.opened != term.opening:
                return None
            carry = remainder.carry(previous)
            return before._replace(added=before.added.plus(carry), opened=term.opening)
        case None:
            return None
