"""Ledger entries: immutable facts about money, and the keys that make each of them happen once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold


class EntryType(StrEnum):
    """What happened."""

    HOLD = "HOLD"
    EXTEND = "EXTEND"
    COMMIT = "COMMIT"
    RELEASE = "RELEASE"
    EXPIRE = "EXPIRE"
    RECORD = "RECORD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact on its way to the ledger. It carries its hold, so that it can be written without any other.

    `key` is unique within the organization (see `key_of_…`); `content_hash` tells a repeat from a conflict.
    `hold.windows` are what is charged; `charged` and `overrun` are what this entry adds. `hold` is as it was
    after this event.
    """

    key: str
    content_hash: str
    type: EntryType
    at_ms: int
    hold: Hold
    charged: Amounts = NOTHING
    overrun: Amounts = NOTHING
    late: bool = False
    final: bool = False
    usage: Usage | None = None
    usage_estimated: bool = False
    provider: str = ""
    model: str = ""
    cost_pico: int = 0
    reason: str = ""
    actor: str = ""
    occur_ms: int = 0


def key_of_hold(reservation: str) -> str:
    return f"{reservation}/hold"


def key_of_part(reservation: str, number: int) -> str:
    return f"{reservation}/part/{number}"


def key_of_extend(reservation: str, request_id: str) -> str:
    return f"{reservation}/extend/{request_id}"


def key_of_longer(reservation: str, expire_ms: int) -> str:
    """An Extend without a request id: it only adds time, and never to the same end twice."""
    return f"{reservation}/extend-until/{expire_ms}"


def key_of_end(reservation: str) -> str:
    return f"{reservation}/end"


def key_of_late(reservation: str, number: int) -> str:
    """The final late settlement has number 0, the parts before it count from 1."""
    return f"{reservation}/late/{number}" if number else f"{reservation}/late"


def key_of_record(idempotency_key: str) -> str:
    return f"rec/{idempotency_key}"
