"""Which steps tell, and when a limit will be reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.domain.alerting import overage, quiet_below, reached
from quota_service.domain.amounts import NOTHING, Amounts, Limits, Meter
from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode, Notify, Restrict
from quota_service.domain.forecast import exhausted_ms

HARD = Budget(id="team", limits=Limits(cost_micros=1_000))
SOFT = replace(HARD, mode=Mode.SOFT)
EVERY_KIND = (
    LadderStep(at_percent=50, action=Notify()),
    LadderStep(at_percent=60, action=Downgrade(provider="house", model="plain")),
    LadderStep(at_percent=70, action=Restrict(max_tier=1)),
    LadderStep(at_percent=100, action=Block()),
)


def percents(budget: Budget, spent: Amounts, limits: Limits | None = None) -> list[int]:
    return [each.step.at_percent for each in reached(budget, limits or budget.limits, spent)]


@pytest.mark.parametrize(
    ("spent", "told"), [(0, []), (499, []), (500, [50]), (799, [50]), (800, [50, 80]), (5_000, [50, 80, 100])]
)
def test_a_notice_tells_when_what_is_spent_reaches_it(spent: int, told: list[int]) -> None:
    assert percents(HARD, Amounts(cost_micros=spent)) == told


def test_the_meter_that_comes_first_reaches_a_step() -> None:
    limits = Limits(cost_micros=1_000, tokens=100, requests=10)
    found = reached(HARD, limits, Amounts(cost_micros=600, tokens=85, requests=1))
    assert [(each.step.at_percent, each.meter) for each in found] == [(50, Meter.COST), (80, Meter.TOKENS)]


def test_what_is_not_limited_and_what_is_not_spent_reaches_nothing() -> None:
    assert percents(HARD, Amounts(tokens=10**12, requests=10**6)) == []
    nothing_allowed = Limits(cost_micros=0)
    assert percents(HARD, NOTHING, nothing_allowed) == []
    assert percents(HARD, Amounts(cost_micros=1), nothing_allowed) == [50, 80, 100]


def test_only_notices_of_a_hard_budget_tell_by_themselves_and_every_step_of_a_soft_one() -> None:
    spent = Amounts(cost_micros=1_000)
    assert percents(replace(HARD, ladder=EVERY_KIND), spent) == [50]
    assert percents(replace(SOFT, ladder=EVERY_KIND), spent) == [50, 60, 70, 100]


@pytest.mark.parametrize("quiet", [replace(HARD, mode=Mode.MONITOR), replace(HARD, disabled=True)])
def test_a_budget_that_only_watches_or_is_off_tells_nothing(quiet: Budget) -> None:
    assert percents(quiet, Amounts(cost_micros=5_000)) == []


def test_a_soft_budget_over_its_limit_is_reminded_of_by_its_highest_step() -> None:
    def highest(budget: Budget, spent: int) -> int | None:
        found = overage(budget, budget.limits, Amounts(cost_micros=spent))
        return found.step.at_percent if found else None

    far = replace(SOFT, ladder=(*SOFT.ladder, *EVERY_KIND, LadderStep(at_percent=150, action=Notify())))
    assert [highest(SOFT, spent) for spent in (999, 1_000, 9_000)] == [None, 100, 100]
    assert [highest(far, spent) for spent in (1_499, 1_500)] == [100, 150]
    assert highest(HARD, 9_000) is None
    assert highest(replace(SOFT, mode=Mode.MONITOR), 9_000) is None
    late = replace(SOFT, ladder=(LadderStep(at_percent=120, action=Notify()),))
    assert highest(late, 1_100) is None


METER = st.one_of(st.none(), st.integers(0, 2_000))
SPENT = st.builds(Amounts, *[st.integers(0, 2_500)] * 3)


@given(
    mode=st.sampled_from(Mode),
    limits=st.builds(Limits, METER, METER, METER),
    percents=st.lists(st.integers(1, 300), max_size=4),
    spent=SPENT,
    more=SPENT,
)
def test_nothing_more_is_reached_before_one_of_the_amounts_said_and_something_at_each(
    mode: Mode, limits: Limits, percents: list[int], spent: Amounts, more: Amounts
) -> None:
    ladder = tuple(LadderStep(at_percent=percent, action=Notify()) for percent in sorted(percents))
    budget = replace(HARD, mode=mode, ladder=ladder)

    def told(amounts: Amounts) -> tuple[set[LadderStep], bool]:
        steps = {each.step for meter in Meter for each in reached(budget, only(limits, meter), amounts)}
        return steps, overage(budget, limits, amounts) is not None

    below = quiet_below(budget, limits, spent)
    calm = [
        most if top is None else min(most, top - 1) for most, top in zip(spent.plus(more), below, strict=True)
    ]
    assert told(Amounts(*calm)) == told(spent)
    for meter in Meter:
        top = below[meter]
        if top is not None and mode is Mode.HARD:
            at_last = spent._replace(**{Amounts._fields[meter]: top})
            now, then = (len(reached(budget, only(limits, meter), amounts)) for amounts in (spent, at_last))
            assert then > now


def only(limits: Limits, meter: Meter) -> Limits:
    return Limits(*(limit if each is meter else None for each, limit in zip(Meter, limits, strict=True)))


def test_at_a_steady_pace_the_limit_is_reached_in_proportion() -> None:
    assert exhausted_ms(limit=300, spent=100, start_ms=0, end_ms=1_000, now_ms=200) == 600


@pytest.mark.parametrize(
    ("limit", "spent", "now_ms"),
    [(300, 0, 200), (300, 300, 200), (300, 301, 200), (300, 100, 0), (300, 100, 334), (0, 0, 200)],
)
def test_nothing_is_foretold_without_a_pace_or_beyond_the_window(limit: int, spent: int, now_ms: int) -> None:
    assert exhausted_ms(limit=limit, spent=spent, start_ms=0, end_ms=1_000, now_ms=now_ms) is None


def test_nothing_is_foretold_for_the_next_century() -> None:
    assert exhausted_ms(limit=9 * 10**14, spent=1, start_ms=0, end_ms=None, now_ms=1_000) is None
    assert exhausted_ms(limit=3, spent=1, start_ms=0, end_ms=None, now_ms=1_000) == 3_000


@given(
    limit=st.integers(1, 9 * 10**14),
    spent=st.integers(0, 9 * 10**14),
    start_ms=st.integers(0, 4 * 10**12),
    elapsed_ms=st.integers(0, 10**11),
)
def test_at_the_foretold_instant_the_pace_has_reached_the_limit_and_not_a_millisecond_before(
    limit: int, spent: int, start_ms: int, elapsed_ms: int
) -> None:
    end_ms = start_ms + 10**11
    found = exhausted_ms(
        limit=limit, spent=spent, start_ms=start_ms, end_ms=end_ms, now_ms=start_ms + elapsed_ms
    )
    if found is not None:
        assert start_ms + elapsed_ms < found < end_ms
        assert spent * (found - start_ms) >= limit * elapsed_ms > spent * (found - 1 - start_ms)
