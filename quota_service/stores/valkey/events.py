"""The stream of events: what the scripts did and the ledger may not know yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quota_service.domain import ledger
from quota_service.domain.amounts import NOTHING
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType, LimitChange, Origin
from quota_service.domain.reservation import Hold
from quota_service.stores import hold_documents
from quota_service.stores.valkey import codec, scripts
from quota_service.stores.valkey.codec import Body, EventRecord
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.runner import Arguments, Runner

REMEMBER_MS = 600_000
"""How long an ended reservation's key is remembered once the ledger has its end."""

_NO_BODY = Body()

_WITH_MARKER = (EntryType.RECORD, EntryType.ADJUST, EntryType.REALLOCATE)
"""What happens once for a key that Valkey keeps in mind until the ledger does."""


class ValkeyEventLog:
    """Implements `EventLog`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._keys = runner.keys

    async def older_than(self, organization: str, age_ms: int, count: int) -> Sequence[Event]:
        reply = await self._runner.run(organization, scripts.LEFT_BEHIND, (), (age_ms, count))
        return [event_of_stream(id_, fields) for id_, fields in reply[2]]

    async def acknowledge(self, organization: str, events: Sequence[Event]) -> None:
        forget = forgettable(self._keys, organization, events)
        arguments: Arguments = (REMEMBER_MS, *named(events))
        await self._runner.run(organization, scripts.ACKNOWLEDGE, forget, arguments)


def named(events: Sequence[Event]) -> Iterator[str | int]:
    """Ids and bytes, as scripts take them."""
    for event in events:
        yield event.id
        yield event.bytes


def forgettable(keys: Keys, organization: str, events: Sequence[Event]) -> tuple[str, ...]:
    """The keys that need not be kept for long once the ledger has these events."""
    return tuple(key for event in events for key in _forgettable(keys, organization, event.entry))


def _forgettable(keys: Keys, organization: str, entry: Entry) -> tuple[str, ...]:
    if entry.type in _WITH_MARKER:
        return (keys.record(organization, entry.key),)
    if not entry.final:
        return ()
    hold_key = keys.hold(organization, entry.hold.reservation)
    # By the time of a late settlement the key may be another hold's.
    if entry.late or not entry.hold.idempotency_key:
        return (hold_key,)
    return hold_key, keys.idempotency(organization, entry.hold.idempotency_key)


def event_of_stream(id_: bytes, fields: list[bytes]) -> Event:
    by_name = dict(zip(fields[::2], fields[1::2], strict=True))
    record = codec.decode_event(by_name[b"e"])
    hold = hold_documents.decode_hold(by_name[b"doc"], by_name[b"live"])
    return event_of(id_, record, hold, codec.decode_body(by_name[b"body"]), sum(map(len, fields[1::2])))


def event_of(id_: bytes, record: EventRecord, hold: Hold, body: Body, size_bytes: int) -> Event:
    """An event with the ledger's entry of it: the same, whichever replica writes it."""
    event = id_.decode()
    entry = _entry_of(Origin(record.epoch, event), record, hold, body)
    return Event(id=event, entry=entry, bytes=size_bytes)


def _entry_of(origin: Origin, record: EventRecord, hold: Hold, body: Body) -> Entry:
    type_ = EntryType(record.type)
    charges = type_ in (EntryType.COMMIT, EntryType.RECORD)
    return Entry(
        key=_key(type_, record, hold, body),
        content_hash=body.content_hash or hold.content_hash,
        type=type_,
        at_ms=record.at_ms,
        hold=hold,
        charged=record.charged,
        overrun=record.overrun,
        late=record.late,
        final=record.final,
        usage=body.usage,
        usage_estimated=body.usage_estimated,
        provider=(body.provider or hold.provider) if charges else hold.provider,
        model=(body.model or hold.model) if charges else hold.model,
        cost_pico=record.pico,
        reason=body.reason,
        actor=body.actor,
        occur_ms=body.occur_ms or record.at_ms,
        changes=_changes(type_, record, hold, body),
        origin=origin,
    )


def _changes(type_: EntryType, record: EventRecord, hold: Hold, body: Body) -> tuple[LimitChange, ...]:
    """How limits change: as the caller wants, but for what only the script can tell."""
    if type_ is EntryType.ROLLOVER:
        return tuple(LimitChange(window, added=record.carried) for window in hold.windows)
    return body.changes


def hold_event(id_: bytes, hold: Hold, epoch: int, size_bytes: int) -> Event:
    """The event of an Authorize, from what its caller already knows."""
    record = EventRecord(EntryType.HOLD, hold.create_ms, NOTHING, NOTHING, 0, False, False, epoch)
    return event_of(id_, record, hold, _NO_BODY, size_bytes)


def _key(type_: EntryType, record: EventRecord, hold: Hold, body: Body) -> str:
    if body.key:
        return body.key
    match type_:
        case EntryType.HOLD:
            return ledger.key_of_hold(hold.reservation)
        case EntryType.EXTEND if body.request_id:
            return ledger.key_of_extend(hold.reservation, body.request_id)
        case EntryType.EXTEND:
            return ledger.key_of_longer(hold.reservation, hold.expire_ms)
        case EntryType.COMMIT if record.late:
            return ledger.key_of_late(hold.reservation, 0 if record.final else hold.late_parts)
        case EntryType.COMMIT if not record.final:
            return ledger.key_of_part(hold.reservation, hold.parts)
        case _:
            return ledger.key_of_end(hold.reservation)
