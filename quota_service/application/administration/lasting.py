"""Adjustments until a date: a change of the budget itself, committed together with its ledger entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quota_service.application.administration.changes import Changes
from quota_service.application.administration.counters import Found, LiveCounters
from quota_service.application.administration.money_requests import (
    AdjustRequest,
    LimitStore,
    MoneyResult,
    Past,
    conflict,
    out_of_range,
)
from quota_service.application.ledger_ports import Written
from quota_service.application.ports import HoldStore
from quota_service.domain import adjustments
from quota_service.domain.budget import Adjustment, Budget
from quota_service.domain.commands import Inspect, InspectAnswer, Inspected
from quota_service.domain.errors import BudgetNotFound, FieldProblem, InvalidRequest, StoreUnavailable
from quota_service.domain.ledger import Entry, EntryType, LimitChange, hold_of_changes
from quota_service.domain.terms import Basis, Counters, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class LastingAdjustments:
    """The use case."""

    changes: Changes
    counters: LiveCounters
    holds: HoldStore
    limits: LimitStore
    past: Past

    async def adjust(self, request: AdjustRequest) -> MoneyResult:
        """Changes every window until `request.until_ms`, which is set. Raises IdempotencyConflict,
        StoreUnavailable, InvalidRequest where the limit would be out of range, and what LiveCounters raises.
        """
        organization, names, until_ms = request.organization, (request.counter,), request.until_ms
        assert until_ms is not None
        row = await self.past.find(request)
        if row is not None:
            await self._publish(organization)
            return await self.past.told(organization, row, names, replayed=True)
        if until_ms <= self.holds.now_ms():
            raise InvalidRequest(FieldProblem("until", "must be in the future"))
        # The changes of live windows have their keys there: no request_id may make one of each kind.
        if not await self.limits.claim(organization, request.key, request.content):
            raise conflict(request.request_id)
        found, counters = await self._inspect(request)
        written = await self._write(request, until_ms, found, counters)
        row = await self.past.find(request)
        if row is None:
            raise StoreUnavailable("The ledger cannot be read yet; ask again with the same request_id.")
        return await self.past.told(organization, row, names, replayed=written is Written.REPLAYED)

    async def _inspect(self, request: AdjustRequest) -> tuple[Found, Counters]:
        async def question(basis: Basis, terms: Sequence[Term]) -> InspectAnswer:
            return await self.holds.inspect(Inspect(basis=basis, terms=tuple(terms)))

        names = (request.counter,)
        [found], answer = await self.counters.ask(request.organization, names, request.amounts, question)
        assert isinstance(answer, Inspected)
        return found, answer.counters[0]

    async def _write(
        self, request: AdjustRequest, until_ms: int, found: Found, counters: Counters
    ) -> Written:
        """The budget with the adjustment, and its entry, in one transaction."""
        now_ms = self.holds.now_ms()
        adjustment = Adjustment(
            each_value=request.counter.each_value,
            amounts=request.amounts,
            until_ms=until_ms,
            reason=request.reason,
        )
        said = {"reason": request.reason, "request_id": request.request_id}
        async with self.changes.change(request.organization, **said) as change:
            written = await change.write_entry(_entry(request, until_ms, found.term, now_ms))
            if written is Written.CONFLICT:
                raise conflict(request.request_id)
            if written is Written.NEW:
                stored = await change.get(Budget, request.counter.budget)
                if stored is None:
                    raise BudgetNotFound(f"Budget “{request.counter.budget}” has just been deleted.")
                await change.put(_adjusted(stored.value, adjustment, counters, now_ms))
        return written

    async def _publish(self, organization: str) -> None:
        """What a first attempt committed it may have failed to publish: an empty change publishes too."""
        async with self.changes.change(organization):
            pass


def _adjusted(budget: Budget, adjustment: Adjustment, counters: Counters, now_ms: int) -> Budget:
    wrong = adjustments.out_of_range(budget, adjustment, counters.change, now_ms)
    if wrong:
        raise out_of_range(wrong)
    adjusted = adjustments.with_adjustment(budget, adjustment, now_ms)
    if len(adjustments.live_adjustments(adjusted, now_ms)) > adjustments.ADJUSTMENTS_MAX:
        raise InvalidRequest(
            FieldProblem(
                "until", f"the budget has {adjustments.ADJUSTMENTS_MAX:,} such adjustments, which is the most"
            )
        )
    return adjusted


def _entry(request: AdjustRequest, until_ms: int, term: Term, now_ms: int) -> Entry:
    changes = (LimitChange(term.window, added=request.amounts, until_ms=until_ms),)
    return Entry(
        key=request.key,
        content_hash=request.content,
        type=EntryType.ADJUST,
        at_ms=now_ms,
        occur_ms=now_ms,
        hold=hold_of_changes(request.organization, changes),
        reason=request.reason,
        actor=request.actor,
        changes=changes,
    )
