"""How holds, windows and events are written: JSON for what is fixed, MessagePack for what scripts change.

The layouts are those at the head of `scripts/_prelude.lua`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import msgspec

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import LimitChange
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import Gauge
from quota_service.domain.reservation import Hold, Settlement, State, WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters

pack = msgspec.msgpack.Encoder().encode


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


class EventRecord(msgspec.Struct, frozen=True, array_like=True):
    """`epoch`: in which the script ran. `carried`: what it found to roll over into the window of a
    ROLLOVER.
    """

    type: str
    at_ms: int
    charged: Amounts
    overrun: Amounts
    pico: int
    late: bool
    final: bool
    epoch: int
    carried: Amounts = NOTHING


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only the ledger wants to know of an event."""

    key: str = ""
    content_hash: str = ""
    request_id: str = ""
    usage: Usage | None = None
    usage_estimated: bool = False
    provider: str = ""
    model: str = ""
    reason: str = ""
    occur_ms: int = 0
    actor: str = ""
    changes: tuple[LimitChange, ...] = ()


_document_encoder = msgspec.json.Encoder()
_document_decoder = msgspec.json.Decoder(Document)
_live_decoder = msgspec.msgpack.Decoder(Live)
_window_decoder = msgspec.msgpack.Decoder(Counters)
_event_decoder = msgspec.msgpack.Decoder(EventRecord)
_amounts_decoder = msgspec.msgpack.Decoder(Amounts)
_gauge_decoder = msgspec.msgpack.Decoder(Gauge)
_positions_decoder = msgspec.msgpack.Decoder(tuple[int, ...])
_body_decoder = msgspec.json.Decoder(Body)


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
def _subject(document: SubjectDocument) -> Subject:
    return Subject(**msgspec.structs.asdict(document))


def encode_document(hold: Hold) -> bytes:
    return _document_encoder.encode(
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
    settlement: Settlement | bool = hold.settlement if hold.settlement is not None else False
    return pack(
        Live(
            state=hold.state,
            create_ms=hold.create_ms,
            expire_ms=hold.expire_ms,
            end_ms=hold.end_ms,
            granted_output_tokens=hold.granted_output_tokens,
            held=hold.held,
            charged=hold.charged,
            charged_pico=hold.charged_pico,
            parts=hold.parts,
            late_parts=hold.late_parts,
            settle_hash=hold.settle_hash,
            settlement=settlement,
        )
    )


def decode_live(live: bytes) -> Live:
    return _live_decoder.decode(live)


def decode_hold(doc: bytes, live: bytes) -> Hold:
    fixed = _document_decoder.decode(doc)
    moving = _live_decoder.decode(live)
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


def decode_counters(packed: bytes | None) -> Counters:
    return _window_decoder.decode(packed) if packed is not None else Counters()


def decode_gauge(packed: bytes | None) -> Gauge:
    return _gauge_decoder.decode(packed) if packed is not None else Gauge()


def decode_amounts(packed: bytes) -> Amounts:
    return _amounts_decoder.decode(packed)


def decode_positions(packed: bytes) -> tuple[int, ...]:
    return _positions_decoder.decode(packed)


def decode_event(packed: bytes) -> EventRecord:
    return _event_decoder.decode(packed)


def decode_body(raw: bytes) -> Body:
    return _body_decoder.decode(raw) if raw else Body()


def encode_body(body: Body) -> bytes:
    return _document_encoder.encode(body)


def encode_usage(usage: Usage) -> bytes:
    """Usage as the scripts take it: an own price of -1 is none."""
    return pack((*usage[:4], -1 if usage.cost_micros is None else usage.cost_micros))


def encode_rates(rates: tuple[Rate, ...]) -> bytes:
    return pack(rates)


def granted(draft: Hold, create_ms: int, expire_ms: int) -> Hold:
    """The hold that a script has just made of a draft."""
    return replace(draft, create_ms=create_ms, expire_ms=expire_ms, charged=NOTHING)
