"""The organizations of `examples/stories` on a real server: loaded as `quota apply` does, then spent from."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from quota.client import connect
from quota.v1 import alert_pb2, budget_pb2, quota_pb2, report_pb2, types_pb2
from quota_service.cli.configure import apply_sources
from quota_service.cli.files import documents
from quota_service.cli.files.changes import Plan
from quota_service.cli.options import Globals
from quota_service.cli.session import Session
from tests.support.service import Client
from tests.support.stores import Stores

DIRECTORY = Path(__file__).parents[2] / "examples" / "stories"
MILLION = 1_000_000
GPT, MINI, OPUS = "openai/gpt-5", "openai/gpt-5-mini", "anthropic/claude-opus-4-1"
"""10, 2 and 75 US dollars per million output tokens, in every story."""
LLAMA = "internal/llama-3.3-70b"
PATIENCE_S = 10


def usd(dollars: int) -> int:
    """Micro-USD."""
    return dollars * 1_000_000


async def applied(client: Client, source: documents.Source) -> Plan:
    """What `quota apply` of a file has changed."""
    async with connect(client.address) as connection:
        session = Session(connection=connection, globals=Globals(address=client.address))
        [plan] = await apply_sources(session, [source], prune=False)
    return plan


class Story:
    """An organization that a story is about. Calls are of output tokens only, so that prices are round."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.parent = f"organizations/{name}"
        self._keys = count()

    @classmethod
    async def loaded(cls, client: Client, name: str) -> Story:
        await applied(client, documents.load(str(DIRECTORY / f"{name}.yaml")))
        return cls(client, name)

    async def ask(
        self, model: str, output_tokens: int = 1, *, least: int = 0, **who: Any
    ) -> quota_pb2.AuthorizeResponse:
        """Authorizes a call of so many tokens, or of at least so many where `least` is given."""
        provider, _, name = model.partition("/")
        request = quota_pb2.AuthorizeRequest(
            idempotency_key=f"k{next(self._keys)}",
            subject=types_pb2.Subject(organization=self.name, **who),
            provider=provider,
            model=name,
            estimate=quota_pb2.Estimate(max_output_tokens=output_tokens),
            min_output_tokens=least,
        )
        return await self.client.quota.Authorize(request)

    async def hold(self, model: str, output_tokens: int = 1, **who: Any) -> quota_pb2.AuthorizeResponse:
        """The answer to a call that must be allowed."""
        answer = await self.ask(model, output_tokens, **who)
        assert answer.decision == types_pb2.DECISION_ALLOW, answer
        return answer

    async def spend(self, model: str, output_tokens: int = 1, **who: Any) -> quota_pb2.AuthorizeResponse:
        """The answer to a call that must be allowed, and has used all that was granted."""
        answer = await self.hold(model, output_tokens, **who)
        await self.settle(answer)
        return answer

    async def settle(self, answer: quota_pb2.AuthorizeResponse) -> None:
        """Commits all that was granted."""
        usage = types_pb2.Usage(output_tokens=answer.granted_output_tokens)
        name = answer.reservation.name
        await self.client.quota.Commit(quota_pb2.CommitRequest(name=name, usage=usage))

    async def refused(self, model: str, output_tokens: int = 1, **who: Any) -> list[tuple[str, str]]:
        """Why, and by what, a call is denied that must not pass."""
        answer = await self.ask(model, output_tokens, **who)
        assert answer.decision == types_pb2.DECISION_DENY, answer
        return by(answer)

    async def record(self, model: str, **who: Any) -> None:
        """Charges a call without asking first."""
        provider, _, name = model.partition("/")
        request = quota_pb2.RecordRequest(
            idempotency_key=f"k{next(self._keys)}",
            subject=types_pb2.Subject(organization=self.name, **who),
            provider=provider,
            model=name,
            usage=types_pb2.Usage(),
        )
        await self.client.quota.Record(request)

    async def status(self, budget: str, each_value: str = "") -> list[types_pb2.BudgetStatus]:
        """One status per limited meter: cost, tokens, requests."""
        name = f"{self.parent}/budgets/{budget}"
        request = budget_pb2.GetBudgetStatusRequest(name=name, each_value=each_value)
        return list((await self.client.budgets.GetBudgetStatus(request)).statuses)

    async def spent(self, budget: str, each_value: str = "") -> int:
        """Micro-USD spent from a budget."""
        return (await self.status(budget, each_value))[0].spent

    async def alerts(self, budget: str, number: int) -> list[str]:
        """The steps that were told of, such as `80 notify`, once there are so many, and no more."""
        request = alert_pb2.ListAlertsRequest(parent=self.parent, source=f"{self.parent}/budgets/{budget}")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = list((await self.client.alerts.ListAlerts(request)).alerts)
                if len(found) >= number:
                    break
                await asyncio.sleep(0.02)
        assert len(found) == number, found
        steps = [(each.step.at_percent, each.step.WhichOneof("action"), each.repeat) for each in found]
        return [f"{at} {action}{f' again {again}' if again else ''}" for at, action, again in sorted(steps)]

    async def ledger(self, number: int, **filters: Any) -> list[report_pb2.LedgerEntry]:
        """The ledger's entries, oldest first, once there are so many. There must not be more."""
        request = report_pb2.ListLedgerEntriesRequest(parent=self.parent, page_size=1_000, **filters)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = (await self.client.reports.ListLedgerEntries(request)).ledger_entries
                if len(found) >= number:
                    break
                await asyncio.sleep(0.02)
        assert len(found) == number, found
        return list(reversed(found))

    async def move_clock(self, stores: Stores, moment: datetime) -> None:
        """Lets the store's clock stand at an instant ahead."""
        [meta] = await stores.keys(f"{{{self.name}}}/meta")
        await stores.valkey.hset(meta, "time", int(moment.timestamp() * 1_000))
        request = budget_pb2.ListBudgetStatusesRequest(parent=self.parent)
        await self.client.budgets.ListBudgetStatuses(request)


def by(answer: quota_pb2.AuthorizeResponse) -> list[tuple[str, str]]:
    """Why, and by the id of what, a call was denied."""
    return [
        (types_pb2.Reason.Name(each.reason).removeprefix("REASON_"), each.source.rpartition("/")[2])
        for each in answer.violations
    ]


def mid_month(months: int = 1) -> datetime:
    """Noon of the 15th, so many months from now: far from where any period ends but a week."""
    month = datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(months):
        month = (month + timedelta(days=31)).replace(day=15)
    return month
