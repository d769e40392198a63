"""How former versions wrote a hold: what they left in the ledger, or in Valkey's events, can be read."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from quota_service.domain.pricing import Rate
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.subject import Subject

DIGEST_BYTES, LENGTH_BYTES = 16, 2


class _Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    organization: str = ""
    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    cost_center: str = ""


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    organization: str
    reservation: str
    subject: _Subject
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


class _InTwoParts(msgspec.Struct, frozen=True):
    """Both parts in JSON; before that, there was but one."""

    document: _Document
    live: msgspec.Raw


class Parts(NamedTuple):
    """A hold's document in JSON, and what moves, in MessagePack."""

    doc: bytes
    live: bytes


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_in_two_parts = msgspec.json.Decoder(_InTwoParts).decode
_decode_whole = msgspec.json.Decoder(Hold).decode


def is_former(doc: bytes) -> bool:
    """Documents were JSON."""
    return doc.startswith(b"{")


def draft_of(doc: bytes) -> Hold:
    """A hold from its document alone."""
    return _draft(_decode_document(doc))


def parts_of(whole: bytes) -> Parts:
    """Of a hold that was open: between a digest of its windows and the document stood how long the other
    part is, and that part.
    """
    start = DIGEST_BYTES + LENGTH_BYTES
    end = start + int.from_bytes(whole[DIGEST_BYTES:start], "big")
    return Parts(whole[end:], whole[start:end])


def decode(stored: str) -> tuple[Hold, bytes | None]:
    """A hold that was open, as even older versions kept it, and what moves, in JSON; `None`: it is whole."""
    try:
        found = _decode_in_two_parts(stored)
    except msgspec.ValidationError:
        return _decode_whole(stored), None
    return _draft(found.document), bytes(found.live)


def _draft(fixed: _Document) -> Hold:
    return Hold(
        organization=fixed.organization,
        reservation=fixed.reservation,
        idempotency_key=fixed.idempotency_key,
        content_hash=fixed.content_hash,
        subject=Subject(**msgspec.structs.asdict(fixed.subject)),
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
    )
