"""Commit and Release: the end of a reservation."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from quota_service.application.charging import Charge
from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.memory import Memory
from quota_service.application.offline import Offline
from quota_service.application.opening import Openings
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.recording import Recording
from quota_service.application.recovery import Recovery
from quota_service.application.requests import CommitRequest, CommitResult, Durability, ReleaseResult
from quota_service.application.statuses import Status, statuses_of_hold
from quota_service.application.terms import ladder_model
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, ledger
from quota_service.domain.commands import Settled
from quota_service.domain.errors import (
    AmountTooLarge,
    BufferFull,
    IdempotencyConflict,
    OrganizationNotFound,
    PriceNotAllowed,
    QuotaError,
    ReservationNotFound,
    ReservationUnknown,
    StoreUnavailable,
)
from quota_service.domain.ledger import EntryType
from quota_service.domain.pricing import Model, rate_card
from quota_service.domain.reservation import Hold, State
from quota_service.domain.terms import Basis


class Commits:
    """The use case Commit."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        recording: Recording,
        openings: Openings,
        recovery: Recovery,
        offline: Offline,
        tracked: Tracked,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._recording = recording
        self._openings = openings
        self._recovery = recovery
        self._offline = offline
        self._tracked = tracked

    async def commit(self, request: CommitRequest) -> CommitResult:
        """Raises what the contract says of Commit. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._commit(request))

    async def _commit(self, request: CommitRequest) -> CommitResult:
        try:
            answer = await self._in_store(request)
        except (BufferFull, ReservationUnknown):
            raise
        except OrganizationNotFound:
            raise ReservationNotFound("No store knows the reservation.") from None
        except StoreUnavailable:
            done = _done(await self._offline.commit(await self._command(request, offline=True)))
            return _result(done, Durability.LEDGER)
        done = _done(answer)
        durability = await self._durability(done)
        if done.late and done.event is not None:
            done = await self._in_time(request, done)
        return _result(done, durability, await self._statuses(done))

    async def _in_time(self, request: CommitRequest, done: Settled) -> Settled:
        """What a settlement that came late here repeats: it may have been made in time, in the ledger
        alone.
        """
        row = await self._memory.find(request.organization, ledger.key_of_end(request.reservation))
        if (
            row is None
            or row.entry.type is not EntryType.COMMIT
            or row.entry.content_hash != _content_hash(request)
        ):
            return done
        first = row.entry.hold.settlement or done.settlement
        return replace(done, hold=row.entry.hold, settlement=first, late=False, replayed=True)

    async def _in_store(self, request: CommitRequest) -> commands.CommitAnswer:
        """What the deciding store says; it is brought a reservation that only the ledger knows."""
        command = await self._command(request)
        answer = await self._holds.commit(command)
        if isinstance(answer, commands.Unknown) and await self._recovery.apply_pending(request.organization):
            answer = await self._holds.commit(command)
        if isinstance(answer, commands.Unknown):
            epoch = self._holds.epoch_of(request.organization)
            remembered = await self._memory.recall(request.organization, request.reservation)
            if remembered is not None:
                await self._open(remembered)
            await self._holds.restore(remembered or await self._unknown(request), epoch)
            answer = await self._holds.commit(command)
        return answer

    async def _command(self, request: CommitRequest, *, offline: bool = False) -> commands.Commit:
        """`offline`: as far as that can be told without the deciding store."""
        command = commands.Commit(
            organization=request.organization,
            reservation=request.reservation,
            usage=request.usage,
            content_hash=_content_hash(request),
            keep_open=request.keep_open,
            usage_estimated=request.usage_estimated,
        )
        if not request.model and not request.provider:
            return command
        where = (request.organization, request.reservation)
        hold = await (self._offline.hold(*where) if offline else self._memory.look(*where))
        if hold is None or _is_as_held(request, hold):
            return command
        plans = self._configurations.get if offline else self._current
        return _as_answered(command, request, hold, await plans(request.organization))

    async def _open(self, hold: Hold) -> None:
        """What begins with something must have begun before a hold of the ledger's is charged there: the
        store may have lost the window.
        """
        plans = await self._current(hold.organization)
        model = ladder_model(plans.model(hold.provider, hold.model), (hold.provider, hold.model))
        found = [plans.term_in(window, model, self._holds.now_ms()) for window in hold.windows]
        await self._openings.open(plans, [term for _, term in filter(None, found)])

    async def _current(self, organization: str) -> Plans:
        """The newest plans: a price is nothing to be out of date."""
        plans = await self._configurations.get(organization)
        basis = Basis(organization=organization, version=plans.configuration.version)
        answer = await self._holds.inspect(commands.Inspect(basis=basis))
        if isinstance(answer, commands.Stale):
            return await self._configurations.at_least(organization, answer.version)
        return plans

    async def _durability(self, done: Settled) -> Durability:
        if done.event is not None:
            return await self._writer.settle(done.event)
        return await self._memory.durability(done.hold.organization, _last_key(done.hold))

    async def _statuses(self, answer: Settled) -> tuple[Status, ...]:
        """The charge is made, so where the budgets stand is told only as far as it can be."""
        try:
            plans = await self._configurations.get(answer.hold.organization)
        except QuotaError:
            return ()
        return statuses_of_hold(plans, answer.hold, answer.counters, answer.now_ms)

    async def _unknown(self, request: CommitRequest) -> Hold:
        """What stands in for a reservation that no store knows: it held nothing and has ended, so that what
        is charged is its late settlement.
        """
        if request.subject is None or not request.provider or not request.model:
            raise ReservationNotFound(
                "No store knows the reservation. To charge it all the same, send subject, provider and model."
            )
        charge = Charge(
            subject=replace(request.subject, organization=request.organization),
            provider=request.provider,
            model=request.model,
            usage=request.usage,
        )
        return await self._recording.stand_in(request.reservation, charge)


class Releases:
    """The use case Release."""

    def __init__(
        self,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        recovery: Recovery,
        offline: Offline,
        tracked: Tracked,
    ) -> None:
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._recovery = recovery
        self._offline = offline
        self._tracked = tracked

    async def release(self, organization: str, reservation: str, reason: str) -> ReleaseResult:
        """Raises what the contract says of Release. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._release(organization, reservation, reason))

    async def _release(self, organization: str, reservation: str, reason: str) -> ReleaseResult:
        command = commands.Release(organization=organization, reservation=reservation, reason=reason)
        try:
            answer = await self._holds.release(command)
        except BufferFull:
            raise
        except OrganizationNotFound:
            raise ReservationNotFound("No store knows the reservation.") from None
        except StoreUnavailable:
            return await self._offline.release(command)
        if isinstance(answer, commands.Unknown) and await self._recovery.apply_pending(organization):
            answer = await self._holds.release(command)
        if isinstance(answer, commands.Unknown):
            remembered = await self._memory.recall(organization, reservation)
            if remembered is None:
                raise ReservationNotFound("No store knows the reservation.")
            return ReleaseResult(hold=remembered, replayed=True)
        if answer.event is not None:
            self._writer.submit(answer.event)
        return ReleaseResult(hold=answer.hold, returned=answer.settlement.returned, replayed=answer.replayed)


def _done(answer: commands.CommitAnswer) -> Settled:
    match answer:
        case Settled():
            return answer
        case commands.Conflict():
            raise IdempotencyConflict("The reservation was committed before with other content.")
        case commands.TooLarge():
            raise AmountTooLarge("The usage costs more than one request may.", field="usage")
        case commands.PriceRefused():
            raise PriceNotAllowed("The catalogue prices this model.", field="usage.cost_micros")
        case commands.Unknown():
            raise ReservationNotFound("No store knows the reservation.")
        case _:
            assert_never(answer)


def _result(done: Settled, durability: Durability, statuses: tuple[Status, ...] = ()) -> CommitResult:
    return CommitResult(
        hold=done.hold,
        settlement=done.settlement,
        late=done.late,
        replayed=done.replayed,
        durability=durability,
        statuses=statuses,
    )


def _content_hash(request: CommitRequest) -> str:
    return content_hash(request.usage, request.usage_estimated, request.provider, request.model)


def _answered(request: CommitRequest, hold: Hold) -> tuple[str, str]:
    """Provider and model that answered."""
    return request.provider or hold.provider, request.model or hold.model


def _is_as_held(request: CommitRequest, hold: Hold) -> bool:
    """The model that was asked for is not, where another one was granted: it has its own price."""
    return _answered(request, hold) == (hold.provider, hold.model)


def _as_answered(
    command: commands.Commit, request: CommitRequest, hold: Hold, plans: Plans
) -> commands.Commit:
    """The command for a model other than the held one, at that model's prices of the hold's date.

    One that the catalogue does not have, or had no price for then, is charged at the hold's prices; so is one
    that only callers price, where this one names no price.
    """
    provider, name = _answered(request, hold)
    model: Model | None = plans.model(provider, name)
    card = rate_card(model, hold.create_ms) if model is not None else None
    unpriced = model is not None and not model.prices and request.usage.cost_micros is None
    if model is None or card is None or unpriced:
        return replace(command, provider=provider, model=name)
    return replace(
        command,
        rates=card.rates,
        own_price_allowed=model.caller_priced,
        provider=provider,
        model=name,
    )


def _last_key(hold: Hold) -> str:
    """The ledger key of what the hold's last Commit did."""
    if hold.settlement is not None and hold.state is State.COMMITTED:
        return ledger.key_of_end(hold.reservation)
    if hold.settlement is not None:
        return ledger.key_of_late(hold.reservation, 0)
    if hold.state is State.HELD or not hold.late_parts:
        return ledger.key_of_part(hold.reservation, hold.parts)
    return ledger.key_of_late(hold.reservation, hold.late_parts)
