"""The parts of the scripts' replies that are the same for every verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quota_service.domain import commands, ratelimit
from quota_service.domain.commands import Event
from quota_service.domain.errors import BufferFull
from quota_service.domain.reservation import Hold
from quota_service.domain.terms import Basis, Counters, Terms
from quota_service.stores.valkey import codec
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.events import event_of
from quota_service.stores.valkey.scripts import Code


def basis(terms: Basis) -> tuple[int, int, int | str]:
    """A basis as the scripts take it."""
    return terms.version, terms.from_ms, "" if terms.until_ms is None else terms.until_ms


def counters(packed: list[bytes | None]) -> tuple[Counters, ...]:
    return tuple([codec.decode_counters(window) for window in packed])


def denied(now_ms: int, next_expiry_ms: int, parts: list[Any], terms: Terms) -> commands.Denied:
    """What stood in the way: windows, gauges and, where values are counted, full terms."""
    windows, gauges, *full = parts
    found = zip(terms.rates, gauges, strict=True)
    return commands.Denied(
        now_ms=now_ms,
        counters=counters(windows),
        gauges=tuple(ratelimit.current(rate, codec.decode_gauge(raw), now_ms) for rate, raw in found),
        full=codec.decode_positions(full[0]) if full else (),
        next_expiry_ms=next_expiry_ms or None,
    )


def event(parts: Sequence[Any], hold: Hold, body: Body) -> Event | None:
    """The event of its three parts in a reply, if there is one: its id, the event, its bytes."""
    id_, packed, size_bytes = parts
    if not id_:
        return None
    return event_of(id_, codec.decode_event(packed), hold, body, size_bytes)


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
        case Code.FULL:
            raise BufferFull("Too much waits for the ledger, which does not answer; nothing was done.")
        case Code.FAILED:
            raise AssertionError(f"a script failed: {reply[-1]!r}")
        case code:
            raise AssertionError(f"a script answered {code!r} where it never does")
