"""Commit and Release: the end of a reservation."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.memory import Memory
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.recording import Charge, Recording
from quota_service.application.requests import CommitRequest, CommitResult, ReleaseResult
from quota_service.application.statuses import statuses_of_hold
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, ledger
from quota_service.domain.amounts import NOTHING
from quota_service.domain.commands import Settled
from quota_service.domain.errors import (
    AmountTooLarge,
    IdempotencyConflict,
    PriceNotAllowed,
    ReservationNotFound,
)
from quota_service.domain.pricing import Model, rate_card
from quota_service.domain.reservation import Hold, Settlement, State


class Commits:
    """The use case Commit."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        recording: Recording,
        tracked: Tracked,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._recording = recording
        self._tracked = tracked

    async def commit(self, request: CommitRequest) -> CommitResult:
        """Raises what the contract says of Commit. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._commit(request))

    async def _commit(self, request: CommitRequest) -> CommitResult:
        plans = await self._configurations.get(request.organization)
        command = await self._command(plans, request)
        answer = await self._holds.commit(command)
        if isinstance(answer, commands.Unknown):
            remembered = await self._memory.recall(request.organization, request.reservation)
            if remembered is None:
                return await self._charge_unknown(request)
            await self._holds.restore(remembered)
            answer = await self._holds.commit(command)
        match answer:
            case Settled():
                return await self._settled(plans, answer)
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

    async def _command(self, plans: Plans, request: CommitRequest) -> commands.Commit:
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
        hold = await self._memory.look(request.organization, request.reservation)
        return _as_answered(command, request, hold, plans) if hold is not None else command

    async def _settled(self, plans: Plans, answer: Settled) -> CommitResult:
        if answer.event is not None:
            durability = await self._writer.settle(answer.event)
        else:
            durability = await self._memory.durability(answer.hold.organization, _last_key(answer.hold))
        return CommitResult(
            hold=answer.hold,
            settlement=answer.settlement,
            late=answer.late,
            replayed=answer.replayed,
            durability=durability,
            statuses=statuses_of_hold(plans, answer.hold, answer.counters, answer.now_ms),
        )

    async def _charge_unknown(self, request: CommitRequest) -> CommitResult:
        """A reservation that no store knows: charged from what the request says."""
        if request.subject is None or not request.provider or not request.model:
            raise ReservationNotFound(
                "No store knows the reservation. To charge it all the same, send subject, provider and model."
            )
        charge = Charge(
            key=ledger.key_of_end(request.reservation),
            content_hash=_content_hash(request),
            subject=replace(request.subject, organization=request.organization),
            provider=request.provider,
            model=request.model,
            usage=request.usage,
            usage_estimated=request.usage_estimated,
            reservation=request.reservation,
        )
        recorded = await self._recording.charge(charge)
        hold = recorded.entry.hold
        settlement = hold.settlement or Settlement(recorded.entry.charged, NOTHING, NOTHING)
        return CommitResult(
            hold=hold,
            settlement=settlement,
            late=True,
            replayed=recorded.replayed,
            durability=recorded.durability,
            statuses=(),
        )


class Releases:
    """The use case Release."""

    def __init__(self, holds: HoldStore, memory: Memory, writer: LedgerWriter, tracked: Tracked) -> None:
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._tracked = tracked

    async def release(self, organization: str, reservation: str, reason: str) -> ReleaseResult:
        """Raises what the contract says of Release. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._release(organization, reservation, reason))

    async def _release(self, organization: str, reservation: str, reason: str) -> ReleaseResult:
        command = commands.Release(organization=organization, reservation=reservation, reason=reason)
        answer = await self._holds.release(command)
        if isinstance(answer, commands.Unknown):
            remembered = await self._memory.recall(organization, reservation)
            if remembered is None:
                raise ReservationNotFound("No store knows the reservation.")
            return ReleaseResult(hold=remembered, replayed=True)
        if answer.event is not None:
            self._writer.submit(answer.event)
        return ReleaseResult(hold=answer.hold, returned=answer.settlement.returned, replayed=answer.replayed)


def _content_hash(request: CommitRequest) -> str:
    return content_hash(request.usage, request.usage_estimated, request.provider, request.model)


def _as_answered(
    command: commands.Commit, request: CommitRequest, hold: Hold, plans: Plans
) -> commands.Commit:
    """The command for a model other than the held one, at that model's prices of the hold's date.

    One that the catalogue does not have, or had no price for then, is charged at the hold's prices.
    """
    provider, name = request.provider or hold.provider, request.model or hold.model
    model: Model | None = plans.model(provider, name)
    if (provider, name) in ((hold.provider, hold.model), (hold.provider, hold.requested_model)):
        return command
    card = rate_card(model, hold.create_ms) if model is not None else None
    if model is None or card is None:
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
    if hold.state is State.HELD:
        return ledger.key_of_part(hold.reservation, hold.parts)
    return ledger.key_of_late(hold.reservation, hold.late_parts)
