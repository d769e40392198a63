"""P11: how long looks at much take, beside a trivial call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from statistics import median

from benchmarks import scenario
from benchmarks.basics import ratio
from benchmarks.caller import Work, WrongAnswer
from benchmarks.laboratory import Round, Server
from benchmarks.scenario import NESTED
from benchmarks.targets import Figure
from quota.v1 import budget_pb2, report_pb2

CYCLES, ROUND_S = 5, 1.0
PAGE = 50
"""Entries of a page, as many as who does not say it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One call in flight, each kind in turn."""

    trivial: Round
    status: Round
    page: Round


async def measured(service: Server, trivial: Server) -> Sequence[Cycle]:
    """Raises CallsFailed."""
    found = []
    for _ in range(CYCLES + 1):
        constant, _ = await trivial.saturated(scenario.authorizing(NESTED), seconds=ROUND_S, in_flight=1)
        status, _ = await service.saturated(_statuses(), seconds=ROUND_S, in_flight=1)
        page, _ = await service.saturated(_pages(), seconds=ROUND_S, in_flight=1)
        found.append(Cycle(trivial=constant, status=status, page=page))
    return found[1:]  # the first one was to warm up


def figures(cycles: Sequence[Cycle]) -> list[Figure]:
    """Ratios of p99s within each cycle."""
    trivial_ms = median(each.trivial.p99_ms for each in cycles)
    return [
        _figure("P11", [(each.status, each.trivial) for each in cycles], trivial_ms),
        _figure("P11 ledger", [(each.page, each.trivial) for each in cycles], trivial_ms),
    ]


def _figure(number: str, pairs: Iterable[tuple[Round, Round]], trivial_ms: float) -> Figure:
    pairs = list(pairs)
    p99_ms, p50_ms = (median(each.p99_ms for each, _ in pairs), median(each.p50_ms for each, _ in pairs))
    note = f"{p99_ms:.1f} ÷ {trivial_ms:.1f} ms; p50 {p50_ms:.1f} ms"
    return ratio(number, [each.p99_ms / trivial.p99_ms for each, trivial in pairs], note)


def _statuses() -> Work:
    request = budget_pb2.GetBudgetStatusRequest(name=f"{NESTED.parent}/budgets/organization")
    path = "/quota.v1.BudgetService/GetBudgetStatus"
    return Work(path=path, requests=repeat(request.SerializeToString()), check=_has_statuses)


def _pages() -> Work:
    request = report_pb2.ListLedgerEntriesRequest(parent=NESTED.parent)
    path = "/quota.v1.ReportService/ListLedgerEntries"
    return Work(path=path, requests=repeat(request.SerializeToString()), check=_is_full)


def _has_statuses(answer: bytes) -> None:
    if len(budget_pb2.GetBudgetStatusResponse.FromString(answer).statuses) != len(NESTED.limits.ListFields()):
        raise WrongAnswer("GetBudgetStatus told of other meters")


def _is_full(answer: bytes) -> None:
    response = report_pb2.ListLedgerEntriesResponse.FromString(answer)
    if len(response.ledger_entries) != PAGE or not response.next_page_token:
        raise WrongAnswer(f"ListLedgerEntries listed {len(response.ledger_entries)} entries")
