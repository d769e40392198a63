"""What the simulated Valkey forgets once the ledger has it."""

from __future__ import annotations

from quota_service.domain.ledger import Entry, EntryType

Name = tuple[str, str]
"""A key that may be forgotten: its kind (hold, key, record) and its name."""

_WITH_MARKER = (EntryType.RECORD, EntryType.ADJUST, EntryType.REALLOCATE)


def forgettable(entry: Entry) -> tuple[Name, ...]:
    """What is needed no longer, a while after the ledger has the entry."""
    if entry.type in _WITH_MARKER:
        return (("record", entry.key),)
    if not entry.final:
        return ()
    hold = ("hold", entry.hold.reservation)
    if entry.late or not entry.hold.idempotency_key:
        return (hold,)
    return hold, ("key", entry.hold.idempotency_key)
