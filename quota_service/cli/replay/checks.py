"""The three checks after a replay: nothing exceeded, nothing leaked, the counters equal the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quota.client import Connection
from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files.server import list_budgets
from quota_service.cli.listing import list_reservations
from quota_service.cli.output import counted, short_id
from quota_service.cli.replay.ledgersums import LedgerSums, sum_ledger, window_of
from quota_service.cli.replay.outcomes import Counted, Outcomes
from quota_service.cli.tables import METERS, amount_of

ATTEMPTS = 10
PATIENCE_S = 20
PAUSE_S = 0.5
AT_ONCE = 16
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what must hold, what was looked at, and what contradicts it."""

    name: str
    examined: str
    contradictions: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.contradictions


class Checker:
    """Runs the checks over every counter that a run touched."""

    def __init__(self, connection: Connection, parent: str, outcomes: Outcomes) -> None:
        self.connection = connection
        self.parent = parent
        self.outcomes = outcomes

    async def run(self) -> list[Check]:
        """Waits until the last hold of the run has expired, then checks."""
        await asyncio.sleep(max(0, self.outcomes.last_expiry_ns / 1e9 - time.time()))
        leaked = await self._leaks()
        budgets = {item.name: item async for item in list_budgets(self.connection, self.parent)}
        statuses, sums = await self._settled(budgets)
        return [exceeded(statuses, sums), leaked, differing(statuses, sums)]

    async def _leaks(self) -> Check:
        """No hold of this run is live, and where nobody else holds anything, counters hold nothing."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            contradictions, others = await self._held()
            if not contradictions or time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_S)
        examined = ", ".join(
            (
                counted(len(self.outcomes.counters), "counter"),
                counted(len(self.outcomes.granted_names), "reservation"),
            )
        )
        if others:
            examined += f"; {counted(others, 'hold')} of others live"
        return Check(name="no hold leaked", examined=examined, contradictions=tuple(contradictions[:SHOWN]))

    async def _held(self) -> tuple[list[str], int]:
        live = [
            item.name async for item in list_reservations(self.connection, self.parent, types_pb2.Subject())
        ]
        mine = [name for name in live if name in self.outcomes.granted_names]
        contradictions = [f"{name} is still live" for name in mine]
        others = len(live) - len(mine)
        if not live:
            contradictions += [
                f"{_title(status)} holds {_amount(status, status.held)} though nothing is live"
                for status in await self._statuses()
                if status.held
            ]
        return contradictions, others

    async def _settled(
        self, budgets: Mapping[str, budget_pb2.Budget]
    ) -> tuple[Sequence[types_pb2.BudgetStatus], LedgerSums]:
        """Statuses and sums, once they agree or patience is over: what is buffered needs a moment."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            statuses = await self._statuses()
            sums = await sum_ledger(self.connection, self.parent, statuses, budgets)
            if differing(statuses, sums).passed or time.monotonic() > deadline:
                return statuses, sums
            await asyncio.sleep(PAUSE_S)

    async def _statuses(self) -> list[types_pb2.BudgetStatus]:
        limit = asyncio.Semaphore(AT_ONCE)

        async def statuses_of(counted: Counted) -> Sequence[types_pb2.BudgetStatus]:
            request = budget_pb2.GetBudgetStatusRequest(name=counted.source, each_value=counted.each_value)
            async with limit:
                answer = await self.connection.call(
                    self.connection.budgets.GetBudgetStatus, request, attempts=ATTEMPTS
                )
            return answer.statuses

        answers = await asyncio.gather(*map(statuses_of, sorted(self.outcomes.counters)))
        return [status for statuses in answers for status in statuses]


def exceeded(statuses: Sequence[types_pb2.BudgetStatus], sums: LedgerSums) -> Check:
    """No hard budget is over its ceiling by more than its itemised overruns."""
    hard = [status for status in statuses if status.mode == types_pb2.MODE_HARD]
    contradictions = []
    for status in hard:
        ceiling = status.ceiling if status.HasField("ceiling") else status.limit
        over = status.spent + status.held - ceiling
        itemised = sums.itemised[window_of(status)]
        if over > max(0, itemised):
            contradictions.append(
                f"{_title(status)} is {_amount(status, over)} over {_amount(status, ceiling)},"
                f" of which {_amount(status, itemised)} are itemised (was its limit cut in this window?)"
            )
    return Check(
        name="no hard budget exceeded beyond its itemised overruns",
        examined=f"{counted(len(hard), 'window')} of hard budgets",
        contradictions=tuple(contradictions[:SHOWN]),
    )


def differing(statuses: Sequence[types_pb2.BudgetStatus], sums: LedgerSums) -> Check:
    """What the live counters call spent is the sum of the ledger."""
    contradictions = [
        f"{_title(status)}: spent {_amount(status, status.spent)},"
        f" the ledger's sum is {_amount(status, sums.charged[window_of(status)])}"
        for status in statuses
        if not sums.explain(window_of(status), status.spent)
    ]
    return Check(
        name="spent equals the ledger's sum",
        examined=counted(len(statuses), "window"),
        contradictions=tuple(contradictions[:SHOWN]),
    )


def _title(status: types_pb2.BudgetStatus) -> str:
    name = short_id(status.source)
    return f"{name} [{status.each_value}]" if status.each_value else name


def _amount(status: types_pb2.BudgetStatus, value: int) -> str:
    return amount_of(METERS.get(status.meter, ""), value)
