"""The requests of a run, with amounts from a real trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from google.protobuf.duration_pb2 import Duration

from quota.v1 import budget_pb2, money_pb2, quota_pb2, types_pb2
from quota_service.cli.replay.plan import estimated_output
from quota_service.cli.replay.trace import TraceRequest, read_trace
from tests.chaos.journal import LimitChange
from tests.chaos.scene import (
    LANE,
    LANE_SECONDS,
    LANES_PROJECT,
    ORGANIZATIONS,
    PRICES,
    PROVIDER,
    USERS,
    Spent,
)

TRACE = Path(__file__).parents[2] / "examples" / "traces" / "azure-llm-2023-conversation.csv.gz"
TTL_S = (2.0, 4.0)
SHORT_TTL_S = 1.0
ORGANIZATION_WEIGHTS = (70, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One model request that somebody wants to make. `used_tokens`: its output; `estimate_tokens`: held."""

    key: str
    subject: types_pb2.Subject
    model: str
    input_tokens: int
    used_tokens: int
    estimate_tokens: int

    def authorize(self, ttl_s: float) -> quota_pb2.AuthorizeRequest:
        return quota_pb2.AuthorizeRequest(
            idempotency_key=self.key,
            subject=self.subject,
            provider=PROVIDER,
            model=self.model,
            estimate=quota_pb2.Estimate(
                input_tokens=self.input_tokens, max_output_tokens=self.estimate_tokens
            ),
            ttl=duration(ttl_s),
        )

    def commit(
        self, name: str, output_tokens: int, *, keep_open: bool = False, complete: bool
    ) -> quota_pb2.CommitRequest:
        """`complete`: with what it takes to charge a reservation that no store knows."""
        usage = types_pb2.Usage(input_tokens=self.input_tokens, output_tokens=output_tokens)
        request = quota_pb2.CommitRequest(name=name, usage=usage, keep_open=keep_open)
        if complete:
            request.subject.CopyFrom(self.subject)
            request.provider, request.model = PROVIDER, self.model
        return request

    def record(self) -> quota_pb2.RecordRequest:
        return quota_pb2.RecordRequest(
            idempotency_key=self.key,
            subject=self.subject,
            provider=PROVIDER,
            model=self.model,
            usage=types_pb2.Usage(input_tokens=self.input_tokens, output_tokens=self.used_tokens),
        )


class Source:
    """Makes work, the same for the same seed. `run`: begins every key."""

    def __init__(self, run: str, random: Random, trace: Sequence[TraceRequest]) -> None:
        self._run = run
        self._random = random
        self._trace = trace
        self._next = random.randrange(len(trace))
        self._number = 0
        self._began_s = time.monotonic()

    def work(self, *, in_lane: bool) -> Work:
        """The next request of the trace, for somebody."""
        request = self._trace[self._next]
        self._next = (self._next + 1) % len(self._trace)
        subject = types_pb2.Subject(organization=self._organization(), user=self._random.choice(USERS))
        if in_lane:
            subject.project = LANES_PROJECT
            subject.tags[LANE] = f"{(time.monotonic() - self._began_s) // LANE_SECONDS:.0f}"
        return Work(
            key=self.key(),
            subject=subject,
            model=self._random.choice(sorted(PRICES)),
            input_tokens=request.input_tokens,
            used_tokens=request.output_tokens,
            estimate_tokens=estimated_output(request.output_tokens),
        )

    def key(self) -> str:
        self._number += 1
        return f"{self._run}-{self._number}"

    def adjust(self) -> tuple[money_pb2.AdjustBudgetRequest, tuple[LimitChange, ...]]:
        """A top-up of somebody's budget, or (rarely) a cut."""
        organization, user = self._organization(), self._random.choice(USERS)
        micros = self._random.choice((200_000, 300_000, -1_000))
        request = money_pb2.AdjustBudgetRequest(
            name=_budget(organization, "each-user"),
            each_value=user,
            amounts=types_pb2.Amounts(cost_micros=micros),
            reason="chaos",
            request_id=self.key(),
        )
        change = LimitChange(
            organization=organization, budget="each-user", each_value=user, amount=Spent(micros), moved=False
        )
        return request, (change,)

    def reallocate(self) -> tuple[money_pb2.ReallocateBudgetRequest, tuple[LimitChange, ...]]:
        """A little from one team to the other."""
        organization = self._organization()
        source, destination = self._random.sample(("red", "blue"), 2)
        micros = self._random.randrange(1, 1_000)
        request = money_pb2.ReallocateBudgetRequest(
            source=_budget(organization, source),
            destination=_budget(organization, destination),
            amounts=types_pb2.Amounts(cost_micros=micros),
            reason="chaos",
            request_id=self.key(),
        )
        changes = tuple(
            LimitChange(
                organization=organization, budget=budget, each_value="", amount=Spent(amount), moved=True
            )
            for budget, amount in ((source, -micros), (destination, micros))
        )
        return request, changes

    def _organization(self) -> str:
        [organization] = self._random.choices(ORGANIZATIONS, ORGANIZATION_WEIGHTS)
        return organization


def trace() -> list[TraceRequest]:
    return read_trace(TRACE)


def status_request(organization: str, budget: str, each_value: str) -> budget_pb2.GetBudgetStatusRequest:
    return budget_pb2.GetBudgetStatusRequest(name=_budget(organization, budget), each_value=each_value)


def duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1_000_000_000))


def _budget(organization: str, id_: str) -> str:
    return f"organizations/{organization}/budgets/{id_}"
