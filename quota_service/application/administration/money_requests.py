"""What is asked of changes of money and told about them, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from quota_service.application import messages
from quota_service.application.administration.counters import CounterName, field_of
from quota_service.application.content import content_hash
from quota_service.application.ledger_ports import Ledger, LedgerRow
from quota_service.application.statuses import Status, Statuses
from quota_service.domain import limit_changes
from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Amounts, Meter
from quota_service.domain.errors import BudgetNotFound, FieldProblem, IdempotencyConflict, InvalidRequest
from quota_service.domain.ledger import key_of_change
from quota_service.domain.limit_changes import Adjust, Reallocate


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustRequest:
    """Signed amounts for one counter's live window or, with `until_ms`, for every window until then.
    `actor`: who asks for it, as far as that is known.
    """

    organization: str
    counter: CounterName
    amounts: Amounts
    until_ms: int | None = None
    reason: str
    request_id: str
    actor: str = ""

    @property
    def key(self) -> str:
        return key_of_change(self.request_id)

    @property
    def content(self) -> str:
        """Tells a repeat from another request under the same id."""
        return content_hash("adjust", self.counter[:2], self.amounts, self.until_ms, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReallocateRequest:
    """Amounts to be moved from one counter's live window to another's. `actor`: as of AdjustRequest."""

    organization: str
    source: CounterName
    destination: CounterName
    amounts: Amounts
    reason: str
    request_id: str
    actor: str = ""

    @property
    def key(self) -> str:
        return key_of_change(self.request_id)

    @property
    def content(self) -> str:
        """As of AdjustRequest."""
        return content_hash("reallocate", self.source[:2], self.destination[:2], self.amounts, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyResult:
    """The ledger's entry, and where each counter that the request names stands: none outside its period, or
    when its budget has been deleted since.
    """

    organization: str
    row: LedgerRow
    statuses: tuple[Sequence[Status], ...]
    replayed: bool = False


class LimitStore(Protocol):
    """Changes the limits of live windows: one atomic step a call."""

    async def adjust(self, command: Adjust) -> limit_changes.AdjustAnswer: ...

    async def reallocate(self, command: Reallocate) -> limit_changes.ReallocateAnswer: ...

    async def claim(self, organization: str, key: str, content_hash: str) -> bool:
        """Keeps a key from any other change of a limit, for longer than a transaction lasts. Whether it was
        free, or claimed for the same content.
        """
        ...


class Past:
    """What the ledger knows of earlier changes."""

    def __init__(self, ledger: Ledger, statuses: Statuses) -> None:
        self._ledger = ledger
        self._statuses = statuses

    async def find(self, request: AdjustRequest | ReallocateRequest) -> LedgerRow | None:
        """The entry of a request that is repeated. Raises IdempotencyConflict where another had its id,
        StoreUnavailable where the ledger does not answer.
        """
        row = await self._ledger.find(request.organization, request.key)
        if row is not None and row.entry.content_hash != request.content:
            raise conflict(request.request_id)
        return row

    async def told(
        self, organization: str, row: LedgerRow, names: Sequence[CounterName], *, replayed: bool
    ) -> MoneyResult:
        """The result of a change that is in the ledger, with where its counters stand by now."""
        statuses = tuple([await self._standing(organization, name) for name in names])
        return MoneyResult(organization=organization, row=row, statuses=statuses, replayed=replayed)

    async def _standing(self, organization: str, name: CounterName) -> Sequence[Status]:
        try:
            return await self._statuses.get(organization, name.budget, name.each_value)
        except (BudgetNotFound, InvalidRequest):
            return ()


def conflict(request_id: str) -> IdempotencyConflict:
    return IdempotencyConflict(f"The request_id “{request_id}” was used before with other content.")


def out_of_range(meters: Sequence[Meter]) -> InvalidRequest:
    """A limit would be less than nothing, or more than a limit may be."""
    problems = (
        f"would take a window's limit out of 0–{messages.amount(WINDOW_LIMIT_MAX, meter)}" for meter in meters
    )
    return InvalidRequest(*map(FieldProblem, map(field_of, meters), problems))
