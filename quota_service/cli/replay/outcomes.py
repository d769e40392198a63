"""What became of the requests of a replay, added up as the answers come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from quota.client import ApiError
from quota.v1 import quota_pb2, types_pb2
from quota_service.cli.replay.plan import Call, Fate


class Counted(NamedTuple):
    """A budget's counter: its name, and the value of its `each` dimension."""

    source: str
    each_value: str


class Denial(NamedTuple):
    """Why something was denied, and by which budget (or other limit)."""

    reason: str
    source: str
    each_value: str
    meter: str


@dataclass(slots=True)
class Outcomes:
    """Sums over a run. Money in micro-USD, latencies in ns."""

    granted: int = 0
    denied: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    denials: Counter[Denial] = field(default_factory=Counter)
    not_needed: int = 0
    asked_again: int = 0
    spent_by_team: Counter[str] = field(default_factory=Counter)
    requests_by_team: Counter[str] = field(default_factory=Counter)
    charged_micros: int = 0
    held_micros: int = 0
    overrun_micros: int = 0
    still_held_micros: int = 0
    late: int = 0
    buffered: int = 0
    retries: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    authorize_ns: list[int] = field(default_factory=list)
    commit_ns: list[int] = field(default_factory=list)
    counters: set[Counted] = field(default_factory=set)
    last_expiry_ns: int = 0
    granted_names: set[str] = field(default_factory=set)

    def authorized(self, call: Call, answer: quota_pb2.AuthorizeResponse) -> None:
        """Notes an answer to Authorize."""
        self._saw(answer.budgets)
        if answer.decision != types_pb2.DECISION_ALLOW:
            self.denied += 1
            self.denials.update({_denial(violation) for violation in answer.violations})
            return
        self.granted += 1
        self.fates[call.fate] += 1
        self.granted_names.add(answer.reservation.name)
        if call.fate is Fate.ABANDONED:
            self.still_held_micros += answer.reservation.held.cost_micros
            expiry = answer.reservation.expire_time.ToNanoseconds()
            self.last_expiry_ns = max(self.last_expiry_ns, expiry)

    def committed(self, held: quota_pb2.Reservation, answer: quota_pb2.CommitResponse) -> None:
        """Notes an answer to Commit."""
        self._saw(answer.budgets)
        team = answer.reservation.subject.team
        self.spent_by_team[team] += answer.charged.cost_micros
        self.requests_by_team[team] += 1
        self.charged_micros += answer.charged.cost_micros
        self.overrun_micros += answer.overrun.cost_micros
        self.held_micros += held.held.cost_micros
        self.late += answer.late
        self.buffered += answer.durability == types_pb2.DURABILITY_BUFFERED

    def abandoned_unseen(self) -> None:
        """Notes a grant whose answer never arrived and that nobody wanted to commit."""
        self.granted += 1
        self.fates[Fate.ABANDONED] += 1

    def failed(self, error: ApiError) -> None:
        """Notes a call that the server did not answer as it should."""
        self.errors[f"{error.code.name} {error.reason}: {error.message}"] += 1

    def _saw(self, statuses: Iterable[types_pb2.BudgetStatus]) -> None:
        for status in statuses:
            self.counters.add(Counted(status.source, status.each_value))


def _denial(violation: types_pb2.Violation) -> Denial:
    return Denial(
        reason=types_pb2.Reason.Name(violation.reason).removeprefix("REASON_"),
        source=violation.source,
        each_value=violation.each_value,
        meter=types_pb2.Meter.Name(violation.meter).removeprefix("METER_"),
    )


def percentile_ns(sorted_values: list[int], percent: int) -> int:
    """The value at or below which `percent` of the sorted values are; 0 where there are none."""
    if not sorted_values:
        return 0
    rank = -(-len(sorted_values) * percent // 100)
    return sorted_values[max(rank, 1) - 1]
