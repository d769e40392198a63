"""Record: charge usage without a reservation. Also the Commit of a reservation that no store knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.memory import Memory
from quota_service.application.plans import Moment, Plan, Plans
from quota_service.application.ports import HoldStore, LedgerRow
from quota_service.application.requests import Durability, RecordRequest, RecordResult
from quota_service.application.statuses import ATTEMPTS
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, ledger
from quota_service.domain.amounts import Amounts
from quota_service.domain.commands import Basis
from quota_service.domain.errors import (
    IdempotencyConflict,
    ModelUnknown,
    QuotaError,
    StoreUnavailable,
    TimeInFuture,
)
from quota_service.domain.pricing import Usage, charge, cost_pico, own_price_allowed
from quota_service.domain.reservation import Hold
from quota_service.domain.subject import Subject

CLOCK_TOLERANCE_MS = 1_000
"""By how much a caller's clock may be ahead of the store's; what is in between is taken as now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What to charge, once for `key`. With `reservation` it is that reservation's late Commit. `occur_ms`
    `None`: now.
    """

    key: str
    content_hash: str
    subject: Subject
    provider: str
    model: str
    usage: Usage
    usage_estimated: bool = False
    reservation: str = ""
    occur_ms: int | None = None


class _Priced(NamedTuple):
    hold: Hold
    charged: Amounts
    pico: int
    occur_ms: int


class Recording:
    """The use case."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        tracked: Tracked,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._tracked = tracked

    async def record(self, request: RecordRequest) -> RecordResult:
        """Raises what the contract says of Record. Goes on if the caller is cancelled."""
        found = Charge(
            key=ledger.key_of_record(request.idempotency_key),
            content_hash=_content_hash(request),
            subject=request.subject,
            provider=request.provider,
            model=request.model,
            usage=request.usage,
            occur_ms=request.occur_ms,
        )
        return await self._tracked.run(self.charge(found))

    async def charge(self, charge_: Charge) -> RecordResult:
        """Charges every window that the subject's request falls under at that time, for the first time or
        not at all.
        """
        organization = await self._configurations.organization_of(charge_.subject)
        plans = await self._configurations.get(organization)
        known = await self._memory.find(organization, charge_.key)
        if known is not None:
            return _replayed(organization, charge_, known)
        for _ in range(ATTEMPTS):
            basis = Basis(organization=organization, version=plans.configuration.version)
            answer: commands.RecordAnswer | commands.OutsideBasis
            try:
                answer = await self._holds.record(_command(basis, charge_, self._price(plans, charge_)))
            except QuotaError as error:
                answer = await self._proven(basis, error)
            match answer:
                case commands.Stale():
                    plans = await self._configurations.at_least(organization, answer.version)
                case commands.Recorded(event=event) if event is not None:
                    durability = await self._writer.settle(event)
                    row = await self._memory.find(organization, charge_.key)
                    return _result(organization, event, row, durability)
                case commands.Recorded():
                    return await self._recorded_before(organization, charge_)
                case commands.Conflict():
                    raise IdempotencyConflict("The key is in use for a charge with other content.")
        raise StoreUnavailable("The configuration changes faster than a charge can be made.")

    async def _proven(self, basis: Basis, error: QuotaError) -> commands.Stale:
        """Raises the error if the configuration that it comes from is current."""
        if isinstance(error, StoreUnavailable):
            raise error
        current = await self._holds.inspect(commands.Inspect(basis=basis, windows=()))
        if isinstance(current, commands.Stale):
            return current
        raise error

    def _price(self, plans: Plans, charge_: Charge) -> _Priced:
        now_ms = self._holds.now_ms()
        occur_ms = now_ms if charge_.occur_ms is None else charge_.occur_ms
        if occur_ms > now_ms + CLOCK_TOLERANCE_MS:
            raise TimeInFuture("must not be in the future", field="occur_time")
        occur_ms = min(occur_ms, now_ms)
        plan = plans.plan(charge_.subject, charge_.provider, charge_.model)
        moment = plan.at(now_ms) if charge_.occur_ms is None else plan.moment(occur_ms)
        if plan.model is None or moment.card is None:
            raise ModelUnknown(
                f"The catalogue has no price for {charge_.provider}/{charge_.model} at that time."
            )
        own_price_allowed(plan.model, charge_.usage.cost_micros, "usage.cost_micros")
        rates = moment.card.rates
        return _Priced(
            _draft(plan, moment, charge_),
            charge(rates, charge_.usage),
            cost_pico(rates, charge_.usage),
            occur_ms,
        )

    async def _recorded_before(self, organization: str, charge_: Charge) -> RecordResult:
        """Valkey knows the charge: somebody has made it, a moment ago or while the ledger was away."""
        row = await self._memory.find(organization, charge_.key)
        if row is None:
            raise StoreUnavailable(
                "The charge is made and on its way to the ledger; ask again for its entry."
            )
        return _replayed(organization, charge_, row)


def _content_hash(request: RecordRequest) -> str:
    subject = request.subject
    return content_hash(
        (subject.organization, subject.team, subject.user, subject.api_key, subject.project, subject.tags),
        request.provider,
        request.model,
        request.usage,
        request.occur_ms,
    )


def _draft(plan: Plan, moment: Moment, charge_: Charge) -> Hold:
    return Hold(
        organization=moment.basis.organization,
        reservation=charge_.reservation,
        subject=plan.subject,
        provider=charge_.provider,
        model=charge_.model,
        requested_model=charge_.model,
        rates=moment.card.rates if moment.card else (),
        caller_priced=plan.model is not None and plan.model.caller_priced,
        windows=tuple(term.window for term in moment.terms),
    )


def _command(basis: Basis, charge_: Charge, priced: _Priced) -> commands.Record:
    return commands.Record(
        basis=basis,
        key=charge_.key,
        content_hash=charge_.content_hash,
        hold=priced.hold,
        usage=charge_.usage,
        charged=priced.charged,
        cost_pico=priced.pico,
        occur_ms=priced.occur_ms,
        late=bool(charge_.reservation),
        usage_estimated=charge_.usage_estimated,
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


def _replayed(organization: str, charge_: Charge, row: LedgerRow) -> RecordResult:
    if row.entry.content_hash != charge_.content_hash:
        raise IdempotencyConflict("The key was used before for a charge with other content.")
    return RecordResult(
        organization=organization,
        entry=row.entry,
        entry_id=row.id,
        create_ms=row.create_ms,
        durability=Durability.LEDGER,
        replayed=True,
    )
