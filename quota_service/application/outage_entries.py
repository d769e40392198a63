"""The ledger's entries of what happens while the deciding store is away: the same that its events would make,
but without an origin.
"""

from __future__ import annotations

from quota_service.domain import commands, ledger
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold, recorded


def of_hold(hold: Hold) -> Entry:
    """Of an Authorize."""
    return Entry(
        key=ledger.key_of_hold(hold.reservation),
        content_hash=hold.content_hash,
        type=EntryType.HOLD,
        at_ms=hold.create_ms,
        occur_ms=hold.create_ms,
        hold=hold,
        provider=hold.provider,
        model=hold.model,
    )


def of_commit(command: commands.Commit, before: Hold, done: commands.Settled) -> Entry:
    """Of a Commit."""
    hold = done.hold
    return Entry(
        key=_key_of_commit(hold, late=done.late, final=not command.keep_open),
        content_hash=command.content_hash,
        type=EntryType.COMMIT,
        at_ms=done.now_ms,
        occur_ms=done.now_ms,
        hold=hold,
        charged=done.settlement.charged,
        overrun=done.settlement.overrun,
        late=done.late,
        final=not command.keep_open,
        usage=command.usage,
        usage_estimated=command.usage_estimated,
        provider=command.provider or hold.provider,
        model=command.model or hold.model,
        cost_pico=hold.charged_pico - before.charged_pico,
    )


def of_release(hold: Hold, reason: str) -> Entry:
    """Of a Release."""
    return Entry(
        key=ledger.key_of_end(hold.reservation),
        content_hash=hold.content_hash,
        type=EntryType.RELEASE,
        at_ms=hold.end_ms,
        occur_ms=hold.end_ms,
        hold=hold,
        final=True,
        provider=hold.provider,
        model=hold.model,
        reason=reason,
    )


def of_record(
    draft: Hold,
    *,
    key: str,
    content_hash: str,
    usage: Usage,
    charged: Amounts,
    cost_pico: int,
    at_ms: int,
    occur_ms: int,
) -> Entry:
    """Of a Record."""
    hold = recorded(draft, charged=charged, charged_pico=cost_pico, at_ms=at_ms, content_hash=content_hash)
    return Entry(
        key=key,
        content_hash=content_hash,
        type=EntryType.RECORD,
        at_ms=at_ms,
        occur_ms=occur_ms,
        hold=hold,
        charged=charged,
        final=True,
        usage=usage,
        provider=hold.provider,
        model=hold.model,
        cost_pico=cost_pico,
    )


def _key_of_commit(hold: Hold, *, late: bool, final: bool) -> str:
    if late:
        return ledger.key_of_late(hold.reservation, 0 if final else hold.late_parts)
    if not final:
        return ledger.key_of_part(hold.reservation, hold.parts)
    return ledger.key_of_end(hold.reservation)
