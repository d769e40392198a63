"""Extend: more time, more output tokens, or both."""

from __future__ import annotations

from dataclasses import replace

from quota_service.application import denials
from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.denials import Counted, Stopped
from quota_service.application.memory import Memory
from quota_service.application.plans import Plan, Plans
from quota_service.application.ports import HoldStore
from quota_service.application.recovery import Recovery
from quota_service.application.requests import ExtendRequest, ExtendResult
from quota_service.application.statuses import ATTEMPTS
from quota_service.application.terms import Bounds, ladder_model, term_of
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, reservation
from quota_service.domain.amounts import UNLIMITED
from quota_service.domain.budget import Budget, Mode
from quota_service.domain.errors import (
    AmountTooLarge,
    IdempotencyConflict,
    ReservationEnded,
    StoreUnavailable,
)
from quota_service.domain.ledger import key_of_extend
from quota_service.domain.reservation import Hold, State
from quota_service.domain.terms import Basis, Term, Terms


class Extension:
    """The use case."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        memory: Memory,
        writer: LedgerWriter,
        recovery: Recovery,
        tracked: Tracked,
        alerts: Stopped,
        counts: Counted,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._memory = memory
        self._writer = writer
        self._recovery = recovery
        self._tracked = tracked
        self._alerts = alerts
        self._counts = counts

    async def extend(self, request: ExtendRequest) -> ExtendResult:
        """Raises what the contract says of Extend. Goes on if the caller is cancelled."""
        return await self._tracked.run(self._extend(request))

    async def _extend(self, request: ExtendRequest) -> ExtendResult:
        hold = await self._live(request)
        if await self._was_extended(request):
            # It may have been since the hold was looked up.
            return ExtendResult(hold=await self._memory.get(request.organization, request.reservation))
        plans = await self._configurations.get(request.organization)
        for _ in range(ATTEMPTS):
            command = _command(plans, hold, request, self._holds.now_ms())
            answer = await self._holds.extend(command)
            match answer:
                case commands.Stale():
                    plans = await self._configurations.at_least(request.organization, answer.version)
                case commands.OutsideBasis():
                    pass
                case commands.Granted():
                    if answer.event is not None:
                        self._writer.submit(answer.event)
                    return ExtendResult(hold=answer.hold)
                case commands.Denied():
                    if denied := self._denied(plans, hold, command, answer):
                        return denied
                    # Another extension came in between, and by now there would be room.
                    hold = await self._memory.get(request.organization, request.reservation)
                case commands.Unknown():
                    # Only the ledger knows it: what happened while Valkey was away comes there afterwards.
                    await self._recovery.apply_pending(request.organization)
                    hold = await self._live(request)
                case _:
                    raise _error(answer)
        raise StoreUnavailable("The configuration changes faster than a decision can be made.")

    async def _live(self, request: ExtendRequest) -> Hold:
        """Raises ReservationNotFound, ReservationEnded."""
        hold = await self._memory.get(request.organization, request.reservation)
        if hold.state is not State.HELD and await self._recovery.apply_pending(request.organization):
            hold = await self._memory.get(request.organization, request.reservation)
        if hold.state is not State.HELD:
            raise ReservationEnded("The reservation has ended.")
        return hold

    async def _was_extended(self, request: ExtendRequest) -> bool:
        """Whether the ledger has this extension, which Valkey may have lost. Raises IdempotencyConflict."""
        if not request.request_id:
            return False
        key = key_of_extend(request.reservation, request.request_id)
        known = await self._memory.find(request.organization, key)
        if known is not None and known.entry.content_hash != _content_hash(request):
            raise IdempotencyConflict("The request_id is in use for another extension.")
        return known is not None

    def _denied(
        self, plans: Plans, hold: Hold, command: commands.Extend, answer: commands.Denied
    ) -> ExtendResult | None:
        """The denial, told by the hold as it was known; `None` where that says that there is room."""
        now_ms, terms, plan = answer.now_ms, command.terms, _plan(plans, hold)
        budgets = [budget for budget, _ in _budgets(plans, hold, now_ms, Bounds())]
        more = reservation.extend(
            replace(hold, state=State.HELD),
            ttl_ms=0,
            additional_output_tokens=command.additional_output_tokens,
            now_ms=now_ms,
        ).held
        violations = denials.violations(answer, budgets, terms, more, plans.configuration.rate_limits)
        if not violations:
            return None
        counters, who = dict(zip(hold.windows, answer.counters, strict=True)), hold.subject
        stops = denials.stops(counters, budgets, terms.budgets, more, plan.ladder_model, who)
        self._alerts.stopped(plans.organization, stops)
        self._counts.denied(plans.organization, who, hold.provider, hold.model, violations, now_ms)
        return ExtendResult(hold=hold, violations=violations)


def _error(
    answer: commands.Conflict | commands.Ended | commands.TooLarge,
) -> IdempotencyConflict | ReservationEnded | AmountTooLarge:
    match answer:
        case commands.Conflict():
            return IdempotencyConflict("The request_id is in use for another extension.")
        case commands.Ended():
            return ReservationEnded("The reservation has ended.")
        case commands.TooLarge():
            return AmountTooLarge(
                "The whole would cost more than one request may.", field="additional_output_tokens"
            )


def _command(plans: Plans, hold: Hold, request: ExtendRequest, now_ms: int) -> commands.Extend:
    bounds = Bounds()
    budgets = tuple(term for _, term in _budgets(plans, hold, now_ms, bounds))
    configuration = plans.configuration
    return commands.Extend(
        basis=Basis(
            organization=request.organization,
            version=configuration.version,
            from_ms=bounds.from_ms,
            until_ms=bounds.until_ms,
        ),
        reservation=request.reservation,
        request_id=request.request_id,
        content_hash=_content_hash(request),
        ttl_ms=request.ttl_ms,
        additional_output_tokens=_clamped(plans, hold, request.additional_output_tokens),
        terms=Terms(budgets=budgets, rates=_plan(plans, hold).rates),
    )


def _content_hash(request: ExtendRequest) -> str:
    return content_hash(request.ttl_ms, request.additional_output_tokens)


def _plan(plans: Plans, hold: Hold) -> Plan:
    """What the configuration means by now for the request that the hold was granted to."""
    return plans.plan(replace(hold.subject, cost_center=""), hold.provider, hold.model)


def _budgets(plans: Plans, hold: Hold, now_ms: int, bounds: Bounds) -> list[tuple[Budget, Term]]:
    """The hold's windows under today's budgets. One whose budget is gone limits nothing."""
    model = ladder_model(plans.model(hold.provider, hold.model), (hold.provider, hold.model))
    found = []
    for window in hold.windows:
        budget = plans.configuration.budgets.get(window.budget)
        if budget is None or budget.disabled:
            gone = Budget(id=window.budget, mode=Mode.MONITOR)
            found.append((gone, Term(window, UNLIMITED, 100, Mode.MONITOR)))
        else:
            found.append((budget, term_of(budget, window, model, now_ms, bounds)))
    return found


def _clamped(plans: Plans, hold: Hold, additional: int) -> int:
    """The additional tokens, as far as the model's maximum leaves room for them."""
    model = plans.model(hold.provider, hold.model)
    if model is None or not model.max_output_tokens:
        return additional
    return max(0, min(additional, model.max_output_tokens - hold.granted_output_tokens))
