"""Ledger entries as rows of `ledger_entries`, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any, get_type_hints

import asyncpg
import msgspec

from quota_service.application.ledger_ports import LedgerRow
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import Entry, EntryType, LimitChange
from quota_service.domain.pricing import Usage, exact_usd
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.sharing import Shared
from quota_service.domain.subject import Subject
from quota_service.stores.postgres.times import to_ms, to_time

COLUMNS = (
    *("id", "create_time", "organization", "key", "content_hash", "type", "reservation"),
    *("team", "user", "api_key", "project", "cost_center", "tags", "provider", "model"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "own_cost_micros"),
    *("usage_estimated", "exact_cost_usd"),
    *("charged_cost_micros", "charged_tokens", "charged_requests"),
    *("overrun_cost_micros", "overrun_tokens", "overrun_requests"),
    *("late", "final", "windows", "hold", "reason", "actor", "at_time", "occur_time"),
)
"""The columns of `ledger_entries` in the order of `row_of`."""

_NO_USAGE = (None,) * len(Usage._fields)

# A hold without what has columns of its own, and without what is as it is by default: far smaller and faster.
_OWN_COLUMNS = {"organization", "reservation", "subject", "windows", "keepings"}
_HINTS = get_type_hints(Hold)
_PARTS = [part for part in fields(Hold) if part.name not in _OWN_COLUMNS]
_PARTS.sort(key=lambda part: part.default is not MISSING)  # a Struct wants those without a default first
_HoldDocument: Any = msgspec.defstruct(
    "HoldDocument",
    [
        (part.name, _HINTS[part.name], *(() if part.default is MISSING else (part.default,)))
        for part in _PARTS
    ],
    omit_defaults=True,
)
_parts_of: Callable[[Any], tuple[Any, ...]] = attrgetter(*(part.name for part in _PARTS))
_encode_hold = msgspec.json.Encoder().encode
_decode_hold = msgspec.json.Decoder(_HoldDocument).decode
_decode_windows = msgspec.json.Decoder(list[dict[str, Any]]).decode
_CHANGES = (EntryType.ADJUST, EntryType.REALLOCATE, EntryType.ROLLOVER)


def row_of(id_: int, create_time: datetime, entry: Entry) -> tuple[Any, ...]:
    """A row for `COLUMNS`."""
    return id_, create_time, *values_of(entry)


def values_of(entry: Entry) -> tuple[Any, ...]:
    """What the entry itself has of a row, all but the first two columns."""
    hold, subject = entry.hold, entry.hold.subject
    return (
        hold.organization,
        storable(entry.key),
        entry.content_hash,
        entry.type.value,
        hold.reservation,
        *map(storable, (subject.team, subject.user, subject.api_key, subject.project, subject.cost_center)),
        _tags(subject.tags),
        *map(storable, (entry.provider, entry.model)),
        *(entry.usage or _NO_USAGE),
        entry.usage_estimated,
        exact_usd(entry.cost_pico),
        *entry.charged,
        *entry.overrun,
        entry.late,
        entry.final,
        _window_documents(entry),
        _encode_hold(_HoldDocument(*_parts_of(hold))).decode(),
        storable(entry.reason),
        storable(entry.actor),
        to_time(entry.at_ms),
        to_time(entry.occur_ms),
    )


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot store.

    One such entry must not keep its whole batch from the ledger.
    """
    return text.replace("\0", "␀")


def ledger_row_of(row: asyncpg.Record) -> LedgerRow:
    """The entry of a row."""
    return LedgerRow(id=row["id"], entry=_entry_of(row), create_ms=to_ms(row["create_time"]))


def hold_of(row: asyncpg.Record) -> Hold:
    """The reservation after the entry of a row."""
    tags = sorted(msgspec.json.decode(row["tags"], type=dict[str, str]).items())
    subject = Subject(
        organization=row["organization"],
        team=row["team"],
        user=row["user"],
        api_key=row["api_key"],
        project=row["project"],
        cost_center=row["cost_center"],
        tags=tuple(tags),
    )
    document = _decode_hold(row["hold"])
    return Hold(
        organization=row["organization"],
        reservation=row["reservation"],
        subject=subject,
        windows=tuple(_window(document) for document in _decode_windows(row["windows"])),
        **msgspec.structs.asdict(document),
    )


def charged_of(rows: Iterable[asyncpg.Record]) -> tuple[Amounts, int]:
    """What the entries of some rows charge, and what that costs in pico-USD."""
    charged, pico = NOTHING, 0
    for row in rows:
        charged = charged.plus(Amounts(*(row[f"charged_{meter}"] for meter in Amounts._fields)))
        pico += _pico(row["exact_cost_usd"])
    return charged, pico


@lru_cache(maxsize=4_096)
def _tags(tags: tuple[tuple[str, str], ...]) -> str:
    return msgspec.json.encode({storable(tag): storable(value) for tag, value in tags}).decode()


_shared_windows = Shared[str]()


def _window_documents(entry: Entry) -> str:
    if entry.changes:
        changes = [
            {**_window_document(change.window), **_change_document(change)} for change in entry.changes
        ]
        return msgspec.json.encode(changes).decode()
    windows = entry.hold.windows
    return _shared_windows.get((id(windows),)) or _shared_windows.put(
        (windows,), msgspec.json.encode([_window_document(window) for window in windows]).decode()
    )


def _window_document(window: WindowRef) -> dict[str, Any]:
    return {**window._asdict(), "each_value": storable(window.each_value)}


def _change_document(change: LimitChange) -> dict[str, Any]:
    """Without what is nothing: a window of another entry has none of it."""
    parts = {"added": change.added, "moved": change.moved, "until_ms": change.until_ms}
    return {name: part for name, part in parts.items() if part not in (NOTHING, None)}


def _window(document: dict[str, Any]) -> WindowRef:
    return WindowRef(*(document[part] for part in WindowRef._fields))


def _change(document: dict[str, Any]) -> LimitChange:
    return LimitChange(
        _window(document),
        Amounts(*document.get("added", NOTHING)),
        Amounts(*document.get("moved", NOTHING)),
        document.get("until_ms"),
    )


def _entry_of(row: asyncpg.Record) -> Entry:
    return Entry(
        key=row["key"],
        content_hash=row["content_hash"],
        type=EntryType(row["type"]),
        at_ms=to_ms(row["at_time"]),
        hold=hold_of(row),
        charged=Amounts(*(row[f"charged_{meter}"] for meter in Amounts._fields)),
        overrun=Amounts(*(row[f"overrun_{meter}"] for meter in Amounts._fields)),
        late=row["late"],
        final=row["final"],
        usage=_usage_of(row),
        usage_estimated=row["usage_estimated"],
        provider=row["provider"],
        model=row["model"],
        cost_pico=_pico(row["exact_cost_usd"]),
        reason=row["reason"],
        actor=row["actor"],
        occur_ms=to_ms(row["occur_time"]),
        changes=_changes_of(row),
    )


def _changes_of(row: asyncpg.Record) -> tuple[LimitChange, ...]:
    if row["type"] not in _CHANGES:
        return ()
    return tuple(_change(document) for document in _decode_windows(row["windows"]))


def _usage_of(row: asyncpg.Record) -> Usage | None:
    if row["input_tokens"] is None:
        return None
    return Usage(
        input_tokens=row["input_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"],
        cost_micros=row["own_cost_micros"],
    )


def _pico(usd: Decimal) -> int:
    return int(usd.scaleb(12))
