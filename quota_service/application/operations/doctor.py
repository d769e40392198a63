"""Tells whether all is well: asks both stores, and checks what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import TypeVar

from quota_service.application.operations import organization_checks, postgres_checks, valkey_checks
from quota_service.application.operations.findings import Finding, failure, fine, warning
from quota_service.application.operations.health_ports import (
    KeysSide,
    LedgerSide,
    PostgresFacts,
    PostgresHealth,
    ValkeyFacts,
    ValkeyHealth,
)
from quota_service.application.operations.organization_checks import Organization
from quota_service.domain.errors import StoreUnavailable

PATIENCE_S = 4.0
"""How long a store may take to answer all its questions."""

CLOCK_WARNING_MS = 1_000
CLOCK_FAILURE_MS = 60_000

T = TypeVar("T")


class Doctor:
    """The use case. Changes nothing."""

    def __init__(self, valkey: ValkeyHealth, postgres: PostgresHealth, *, development: bool) -> None:
        self._valkey = valkey
        self._postgres = postgres
        self._development = development

    async def diagnose(self) -> Sequence[Finding]:
        """One finding for every check that could be made; a store that does not answer is one."""
        valkey, postgres = await asyncio.gather(_asked(self._valkey.facts()), _asked(self._postgres.facts()))
        sides = await _asked(self._postgres.organizations()) if postgres is not None else None
        ids = [side.organization for side in sides or ()]
        keys = await _asked(self._valkey.organizations(ids)) if valkey is not None and ids else None
        return [
            *self._of_valkey(valkey),
            *self._of_postgres(postgres),
            *clocks(valkey, postgres),
            *self._of_organizations(sides or (), keys or {}),
        ]

    def _of_valkey(self, facts: ValkeyFacts | None) -> Iterator[Finding]:
        yield breaker(self._valkey.is_available)
        if facts is None:
            yield failure(
                "valkey.reachable",
                "Valkey does not answer this replica.",
                "See whether it runs and can be reached, and whether its URL and password are right.",
            )
        else:
            yield fine("valkey.reachable", "Valkey answers.")
            yield from valkey_checks.check(facts, development=self._development)

    def _of_postgres(self, facts: PostgresFacts | None) -> Iterator[Finding]:
        if facts is None:
            yield failure(
                "postgres.reachable",
                "PostgreSQL does not answer this replica.",
                "See whether it runs and can be reached, and whether its URL and password are right.",
            )
        else:
            yield fine("postgres.reachable", "PostgreSQL answers.")
            yield from postgres_checks.check(facts, development=self._development)

    def _of_organizations(
        self, sides: Sequence[LedgerSide], keys: Mapping[str, KeysSide]
    ) -> Iterator[Finding]:
        most = self._valkey.events_bytes_max
        return organization_checks.check(
            [
                Organization(ledger=side, keys=keys.get(side.organization), events_bytes_max=most)
                for side in sides
            ]
        )


def breaker(is_available: bool) -> Finding:
    """While it is open, calls are answered as the outage settings of their organizations say."""
    if is_available:
        return fine("service.circuit_breaker", "Calls of this replica go to Valkey.")
    return failure(
        "service.circuit_breaker",
        "This replica takes Valkey for unavailable and does not ask it.",
        "Bring Valkey back; the replica tries every second.",
    )


def clocks(valkey: ValkeyFacts | None, postgres: PostgresFacts | None) -> Iterator[Finding]:
    """Windows begin and end by Valkey's clock. No decision depends on the others, but logs and reports do."""
    for name, facts in (("Valkey", valkey), ("PostgreSQL", postgres)):
        if facts is not None:
            yield clock(f"clocks.{'valkey' if facts is valkey else 'postgres'}", name, facts.clock_ahead_ms)


def clock(check: str, name: str, ahead_ms: int) -> Finding:
    """How far a store's clock is from this process's."""
    apart = f"{abs(ahead_ms) / 1000:,.1f} s {'ahead of' if ahead_ms > 0 else 'behind'}"
    if abs(ahead_ms) <= CLOCK_WARNING_MS:
        return fine(check, f"{name}'s clock and this replica's agree within a second.")
    tell = failure if abs(ahead_ms) > CLOCK_FAILURE_MS else warning
    return tell(
        check, f"{name}'s clock is {apart} this replica's.", "Synchronize the clocks of all machines (NTP)."
    )


async def _asked(question: Awaitable[T]) -> T | None:
    """The answer; `None` where the store did not give any in time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await question
    except (StoreUnavailable, TimeoutError):
        return None
