"""How the stores write a hold: in Valkey, in its events, and among the ledger's open holds.

In two parts, MessagePack both: the document, which never changes and of which scripts read the first element,
and what moves with each step. Both stores have both alike, so that what the ledger has is passed on to Valkey
without being read. What former versions wrote can be read, too: see `former_documents`.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache

import msgspec

from quota_service.application.recovery_ports import LiveHold
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.pricing import Rate
from quota_service.domain.reservation import Hold, Settlement, State, WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.values import changed
from quota_service.stores import former_documents
from quota_service.stores.places import packed_places, windows_of_places

VERSION = 2
"""Of how a hold that is open is kept in the ledger."""


class _Fixed(msgspec.Struct, frozen=True, array_like=True):
    """What scripts read."""

    places: msgspec.Raw
    rates: tuple[Rate, ...]
    caller_priced: bool
    own_cost_micros: int | None
    input_tokens: int
    idempotency_key: str


class Document(msgspec.Struct, frozen=True, array_like=True):
    """The fixed part of a hold."""

    fixed: _Fixed
    organization: str
    reservation: str
    content_hash: str
    subject: msgspec.Raw
    provider: str
    model: str
    requested_model: str
    downgraded: bool
    degraded: bool


class _Subject(msgspec.Struct, frozen=True, array_like=True):
    organization: str
    team: str
    user: str
    api_key: str
    project: str
    tags: tuple[tuple[str, str], ...]
    cost_center: str


class Live(msgspec.Struct, frozen=True, array_like=True):
    """The moving part of a hold."""

    state: State
    create_ms: int
    expire_ms: int
    end_ms: int
    granted_output_tokens: int
    held: Amounts
    charged: Amounts
    charged_pico: int
    parts: int
    late_parts: int
    settle_hash: str
    settlement: Settlement | bool


decode_kept = msgspec.msgpack.Decoder(LiveHold).decode

_pack = msgspec.msgpack.Encoder().encode
_decode_document = msgspec.msgpack.Decoder(Document).decode
_decode_subject = msgspec.msgpack.Decoder(_Subject).decode
_decode_live = msgspec.msgpack.Decoder(Live).decode
_decode_former_live = msgspec.json.Decoder(Live).decode

# A hold as Valkey keeps it (see `scripts/_prelude.lua`) is an array of five: its epoch, the moving part,
# neither marks nor requests, the document. Scripts know no binary data, only strings; each part is one.
_FIVE, _NEITHER, _STRING = b"\x95", _pack(False) * 2, struct.Struct(">BI")
_STRING_32 = 0xDB


@lru_cache(maxsize=4096)
def _subject_document(subject: Subject) -> msgspec.Raw:
    return msgspec.Raw(
        _pack(
            _Subject(
                subject.organization,
                subject.team,
                subject.user,
                subject.api_key,
                subject.project,
                subject.tags,
                subject.cost_center,
            )
        )
    )


@lru_cache(maxsize=4096)
def _subject(document: bytes) -> Subject:
    return Subject(**msgspec.structs.asdict(_decode_subject(document)))


def encode_document(hold: Hold) -> bytes:
    """What never changes."""
    return _pack(
        Document(
            _Fixed(
                msgspec.Raw(packed_places(hold)),
                hold.rates,
                hold.caller_priced,
                hold.own_cost_micros,
                hold.input_tokens,
                hold.idempotency_key,
            ),
            hold.organization,
            hold.reservation,
            hold.content_hash,
            _subject_document(hold.subject),
            hold.provider,
            hold.model,
            hold.requested_model,
            hold.downgraded,
            hold.degraded,
        )
    )


def encode_live(hold: Hold) -> bytes:
    """What moves."""
    return _pack(
        Live(
            hold.state,
            hold.create_ms,
            hold.expire_ms,
            hold.end_ms,
            hold.granted_output_tokens,
            hold.held,
            hold.charged,
            hold.charged_pico,
            hold.parts,
            hold.late_parts,
            hold.settle_hash,
            hold.settlement if hold.settlement is not None else False,
        )
    )


def kept(hold: Hold) -> LiveHold:
    """A live hold as keys are made anew from it. `whole`: all but the epoch of how Valkey keeps it."""
    return LiveHold(
        packed_places(hold),
        hold.remaining,
        hold.reservation,
        hold.idempotency_key,
        hold.content_hash,
        hold.expire_ms,
        b"".join((*_string(encode_live(hold)), _NEITHER, *_string(encode_document(hold)))),
        VERSION,
    )


def _string(part: bytes) -> tuple[bytes, bytes]:
    return _STRING.pack(_STRING_32, len(part)), part


def windows_of(hold: LiveHold) -> tuple[WindowRef, ...]:
    """Where it counts."""
    return windows_of_places(hold.windows)[0]


def in_epoch(epoch: int) -> bytes:
    """What a live hold's `whole` follows where Valkey keeps it, for one of its epochs."""
    return _FIVE + _pack(epoch)


def whole_hold(hold: LiveHold) -> Hold:
    """All of it, read."""
    if hold.version != VERSION:
        return decode_hold(*former_documents.parts_of(hold.whole))
    whole, start = hold.whole, _STRING.size
    end = start + _STRING.unpack_from(whole)[1]
    return decode_hold(whole[end + len(_NEITHER) + start :], whole[start:end])


def decode_open(stored: bytes) -> LiveHold:
    """A live hold as the ledger keeps it, whichever version wrote it."""
    found = decode_kept(stored)
    return found if found.version == VERSION else kept(whole_hold(found))


def encode_kept(hold: Hold) -> bytes:
    """A hold as the ledger keeps it while it is open."""
    return _pack(kept(hold))


def decode_former(stored: str) -> Hold:
    """A hold as the first versions kept it in the ledger."""
    hold, live = former_documents.decode(stored)
    return hold if live is None else _moved(hold, _decode_former_live(live))


def decode_hold(doc: bytes, live: bytes) -> Hold:
    """A hold from its two parts."""
    moving = _decode_live(live)
    if former_documents.is_former(doc):
        return _moved(former_documents.draft_of(doc), moving)
    fixed = _decode_document(doc)
    read = fixed.fixed
    windows, keepings = windows_of_places(bytes(read.places))
    return Hold(
        organization=fixed.organization,
        reservation=fixed.reservation,
        idempotency_key=read.idempotency_key,
        content_hash=fixed.content_hash,
        subject=_subject(bytes(fixed.subject)),
        provider=fixed.provider,
        model=fixed.model,
        requested_model=fixed.requested_model,
        downgraded=fixed.downgraded,
        degraded=fixed.degraded,
        rates=read.rates,
        caller_priced=read.caller_priced,
        input_tokens=read.input_tokens,
        own_cost_micros=read.own_cost_micros,
        windows=windows,
        keepings=keepings,
        granted_output_tokens=moving.granted_output_tokens,
        held=moving.held,
        state=moving.state,
        charged=moving.charged,
        charged_pico=moving.charged_pico,
        parts=moving.parts,
        late_parts=moving.late_parts,
        create_ms=moving.create_ms,
        expire_ms=moving.expire_ms,
        end_ms=moving.end_ms,
        settle_hash=moving.settle_hash,
        settlement=moving.settlement if isinstance(moving.settlement, Settlement) else None,
    )


def granted(draft: Hold, create_ms: int, expire_ms: int) -> Hold:
    """The hold that a script has just made of a draft."""
    return changed(draft, create_ms=create_ms, expire_ms=expire_ms, charged=NOTHING)


def _moved(hold: Hold, moving: Live) -> Hold:
    settlement = moving.settlement if isinstance(moving.settlement, Settlement) else None
    return replace(hold, **{**msgspec.structs.asdict(moving), "settlement": settlement})
