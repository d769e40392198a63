"""What whoever makes the keys anew sends: commands that stand alone, behind a fence of their own."""

from __future__ import annotations

from collections.abc import Iterable

from quota_service.application.recovery_ports import Restored
from quota_service.domain import windows
from quota_service.domain.reservation import Hold, State
from quota_service.domain.terms import Counters
from tests.simulation.keys import Keys


def raise_fence(keys: Keys, lowered: str, fence: str, version: int) -> bool:
    if not replace_fence(keys, lowered, fence):
        return False
    keys.book.version = version
    keys.left = frozenset()
    return True


def replace_fence(keys: Keys, expected: str, fence: str) -> bool:
    if keys.fence != expected:
        return False
    keys.fence = fence
    return True


def clear(keys: Keys, lowered: str, *, keeps_ended: bool) -> bool:
    """Forgets every hold, as the scripts take for unknown what an earlier epoch has left."""
    if keys.fence != lowered:
        return False
    ended = {name: hold for name, hold in keys.book.holds.items() if hold.end_ms}
    for hold in keys.book.holds.values():
        if hold.state is State.HELD:
            keys.left |= {windows.key_of(window) for window in hold.windows}
        keys.forget_ms.pop(("hold", hold.reservation), None)
    keys.book.holds = ended if keeps_ended else {}
    keys.book.marks.clear()
    return True


def forget_windows(keys: Keys, lowered: str, *, every: bool) -> bool:
    if keys.fence != lowered:
        return False
    for key in set(keys.book.windows) if every else keys.left:
        keys.book.windows.pop(key, None)
    return True


def put_holds(keys: Keys, lowered: str, holds: Iterable[Hold]) -> bool:
    if keys.fence != lowered:
        return False
    for hold in holds:
        keys.book.holds[hold.reservation] = hold
        if hold.idempotency_key:
            keys.book.reservations[hold.idempotency_key] = hold.reservation
            keys.forget_ms.pop(("key", hold.idempotency_key), None)
    return True


def put_windows(keys: Keys, lowered: str, restored: Iterable[Restored], *, adds: bool) -> bool:
    if keys.fence != lowered:
        return False
    for window, counters, _ in restored:
        key = windows.key_of(window)
        if counters == Counters() and not adds:
            keys.book.windows.pop(key, None)
        else:
            keys.book.windows[key] = _sum(keys.book.windows.get(key), counters) if adds else counters
    return True


def _sum(before: Counters | None, more: Counters) -> Counters:
    if before is None:
        return more
    return more._replace(
        spent=before.spent.plus(more.spent), held=before.held.plus(more.held), holds=before.holds + more.holds
    )
