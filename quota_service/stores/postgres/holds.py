"""The states of one reservation, put in order whatever the order in which the ledger learns of them.

Events of a reservation are written by several replicas and may come late or twice; each carries the hold as
it was afterwards. A hold only ever moves forward, so its states can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import Entry, EntryType, key_of_end, key_of_hold
from quota_service.domain.reservation import Hold, State

Rank = tuple[bool, bool, int, int]


def progress(hold: Hold) -> int:
    """Grows with every partial Commit and Extend of a live hold, because each part of the sum never falls."""
    return hold.parts + hold.granted_output_tokens + hold.expire_ms


def rank(hold: Hold) -> Rank:
    """Orders all states of a reservation: live, ended, parts of a late settlement, settled."""
    return (hold.settlement is not None, hold.state is not State.HELD, hold.late_parts, progress(hold))


def latest(states: Iterable[Hold], charged: Amounts, charged_pico: int) -> Hold | None:
    """The furthest of a reservation's states, with what the ledger has charged: whoever told of a state may
    not have known what another had charged.
    """
    found = list(states)
    if not found:
        return None
    return replace(max(found, key=rank), charged=charged, charged_pico=charged_pico)


def implied_hold(hold: Hold) -> Entry:
    """The HOLD entry that must have come before, from a later state.

    Nothing is charged yet; what Extends have changed since cannot be told apart.
    """
    first = replace(
        hold,
        state=State.HELD,
        charged=NOTHING,
        charged_pico=0,
        parts=0,
        late_parts=0,
        end_ms=0,
        settle_hash="",
        settlement=None,
    )
    return Entry(
        key=key_of_hold(hold.reservation),
        content_hash=hold.content_hash,
        type=EntryType.HOLD,
        at_ms=hold.create_ms,
        occur_ms=hold.create_ms,
        hold=first,
        provider=hold.provider,
        model=hold.model,
    )


def implied_return(hold: Hold) -> Entry:
    """The RELEASE or EXPIRE entry that must have come before, from the state after a late Commit."""
    ended = replace(hold, late_parts=0, settle_hash="", settlement=None)
    return Entry(
        key=key_of_end(hold.reservation),
        content_hash=hold.content_hash,
        type=EntryType.RELEASE if hold.state is State.RELEASED else EntryType.EXPIRE,
        at_ms=hold.end_ms,
        occur_ms=hold.end_ms,
        hold=ended,
        final=True,
        provider=hold.provider,
        model=hold.model,
    )
