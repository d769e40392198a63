"""A replay's checks fail when what they check does not hold."""

from __future__ import annotations

from quota.v1 import budget_pb2, report_pb2, types_pb2
from quota_service.cli.replay.checks import differing, exceeded
from quota_service.cli.replay.ledgersums import LedgerSums, each_value_of, matches, window_of

SOURCE = "organizations/acme/budgets/b"


def status(*, spent: int, mode: types_pb2.Mode.ValueType = types_pb2.MODE_HARD) -> types_pb2.BudgetStatus:
    return types_pb2.BudgetStatus(
        source=SOURCE, mode=mode, meter=types_pb2.METER_COST, limit=100, ceiling=100, spent=spent
    )


def entry(charged: int, *, overrun: int = 0, late: bool = False) -> report_pb2.LedgerEntry:
    amounts = types_pb2.Amounts(cost_micros=charged)
    return report_pb2.LedgerEntry(
        type=report_pb2.LedgerEntry.TYPE_COMMIT,
        charged=amounts,
        overrun=types_pb2.Amounts(cost_micros=overrun),
        late=late,
        windows=[report_pb2.WindowCharge(source=SOURCE, charged=amounts)],
    )


def sums(*entries: report_pb2.LedgerEntry) -> LedgerSums:
    result = LedgerSums()
    for item in entries:
        result.add(item)
    return result


def test_a_hard_budget_within_its_ceiling_passes() -> None:
    assert exceeded([status(spent=100)], sums(entry(100))).passed


def test_a_hard_budget_over_its_ceiling_without_reason_fails() -> None:
    assert not exceeded([status(spent=101)], sums(entry(101))).passed


def test_a_hard_budget_is_allowed_what_is_itemised_and_no_more() -> None:
    itemised = sums(entry(100), entry(20, overrun=5), entry(10, late=True))
    assert exceeded([status(spent=115)], itemised).passed
    assert not exceeded([status(spent=116)], itemised).passed


def test_soft_and_monitor_budgets_may_be_over() -> None:
    for mode in (types_pb2.MODE_SOFT, types_pb2.MODE_MONITOR):
        assert exceeded([status(spent=500, mode=mode)], sums()).passed


def test_a_counter_that_differs_from_the_ledger_by_a_micro_fails() -> None:
    assert differing([status(spent=100)], sums(entry(60), entry(40))).passed
    assert not differing([status(spent=101)], sums(entry(60), entry(40))).passed
    assert not differing([status(spent=99)], sums(entry(60), entry(40))).passed


def test_a_budget_created_in_mid_window_starts_from_all_or_nothing_of_what_was_before() -> None:
    ledger = sums(entry(60))
    ledger.before_creation[window_of(status(spent=0))] = 40
    assert differing([status(spent=60)], ledger).passed
    assert differing([status(spent=100)], ledger).passed
    assert not differing([status(spent=80)], ledger).passed


def test_scopes_match_the_completed_subject_of_an_entry() -> None:
    subject = types_pb2.Subject(team="sales", user="mary", tags={"feature": "chat"})
    charged = report_pb2.LedgerEntry(subject=subject, cost_center="CC-2", provider="openai", model="gpt-5")
    assert matches(budget_pb2.Scope(), charged)
    assert matches(budget_pb2.Scope(team="sales", cost_center="CC-2", tags={"feature": "chat"}), charged)
    assert not matches(budget_pb2.Scope(team="support"), charged)
    assert not matches(budget_pb2.Scope(tags={"feature": "search"}), charged)
    assert not matches(budget_pb2.Scope(tier=1), charged)
    each_user = budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER))
    assert each_value_of(each_user, charged) == "mary"
