"""What Authorize answers while the deciding store is away: what the organization's outage policy says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple

from quota_service.application import denials, messages, outage_entries
from quota_service.application.health import Health
from quota_service.application.intents import Intent
from quota_service.application.ledger_ports import Ledger, Written
from quota_service.application.plans import Plans
from quota_service.domain.amounts import NOTHING
from quota_service.domain.decision import Violation
from quota_service.domain.errors import IdempotencyConflict, ReservationEnded, StoreUnavailable
from quota_service.domain.reservation import Hold, State
from quota_service.domain.subject import OutagePolicy

DAY_MS = 86_400_000
CALM_MS = 60_000


class Refusal(NamedTuple):
    """A request that is denied, and why."""

    violation: Violation


class Degraded(NamedTuple):
    """A reservation with nothing held, which is in the ledger; or, with `validate_only`, would be."""

    hold: Hold
    granted_output_tokens: int
    replayed: bool = False


class _Granted(NamedTuple):
    """What an outage has been granted so far, and when last."""

    cost_micros: int
    at_ms: int


class Outages:
    """The policy, and how much this process has granted by it since the deciding store answered last.

    `processes`: how many the replica has. Each grants an equal share of what the replica may.
    """

    def __init__(self, ledger: Ledger, health: Health, processes: int = 1) -> None:
        self._ledger = ledger
        self._health = health
        self._processes = processes
        self._spent: dict[str, _Granted] = {}

    def over(self, organization: str, now_ms: int) -> None:
        """The deciding store has answered. An outage is over when it has not been felt for a while: one that
        comes and goes is one outage.
        """
        if organization in self._spent and now_ms - self._spent[organization].at_ms >= CALM_MS:
            del self._spent[organization]

    async def decide(
        self, plans: Plans, intent: Intent, now_ms: int, ttl_ms: int, *, dry_run: bool
    ) -> Refusal | Degraded:
        """The answer to a request that nothing but the outage stands in the way of. Raises StoreUnavailable
        where the ledger is away as well.
        """
        if not self._health.ledger:
            raise StoreUnavailable("Neither Valkey nor the ledger can be reached; nothing was done.")
        organization = plans.configuration.organization
        if organization.outage_policy is not OutagePolicy.ALLOW_DEGRADED or intent.asked.registers:
            return Refusal(denials.outage(messages.store_unavailable()))
        wanted = intent.alternatives[0].hold
        cost_micros = wanted.held.cost_micros
        granted_micros = self._spent.get(organization.id, _Granted(0, 0)).cost_micros
        if granted_micros + cost_micros > organization.degraded_cap_micros // self._processes:
            text = messages.degraded_cap_reached(cost_micros, organization.degraded_cap_micros)
            return Refusal(denials.outage(text))
        if dry_run:
            return Degraded(wanted, wanted.granted_output_tokens)
        # Counted before it is written: where the outcome is unknown, it may have been.
        self._spent[organization.id] = _Granted(granted_micros + cost_micros, now_ms)
        return await self._granted(_degraded(wanted, now_ms, ttl_ms))

    async def _granted(self, hold: Hold) -> Degraded:
        [written] = (await self._ledger.write([outage_entries.of_hold(hold)])).results
        if written is Written.NEW:
            return Degraded(hold, hold.granted_output_tokens)
        if written is Written.CONFLICT:
            raise IdempotencyConflict("The idempotency_key is in use for a call with other content.")
        known = await self._ledger.hold(hold.organization, hold.reservation)
        if known is None or known.state is not State.HELD or known.due(hold.create_ms):
            raise ReservationEnded(
                "The reservation of this idempotency_key has ended; a new call needs a new key."
            )
        return Degraded(known, known.granted_output_tokens, replayed=True)


def _degraded(wanted: Hold, now_ms: int, ttl_ms: int) -> Hold:
    return replace(
        wanted,
        reservation=_name_of(wanted.organization, wanted.idempotency_key, now_ms),
        degraded=True,
        held=NOTHING,
        create_ms=now_ms,
        expire_ms=now_ms + ttl_ms,
    )


def _name_of(organization: str, idempotency_key: str, now_ms: int) -> str:
    """The same for a key on every replica, as nothing but the ledger's own keys tells a repeat from a new
    call.

    In the form of a UUID of version 7, whose time is the day: a key may be used again on another.
    """
    digest = hashlib.sha256(f"{organization}\0{idempotency_key}".encode()).digest()
    time_ms = now_ms // DAY_MS * DAY_MS
    raw = (time_ms & (1 << 48) - 1) << 80 | int.from_bytes(digest[:10], "big")
    raw = raw & ~(0xF << 76) | 0x7 << 76
    raw = raw & ~(0b11 << 62) | 0b10 << 62
    digits = f"{raw:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
