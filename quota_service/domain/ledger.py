"""Ledger entries: immutable facts about money, and the keys that make each of them happen once."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.values import value


class EntryType(StrEnum):
    """What happened."""

    HOLD = "HOLD"
    EXTEND = "EXTEND"
    COMMIT = "COMMIT"
    RELEASE = "RELEASE"
    EXPIRE = "EXPIRE"
    RECORD = "RECORD"
    ADJUST = "ADJUST"
    REALLOCATE = "REALLOCATE"
    ROLLOVER = "ROLLOVER"


class LimitChange(NamedTuple):
    """By how much an entry has changed one window's limit; signed.

    `added`: by an adjustment or what rolled over; `moved`: by a reallocation. With `until_ms` the budget's
    configuration gives `added` to every window of this counter until then, so that the window's own balance
    does not have it.
    """

    window: WindowRef
    added: Amounts = NOTHING
    moved: Amounts = NOTHING
    until_ms: int | None = None

    @property
    def amounts(self) -> Amounts:
        """By how much the limit differs afterwards."""
        return self.added.plus(self.moved)


class Origin(NamedTuple):
    """Where an entry ran: `event` of the deciding store's stream, in an epoch of that store."""

    epoch: int
    event: str


@value(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact on its way to the ledger. It carries its hold, so that it can be written without any other.

    `key` is unique within the organization (see `key_of_…`); `content_hash` tells a repeat from a conflict.
    `hold.windows` are what is charged; `charged` and `overrun` are what this entry adds. `hold` is as it was
    after this event. `origin` `None`: the deciding store has not run it. An entry with `changes` charges
    nothing; its hold is only their windows (see `hold_of_changes`).
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
    changes: tuple[LimitChange, ...] = ()
    origin: Origin | None = None


def hold_of_changes(organization: str, changes: tuple[LimitChange, ...]) -> Hold:
    """What stands where other entries have their hold: nobody's, with the windows whose limits change."""
    return Hold(
        organization=organization,
        reservation="",
        subject=Subject(organization=organization),
        provider="",
        model="",
        requested_model="",
        rates=(),
        windows=tuple(change.window for change in changes),
    )


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


def key_of_change(request_id: str) -> str:
    """Of an adjustment or a reallocation: they share their request ids."""
    return f"adj/{request_id}"


def key_of_rollover(window: WindowRef) -> str:
    """Of what was carried into a window."""
    return f"roll/{window.budget}/{window.each_value}/{window.start_ms}"
