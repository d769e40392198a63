"""The parts of the scripts' replies that are the same for every verb."""

from __future__ import annotations

from typing import Any

from quota_service.domain import commands
from quota_service.domain.commands import Basis, Event
from quota_service.domain.reservation import Hold
from quota_service.stores.valkey import codec
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.events import entry_of
from quota_service.stores.valkey.scripts import Code


def basis(terms: Basis) -> tuple[int, int, int | str]:
    """A basis as the scripts take it."""
    return terms.version, terms.from_ms, "" if terms.until_ms is None else terms.until_ms


def counters(packed: list[bytes | None]) -> tuple[commands.Counters, ...]:
    return tuple([codec.decode_counters(window) for window in packed])


def event(id_: bytes, packed: bytes, hold: Hold, body: Body) -> Event | None:
    if not id_:
        return None
    return Event(id=id_.decode(), entry=entry_of(codec.decode_event(packed), hold, body))


def refusal(reply: list[Any]) -> Any:
    """The answers that are the same for every verb."""
    now_ms = reply[1]
    match Code(reply[0]):
        case Code.STALE:
            return commands.Stale(now_ms=now_ms, version=reply[2])
        case Code.OUTSIDE:
            return commands.OutsideBasis(now_ms=now_ms)
        case Code.UNOPENED:
            return commands.Unopened(now_ms=now_ms)
        case Code.CONFLICT:
            return commands.Conflict(now_ms=now_ms)
        case Code.ENDED:
            return commands.Ended(now_ms=now_ms)
        case Code.UNKNOWN:
            return commands.Unknown(now_ms=now_ms)
        case Code.TOO_LARGE:
            return commands.TooLarge(now_ms=now_ms)
        case Code.PRICE_REFUSED:
            return commands.PriceRefused(now_ms=now_ms)
        case code:
            raise AssertionError(f"a script answered {code!r} where it never does")
