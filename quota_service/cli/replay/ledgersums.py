"""What the ledger says was charged to each window, for comparison with the live counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from quota.client import Connection
from quota.v1 import budget_pb2, report_pb2, types_pb2
from quota_service.cli.listing import list_entries
from quota_service.cli.session import PAGE_SIZE

CHARGING_TYPES = (report_pb2.LedgerEntry.TYPE_COMMIT, report_pb2.LedgerEntry.TYPE_RECORD)


class Window(NamedTuple):
    """One meter of one window of one counter."""

    source: str
    each_value: str
    window_start_ns: int
    meter: types_pb2.Meter.ValueType


@dataclass(slots=True)
class LedgerSums:
    """Charged per window, and how much of it is no fault of admission: overruns, late commits, records.

    `before_creation`: matching charges in the window from before the budget existed, which no entry assigns
    to it.
    """

    charged: Counter[Window] = field(default_factory=Counter)
    itemised: Counter[Window] = field(default_factory=Counter)
    before_creation: Counter[Window] = field(default_factory=Counter)

    def explain(self, window: Window, spent: int) -> bool:
        """Whether the window's entries add up to what was spent.

        A budget created in mid-window may start from nothing or from the matching charges before it, but not
        from a part of them.
        """
        charged = self.charged[window]
        return spent in (charged, charged + self.before_creation[window])

    def add(self, entry: report_pb2.LedgerEntry) -> None:
        """Adds an entry's charges."""
        without_hold = entry.late or entry.degraded or entry.type == report_pb2.LedgerEntry.TYPE_RECORD
        for window in entry.windows:
            for meter, amount in meters_of(window.charged).items():
                start_ns = window.window_start.ToNanoseconds()
                key = Window(window.source, window.each_value, start_ns, meter)
                self.charged[key] += amount
                over = amount if without_hold else meters_of(entry.overrun).get(meter, 0)
                self.itemised[key] += over


def meters_of(amounts: types_pb2.Amounts) -> Mapping[types_pb2.Meter.ValueType, int]:
    """The amounts that are set, by meter."""
    fields = {
        types_pb2.METER_COST: ("cost_micros", amounts.cost_micros),
        types_pb2.METER_TOKENS: ("tokens", amounts.tokens),
        types_pb2.METER_REQUESTS: ("requests", amounts.requests),
    }
    present = {descriptor.name for descriptor, _ in amounts.ListFields()}
    return {meter: amount for meter, (name, amount) in fields.items() if name in present}


def window_of(status: types_pb2.BudgetStatus) -> Window:
    """The window that a status is about."""
    return Window(status.source, status.each_value, status.window_start.ToNanoseconds(), status.meter)


async def sum_ledger(
    connection: Connection,
    parent: str,
    statuses: Iterable[types_pb2.BudgetStatus],
    budgets: Mapping[str, budget_pb2.Budget],
) -> LedgerSums:
    """Adds up every charge since the earliest window of the statuses began."""
    wanted = list(statuses)
    started: list[Timestamp] = [status.window_start for status in wanted]
    sums = LedgerSums()
    for entry_type in CHARGING_TYPES:
        query = report_pb2.ListLedgerEntriesRequest(
            parent=parent,
            page_size=PAGE_SIZE,
            type=entry_type,
            start_time=min(started, key=Timestamp.ToNanoseconds, default=None),
        )
        async for entry in list_entries(connection, query):
            sums.add(entry)
            _add_before_creation(sums, entry, wanted, budgets)
    return sums


def _add_before_creation(
    sums: LedgerSums,
    entry: report_pb2.LedgerEntry,
    statuses: Iterable[types_pb2.BudgetStatus],
    budgets: Mapping[str, budget_pb2.Budget],
) -> None:
    """Adds what a budget created in mid-window did not see."""
    assigned = {window.source for window in entry.windows}
    for status in statuses:
        budget = budgets.get(status.source)
        if budget is None or status.source in assigned:
            continue
        happened_ns = entry.occur_time.ToNanoseconds()
        if not status.window_start.ToNanoseconds() <= happened_ns < budget.create_time.ToNanoseconds():
            continue
        if matches(budget.scope, entry) and each_value_of(budget.scope, entry) == status.each_value:
            sums.before_creation[window_of(status)] += meters_of(entry.charged).get(status.meter, 0)


def matches(scope: budget_pb2.Scope, entry: report_pb2.LedgerEntry) -> bool:
    """Whether an entry's request equals the scope; never for a tier, which the ledger does not have."""
    subject = entry.subject
    equalities = (
        (scope.team, subject.team),
        (scope.user, subject.user),
        (scope.api_key, subject.api_key),
        (scope.project, subject.project),
        (scope.cost_center, entry.cost_center),
        (scope.provider, entry.provider),
        (scope.model, entry.model),
        *((value, subject.tags.get(tag, "")) for tag, value in scope.tags.items()),
    )
    return not scope.HasField("tier") and all(want in ("", have) for want, have in equalities)


def each_value_of(scope: budget_pb2.Scope, entry: report_pb2.LedgerEntry) -> str:
    """The value of the scope's `each` dimension in an entry; empty where there is none."""
    if not scope.HasField("each"):
        return ""
    subject = entry.subject
    return {
        types_pb2.DIMENSION_TEAM: subject.team,
        types_pb2.DIMENSION_USER: subject.user,
        types_pb2.DIMENSION_API_KEY: subject.api_key,
        types_pb2.DIMENSION_PROJECT: subject.project,
        types_pb2.DIMENSION_COST_CENTER: entry.cost_center,
        types_pb2.DIMENSION_PROVIDER: entry.provider,
        types_pb2.DIMENSION_MODEL: entry.model,
        types_pb2.DIMENSION_TAG: subject.tags.get(scope.each.tag, ""),
    }.get(scope.each.dimension, "")
