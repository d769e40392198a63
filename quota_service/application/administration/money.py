"""Changing money: top-ups and cuts of a live window, and reallocation between two of them.

The deciding store makes the change in one atomic step and remembers its key until the ledger has it; the
ledger is asked first, so that nothing is changed that it could not take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from quota_service.application import messages
from quota_service.application.administration.counters import (
    CounterName,
    Decided,
    Found,
    LiveCounters,
    Question,
)
from quota_service.application.administration.lasting import LastingAdjustments
from quota_service.application.administration.money_requests import (
    AdjustRequest,
    LimitStore,
    MoneyResult,
    Past,
    ReallocateRequest,
    conflict,
    out_of_range,
)
from quota_service.application.requests import Durability
from quota_service.application.tracking import Tracked
from quota_service.application.writing import LedgerWriter
from quota_service.domain import limit_changes
from quota_service.domain.amounts import Amounts, Meter
from quota_service.domain.commands import Conflict, Inspected
from quota_service.domain.errors import HeadroomMissing, StoreUnavailable
from quota_service.domain.limit_changes import Adjust, Changed, OutOfRange, Reallocate, Short
from quota_service.domain.terms import Basis, Counters, Term

WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""How a repeat waits for the ledger to get the entry of the first."""


class Money:
    """The use case. Every method goes on if the caller is cancelled, and raises IdempotencyConflict,
    StoreUnavailable, and what LiveCounters raises.
    """

    def __init__(
        self,
        counters: LiveCounters,
        limits: LimitStore,
        lasting: LastingAdjustments,
        past: Past,
        writer: LedgerWriter,
        tracked: Tracked,
    ) -> None:
        self._counters = counters
        self._limits = limits
        self._lasting = lasting
        self._past = past
        self._writer = writer
        self._tracked = tracked

    async def adjust(self, request: AdjustRequest) -> MoneyResult:
        """Changes the limit of the live window, or of every window until a date. Raises InvalidRequest where
        it would be out of range.
        """
        lasts = request.until_ms is not None
        return await self._tracked.run(self._lasting.adjust(request) if lasts else self._adjust(request))

    async def reallocate(self, request: ReallocateRequest) -> MoneyResult:
        """Moves what is neither spent nor held. Raises HeadroomMissing where there is less of it,
        InvalidRequest where a limit would be out of range.
        """
        return await self._tracked.run(self._reallocate(request))

    async def _adjust(self, request: AdjustRequest) -> MoneyResult:
        async def question(basis: Basis, terms: Sequence[Term]) -> limit_changes.AdjustAnswer:
            command = Adjust(
                basis=basis,
                key=request.key,
                content_hash=request.content,
                term=terms[0],
                amounts=request.amounts,
                reason=request.reason,
                actor=request.actor,
            )
            return await self._limits.adjust(command)

        return await self._change(request, (request.counter,), question)

    async def _reallocate(self, request: ReallocateRequest) -> MoneyResult:
        async def question(basis: Basis, terms: Sequence[Term]) -> limit_changes.ReallocateAnswer:
            command = Reallocate(
                basis=basis,
                key=request.key,
                content_hash=request.content,
                source=terms[0],
                destination=terms[1],
                amounts=request.amounts,
                reason=request.reason,
                actor=request.actor,
            )
            return await self._limits.reallocate(command)

        return await self._change(request, (request.source, request.destination), question)

    async def _change(
        self,
        request: AdjustRequest | ReallocateRequest,
        names: Sequence[CounterName],
        question: Question,
    ) -> MoneyResult:
        """Asks the ledger first, which also tells whether it answers at all; then makes the change."""
        if (row := await self._past.find(request)) is not None:
            return await self._past.told(request.organization, row, names, replayed=True)
        found, answer = await self._counters.ask(request.organization, names, request.amounts, question)
        return await self._result(request, names, found, answer)

    async def _result(
        self,
        request: AdjustRequest | ReallocateRequest,
        names: Sequence[CounterName],
        found: Sequence[Found],
        answer: Decided,
    ) -> MoneyResult:
        match answer:
            case Changed(event=event, counters=counters) if event is not None:
                durability = await self._writer.settle(event)
                row = await self._past.find(request) if durability is Durability.LEDGER else None
                if row is None:
                    raise _under_way()
                standing = zip(found, counters, strict=True)
                return MoneyResult(
                    organization=request.organization,
                    row=row,
                    statuses=tuple((each.standing(state),) for each, state in standing),
                )
            case Changed():
                return await self._made_before(request, names)
            case Conflict():
                raise conflict(request.request_id)
            case Short(counters=counters):
                raise _headroom_missing(found[0], counters[0], request.amounts)
            case OutOfRange():
                raise out_of_range([meter for meter in Meter if request.amounts[meter]])
            case Inspected():
                raise AssertionError("nobody asked how windows stand")

    async def _made_before(
        self, request: AdjustRequest | ReallocateRequest, names: Sequence[CounterName]
    ) -> MoneyResult:
        """Valkey knows the change: somebody has made it, a moment ago or while the ledger was away."""
        for pause_s in WAITS_S:
            row = await self._past.find(request)
            if row is not None:
                return await self._past.told(request.organization, row, names, replayed=True)
            await asyncio.sleep(pause_s)
        raise _under_way()


def _headroom_missing(source: Found, counters: Counters, amounts: Amounts) -> HeadroomMissing:
    limits = source.term.limits
    missing = [
        f"{messages.amount(limit_changes.headroom(counters, limits, meter), meter)} of "
        f"{messages.amount(amounts[meter], meter)}"
        for meter in limit_changes.short_meters(counters, limits, amounts)
    ]
    return HeadroomMissing(
        f"Budget “{source.budget.id}” does not have that much left, spent and held taken off: "
        f"{' and '.join(missing)}. Nothing was moved."
    )


def _under_way() -> StoreUnavailable:
    return StoreUnavailable(
        "The change is made and in force, and on its way to the ledger; "
        "ask again with the same request_id for its entry."
    )
