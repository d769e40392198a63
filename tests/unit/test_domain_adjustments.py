"""Adjustments until a date: which of them a budget keeps, and how far they may go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.adjustments import (
    ADJUSTMENTS_MAX,
    live_adjustments,
    out_of_range,
    with_adjustment,
    without_past,
)
from quota_service.domain.amounts import NOTHING, WINDOW_LIMIT_MAX, Amounts, Limits, Meter
from quota_service.domain.budget import Adjustment, Budget, Carry, EachOverride, limits_at

NOW_MS = 1_000


def until(until_ms: int, amounts: Amounts = NOTHING, each_value: str = "") -> Adjustment:
    return Adjustment(each_value=each_value, amounts=amounts, until_ms=until_ms)


def test_adjustments_are_over_at_their_date() -> None:
    over, live = until(NOW_MS, Amounts(5)), until(NOW_MS + 1, Amounts(7))
    budget = Budget(id="b", limits=Limits(100, 10), adjustments=(over, live))

    assert limits_at(budget, "", NOW_MS) == (Limits(107, 10), NOW_MS + 1)
    assert without_past(budget, NOW_MS).adjustments == (live,)
    assert without_past(budget, NOW_MS - 1) is budget


def test_a_further_adjustment_comes_on_top_of_those_that_are_not_over() -> None:
    budget = Budget(id="b", limits=Limits(100), adjustments=(until(1), until(2_000, Amounts(5))))

    more = with_adjustment(budget, until(3_000, Amounts(-7)), NOW_MS)

    assert [each.until_ms for each in more.adjustments] == [2_000, 3_000]
    assert limits_at(more, "", NOW_MS) == (Limits(98), 2_000)


def test_what_a_cut_takes_below_nothing_is_not_lost_to_the_next_adjustment() -> None:
    """The budget's own limit was lowered after the cut was made."""
    cut, raised = until(2_000, Amounts(-100)), until(2_000, Amounts(50))
    budget = Budget(id="b", limits=Limits(60))

    for adjustments in ((cut, raised), (raised, cut)):
        assert limits_at(replace(budget, adjustments=adjustments), "", NOW_MS) == (Limits(10), 2_000)
    assert limits_at(replace(budget, adjustments=(cut,)), "", NOW_MS) == (Limits(0), 2_000)


def test_where_something_rolls_over_ended_windows_can_still_be_told() -> None:
    many = tuple(until(number) for number in range(1, NOW_MS + 1))
    budget = Budget(id="b", adjustments=(*many, until(2_000)), rollover=Carry(max_percent=10))

    kept = without_past(budget, NOW_MS).adjustments

    assert kept == budget.adjustments[-ADJUSTMENTS_MAX:]
    assert live_adjustments(budget, NOW_MS) == (until(2_000),)
    assert without_past(replace(budget, rollover=None), NOW_MS).adjustments == (until(2_000),)


@pytest.mark.parametrize(
    ("amount", "change", "wrong"),
    [
        (-100, 0, False),
        (-101, 0, True),
        (-101, 1, False),
        (WINDOW_LIMIT_MAX - 100, 0, False),
        (WINDOW_LIMIT_MAX - 99, 0, True),
    ],
)
def test_the_limit_now_must_stay_one_that_a_limit_may_be(amount: int, change: int, wrong: bool) -> None:
    budget = Budget(id="b", limits=Limits(100, 100))
    found = out_of_range(budget, until(2_000, Amounts(amount)), Amounts(change), NOW_MS)
    assert found == ((Meter.COST,) if wrong else ())


def test_a_value_is_measured_at_its_override() -> None:
    override = EachOverride(each_value="ada", limits=Limits(500))
    budget = Budget(id="b", limits=Limits(100), overrides=(override,))
    assert not out_of_range(budget, until(2_000, Amounts(-500), "ada"), NOTHING, NOW_MS)
    assert out_of_range(budget, until(2_000, Amounts(-500), "bob"), NOTHING, NOW_MS) == (Meter.COST,)
