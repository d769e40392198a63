"""Record: charge usage without a reservation. Also what stands in for a reservation that no store knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from quota_service.application import outage_entries
from quota_service.application.charging import Charge, Priced, price
from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.ledger_ports import LedgerRow
from quota_service.application.memory import Memory
from quota_service.application.offline import Offline
from quota_service.application.opening import Openings
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.requests import Durability, RecordRequest, RecordResult
from quota_service.application.statuses import ATTEMPTS
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, ledger
from quota_service.domain.errors import (
    BufferFull,
    IdempotencyConflict,
    QuotaError,
    StoreUnavailable,
)
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold, State
from quota_service.domain.terms import Basis

WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""How a repeat waits for the ledger to get the entry of the first."""


class Recording:
    """The use case."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        openings: Openings,
        offline: Offline,
        tracked: Tracked,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._openings = openings
        self._offline = offline
        self._tracked = tracked

    async def record(self, request: RecordRequest) -> RecordResult:
        """Raises what the contract says of Record. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._record(request))

    async def _record(self, request: RecordRequest) -> RecordResult:
        """Charges every window that the subject's request falls under at that time, for the first time or
        not at all.
        """
        organization = await self._configurations.organization_of(request.subject)
        plans = await self._configurations.get(organization)
        key, content = ledger.key_of_record(request.idempotency_key), _content_hash(request)
        known = await self._memory.find(organization, key)
        if known is not None:
            return _replayed(organization, content, known)
        try:
            return await self._in_store(organization, plans, request, key, content)
        except BufferFull:
            raise
        except StoreUnavailable:
            return await self._in_ledger(organization, request, key, content)

    async def _in_ledger(
        self, organization: str, request: RecordRequest, key: str, content: str
    ) -> RecordResult:
        """While the deciding store is away: under the configuration as PostgreSQL has it now."""
        self._offline.require_ledger()
        plans = await self._configurations.newest(organization)
        priced = price(plans, _charge(request), self._holds.now_ms())
        entry = outage_entries.of_record(
            priced.hold,
            key=key,
            content_hash=content,
            usage=request.usage,
            charged=priced.charged,
            cost_pico=priced.pico,
            at_ms=self._holds.now_ms(),
            occur_ms=priced.occur_ms,
        )
        await self._offline.write(entry)
        row = await self._memory.find(organization, key)
        if row is None:
            raise StoreUnavailable("The charge is in the ledger, which does not answer any more; ask again.")
        return replace(_replayed(organization, content, row), replayed=False)

    async def _in_store(
        self, organization: str, plans: Plans, request: RecordRequest, key: str, content: str
    ) -> RecordResult:
        for _ in range(ATTEMPTS):
            basis = Basis(organization=organization, version=plans.configuration.version)
            answer: commands.RecordAnswer
            try:
                priced = price(plans, _charge(request), self._holds.now_ms())
                answer = await self._holds.record(_command(basis, key, content, request.usage, priced))
                if isinstance(answer, commands.Unopened):
                    await self._openings.open(plans, priced.terms)
                    continue
            except QuotaError as error:
                answer = await self._proven(basis, error)
            match answer:
                case commands.Stale():
                    plans = await self._configurations.at_least(organization, answer.version)
                case commands.Recorded(event=event) if event is not None:
                    durability = await self._writer.settle(event)
                    row = await self._memory.find(organization, key)
                    return _result(organization, event, row, durability)
                case commands.Recorded():
                    return await self._recorded_before(organization, key, content)
                case commands.Conflict():
                    raise IdempotencyConflict("The key is in use for a charge with other content.")
        raise StoreUnavailable("The configuration changes faster than a charge can be made.")

    async def stand_in(self, reservation: str, charge_: Charge) -> Hold:
        """A hold for a reservation that no store knows: it held nothing, has ended, and counts where the
        charge would under the current configuration. Raises ModelUnknown, PriceNotAllowed, AmountTooLarge.
        """
        organization = charge_.subject.organization
        plans = await self._configurations.get(organization)
        for _ in range(ATTEMPTS):
            basis = Basis(organization=organization, version=plans.configuration.version)
            answer = await self._holds.inspect(commands.Inspect(basis=basis))
            if isinstance(answer, commands.Stale):
                plans = await self._configurations.at_least(organization, answer.version)
                continue
            priced = price(plans, charge_, self._holds.now_ms())
            await self._openings.open(plans, priced.terms)
            return _ended(priced, reservation)
        raise StoreUnavailable("The configuration changes faster than a charge can be made.")

    async def _proven(self, basis: Basis, error: QuotaError) -> commands.Stale:
        """Raises the error if the configuration that it comes from is current."""
        if isinstance(error, StoreUnavailable):
            raise error
        current = await self._holds.inspect(commands.Inspect(basis=basis))
        if isinstance(current, commands.Stale):
            return current
        raise error

    async def _recorded_before(self, organization: str, key: str, content: str) -> RecordResult:
        """Valkey knows the charge: somebody has made it, a moment ago or while the ledger was away."""
        for pause_s in WAITS_S:
            row = await self._memory.find(organization, key)
            if row is not None:
                return _replayed(organization, content, row)
            await asyncio.sleep(pause_s)
        raise StoreUnavailable("The charge is made and on its way to the ledger; ask again for its entry.")


def _content_hash(request: RecordRequest) -> str:
    subject = request.subject
    return content_hash(
        (subject.organization, subject.team, subject.user, subject.api_key, subject.project, subject.tags),
        request.provider,
        request.model,
        request.usage,
        request.occur_ms,
    )


def _charge(request: RecordRequest) -> Charge:
    return Charge(
        subject=request.subject,
        provider=request.provider,
        model=request.model,
        usage=request.usage,
        occur_ms=request.occur_ms,
    )


def _ended(priced: Priced, reservation: str) -> Hold:
    at_ms = priced.occur_ms
    return replace(
        priced.hold,
        reservation=reservation,
        state=State.EXPIRED,
        create_ms=at_ms,
        expire_ms=at_ms,
        end_ms=at_ms,
    )


def _command(basis: Basis, key: str, content: str, usage: Usage, priced: Priced) -> commands.Record:
    return commands.Record(
        basis=basis,
        key=key,
        content_hash=content,
        hold=priced.hold,
        terms=priced.terms,
        usage=usage,
        charged=priced.charged,
        cost_pico=priced.pico,
        occur_ms=priced.occur_ms,
    )


def _result(
    organization: str, event: commands.Event, row: LedgerRow | None, durability: Durability
) -> RecordResult:
    return RecordResult(
        organization=organization,
        entry=event.entry,
        entry_id=row.id if row is not None else 0,
        create_ms=row.create_ms if row is not None else 0,
        durability=durability,
        replayed=False,
    )


def _replayed(organization: str, content: str, row: LedgerRow) -> RecordResult:
    if row.entry.content_hash != content:
        raise IdempotencyConflict("The key was used before for a charge with other content.")
    return RecordResult(
        organization=organization,
        entry=row.entry,
        entry_id=row.id,
        create_ms=row.create_ms,
        durability=Durability.LEDGER,
        replayed=True,
    )
