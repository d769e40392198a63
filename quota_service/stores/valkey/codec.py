"""How windows and events are written: MessagePack, and JSON for what only the ledger reads.

The layouts are those at the head of `scripts/_prelude.lua`.
"""

from __future__ import annotations

import msgspec

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import LimitChange
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import Gauge
from quota_service.domain.terms import Counters

pack = msgspec.msgpack.Encoder().encode


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


_json_encoder = msgspec.json.Encoder()
_window_decoder = msgspec.msgpack.Decoder(Counters)
_event_decoder = msgspec.msgpack.Decoder(EventRecord)
_amounts_decoder = msgspec.msgpack.Decoder(Amounts)
_gauge_decoder = msgspec.msgpack.Decoder(Gauge)
_positions_decoder = msgspec.msgpack.Decoder(tuple[int, ...])
_body_decoder = msgspec.json.Decoder(Body)


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
    return _json_encoder.encode(body)


def encode_usage(usage: Usage) -> bytes:
    """Usage as the scripts take it: an own price of -1 is none."""
    return pack((*usage[:4], -1 if usage.cost_micros is None else usage.cost_micros))


def encode_rates(rates: tuple[Rate, ...]) -> bytes:
    return pack(rates)
