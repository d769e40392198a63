"""How the stores write a hold: in Valkey, in its events, and among the ledger's open holds.

In two parts: the document, which never changes and which only this reads, and what moves with each step. The
first is JSON, the second MessagePack, which scripts change. Both stores have both alike, so that what the
ledger has is passed on to Valkey without being read.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

import msgspec

from quota_service.application.recovery_ports import LiveHold
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.pricing import Rate
from quota_service.domain.reservation import Hold, Settlement, State, WindowRef
from quota_service.domain.subject import Subject

DIGEST_BYTES, LENGTH_BYTES = 16, 2


class SubjectDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    organization: str = ""
    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    cost_center: str = ""


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fixed part of a hold."""

    organization: str
    reservation: str
    subject: SubjectDocument
    provider: str
    model: str
    rates: tuple[Rate, ...]
    idempotency_key: str = ""
    content_hash: str = ""
    requested_model: str = ""
    downgraded: bool = False
    degraded: bool = False
    caller_priced: bool = False
    input_tokens: int = 0
    own_cost_micros: int | None = None
    windows: tuple[WindowRef, ...] = ()


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


class _Former(msgspec.Struct, frozen=True):
    """Both parts in JSON; before that, there was but one."""

    document: Document
    live: Live


decode_windows = msgspec.msgpack.Decoder(tuple[WindowRef, ...]).decode
decode_kept = msgspec.msgpack.Decoder(LiveHold).decode

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_decode_document = msgspec.json.Decoder(Document).decode
_decode_live = msgspec.msgpack.Decoder(Live).decode
_decode_former = msgspec.json.Decoder(_Former).decode
_decode_whole = msgspec.json.Decoder(Hold).decode


def _subject_document(subject: Subject) -> SubjectDocument:
    return SubjectDocument(
        organization=subject.organization,
        team=subject.team,
        user=subject.user,
        api_key=subject.api_key,
        project=subject.project,
        tags=subject.tags,
        cost_center=subject.cost_center,
    )


@lru_cache(maxsize=4096)
def _digest(windows: bytes) -> bytes:
    return blake2b(windows, digest_size=DIGEST_BYTES).digest()


@lru_cache(maxsize=4096)
def _subject(document: SubjectDocument) -> Subject:
    return Subject(**msgspec.structs.asdict(document))


def encode_document(hold: Hold) -> bytes:
    """What never changes, as JSON."""
    return _encode(
        Document(
            organization=hold.organization,
            reservation=hold.reservation,
            subject=_subject_document(hold.subject),
            provider=hold.provider,
            model=hold.model,
            rates=hold.rates,
            idempotency_key=hold.idempotency_key,
            content_hash=hold.content_hash,
            requested_model=hold.requested_model,
            downgraded=hold.downgraded,
            degraded=hold.degraded,
            caller_priced=hold.caller_priced,
            input_tokens=hold.input_tokens,
            own_cost_micros=hold.own_cost_micros,
            windows=hold.windows,
        )
    )


def encode_live(hold: Hold) -> bytes:
    """What moves, as MessagePack."""
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


def decode_live(live: bytes) -> Live:
    return _decode_live(live)


def kept(hold: Hold) -> LiveHold:
    """A live hold as keys are made anew from it. `whole`: which windows they are, how long what moves is,
    what moves, and the document.
    """
    windows, live = _pack(hold.windows), encode_live(hold)
    return LiveHold(
        windows,
        hold.remaining,
        hold.reservation,
        hold.idempotency_key,
        hold.content_hash,
        hold.expire_ms,
        b"".join((_digest(windows), len(live).to_bytes(LENGTH_BYTES, "big"), live, encode_document(hold))),
    )


def windows_digest(hold: LiveHold) -> bytes:
    """What stands for a hold's windows in `whole`."""
    return hold.whole[:DIGEST_BYTES]


def whole_hold(hold: LiveHold) -> Hold:
    """All of it, read."""
    start = DIGEST_BYTES + LENGTH_BYTES
    end = start + int.from_bytes(hold.whole[DIGEST_BYTES:start], "big")
    return decode_hold(hold.whole[end:], hold.whole[start:end])


def encode_kept(hold: Hold) -> bytes:
    """A hold as the ledger keeps it while it is open."""
    return _pack(kept(hold))


def decode_former(stored: str) -> Hold:
    """A hold as former versions kept it in the ledger."""
    try:
        found = _decode_former(stored)
    except msgspec.ValidationError:
        return _decode_whole(stored)
    return _hold(found.document, found.live)


def decode_hold(doc: bytes, live: bytes) -> Hold:
    """A hold from its two parts."""
    return _hold(_decode_document(doc), _decode_live(live))


def _hold(fixed: Document, moving: Live) -> Hold:
    return Hold(
        organization=fixed.organization,
        reservation=fixed.reservation,
        idempotency_key=fixed.idempotency_key,
        content_hash=fixed.content_hash,
        subject=_subject(fixed.subject),
        provider=fixed.provider,
        model=fixed.model,
        requested_model=fixed.requested_model,
        downgraded=fixed.downgraded,
        degraded=fixed.degraded,
        rates=fixed.rates,
        caller_priced=fixed.caller_priced,
        input_tokens=fixed.input_tokens,
        own_cost_micros=fixed.own_cost_micros,
        windows=fixed.windows,
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
    return replace(draft, create_ms=create_ms, expire_ms=expire_ms, charged=NOTHING)
