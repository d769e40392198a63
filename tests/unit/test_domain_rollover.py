"""What of a window rolls over into the next one, and through which windows it is carried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.amounts import NOTHING, WINDOW_LIMIT_MAX, Amounts, Limits
from quota_service.domain.budget import Adjustment, Budget, Carry, EachOverride, FormerPeriod
from quota_service.domain.budget_rules import faults
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Window
from quota_service.domain.rollover import (
    SILENT_WINDOWS_MAX,
    Past,
    Remainder,
    carried_into,
    remainder_of,
    windows_before,
)
from quota_service.domain.terms import Counters

DAY_MS = 86_400_000
HALF = Carry(max_percent=50)
BUDGET = Budget(id="b", limits=Limits(cost_micros=100), rollover=HALF)
YESTERDAY = Window(999 * DAY_MS, 1_000 * DAY_MS)
TODAY_MS = 1_000 * DAY_MS
UNCAPPED = Limits(10**18, 10**18, 10**18)


def cost(micros: int) -> Amounts:
    return Amounts(cost_micros=micros)


@pytest.mark.parametrize(
    ("counters", "carry"),
    [
        (Counters(), 100),
        (Counters(spent=cost(30)), 70),
        (Counters(spent=cost(30), held=cost(20), holds=1), 50),
        (Counters(spent=cost(100)), 0),
        (Counters(spent=cost(130), overrun=cost(30)), 0),
        (Counters(spent=cost(30), added=cost(50)), 120),
        (Counters(spent=cost(30), added=cost(-50)), 20),
        (Counters(spent=cost(30), added=cost(-200)), 0),
        (Counters(spent=cost(30), moved=cost(40)), 70),  # moved in: only the own money is left
        (Counters(spent=cost(120), moved=cost(40)), 0),  # the own money went first
        (Counters(spent=cost(30), moved=cost(-40)), 30),  # moved away: gone
        (Counters(spent=cost(30), added=cost(50), moved=cost(-120)), 0),
    ],
)
def test_what_is_left_is_the_limit_without_what_was_moved_in_spent_or_is_held(
    counters: Counters, carry: int
) -> None:
    assert Remainder(Limits(cost_micros=100), UNCAPPED).carry(counters) == cost(carry)


def test_each_meter_carries_for_itself_up_to_its_cap() -> None:
    remainder = Remainder(Limits(100, 1_000, None), Limits(20, None, 5))
    # Tokens have no cap and requests no limit: neither carries anything.
    assert remainder.carry(Counters(spent=Amounts(90, 10, 1))) == Amounts(10, 0, 0)
    assert remainder.carry(Counters()) == Amounts(20, 0, 0)


def test_no_limit_that_something_is_left_of_exceeds_what_a_limit_may_be() -> None:
    remainder = Remainder(Limits(cost_micros=WINDOW_LIMIT_MAX), UNCAPPED)
    assert remainder.carry(Counters(added=cost(WINDOW_LIMIT_MAX))) == cost(WINDOW_LIMIT_MAX)


@pytest.mark.parametrize(
    ("rollover", "limits", "caps"),
    [
        (Carry(max_percent=50), Limits(101, 10, None), Limits(50, 5, None)),
        (Carry(max_percent=1_000), Limits(1, None, 3), Limits(10, None, 30)),
        (Carry(max_amounts=Limits(tokens=7)), Limits(100, 10, None), Limits(None, 7, None)),
        (None, Limits(100, 10, 1), Limits()),
    ],
)
def test_a_cap_is_a_percentage_of_the_budgets_limit_or_an_amount(
    rollover: Carry | None, limits: Limits, caps: Limits
) -> None:
    budget = replace(BUDGET, limits=limits, rollover=rollover)
    assert remainder_of(budget, "", YESTERDAY) == Remainder(limits, caps)


def test_a_cap_follows_the_override_at_the_windows_end_and_no_adjustment() -> None:
    at_noon = TODAY_MS - DAY_MS // 2
    budget = replace(
        BUDGET,
        overrides=(
            EachOverride(each_value="over", limits=Limits(cost_micros=40), until_ms=at_noon),
            EachOverride(each_value="ada", limits=Limits(cost_micros=40), until_ms=TODAY_MS),
        ),
        adjustments=(Adjustment(each_value="ada", amounts=cost(10), until_ms=TODAY_MS + 1),),
    )
    assert remainder_of(budget, "ada", YESTERDAY) == Remainder(Limits(cost_micros=50), Limits(cost_micros=20))
    assert remainder_of(budget, "over", YESTERDAY) == Remainder(
        Limits(cost_micros=100), Limits(cost_micros=50)
    )


def test_what_is_left_of_the_window_before_is_carried() -> None:
    latest = Past(YESTERDAY.start_ms, Counters(spent=cost(80)))
    assert carried_into(BUDGET, "", TODAY_MS, latest) == cost(20)


def test_what_had_been_carried_in_is_carried_on_up_to_the_cap() -> None:
    latest = Past(YESTERDAY.start_ms, Counters(spent=cost(110), added=cost(50)))
    assert carried_into(BUDGET, "", TODAY_MS, latest) == cost(40)


@pytest.mark.parametrize(
    ("silent", "cap", "carry"), [(0, 1_000, 60), (1, 1_000, 160), (2, 1_000, 260), (2, 200, 200)]
)
def test_silent_windows_add_their_whole_limit(silent: int, cap: int, carry: int) -> None:
    budget = replace(BUDGET, rollover=Carry(max_amounts=Limits(cost_micros=cap)))
    latest = Past(YESTERDAY.start_ms - silent * DAY_MS, Counters(spent=cost(40)))
    assert carried_into(budget, "", TODAY_MS, latest) == cost(carry)


PILING = replace(BUDGET, rollover=Carry(max_amounts=Limits(cost_micros=10**9)))


@pytest.mark.parametrize(
    ("silent", "carry"),
    [
        (SILENT_WINDOWS_MAX - 1, 100 * SILENT_WINDOWS_MAX),
        (SILENT_WINDOWS_MAX, 100 * (SILENT_WINDOWS_MAX + 1)),
        (SILENT_WINDOWS_MAX + 1, 100 * SILENT_WINDOWS_MAX),
    ],
)
def test_beyond_so_many_silent_windows_the_chain_begins_with_nothing(silent: int, carry: int) -> None:
    latest = Past(YESTERDAY.start_ms - silent * DAY_MS, Counters())
    assert carried_into(PILING, "", TODAY_MS, latest) == cost(carry)
    assert carried_into(PILING, "", TODAY_MS, None) == cost(100 * SILENT_WINDOWS_MAX)


def test_windows_that_ended_before_the_budget_was_made_carry_nothing() -> None:
    made_at_noon = replace(PILING, since_ms=YESTERDAY.start_ms + DAY_MS // 2)
    assert windows_before(made_at_noon, TODAY_MS) == (YESTERDAY,)
    # The window in which it was made carries what is left of it.
    assert carried_into(
        made_at_noon, "", TODAY_MS, Past(YESTERDAY.start_ms, Counters(spent=cost(30)))
    ) == cost(70)
    assert windows_before(replace(PILING, since_ms=TODAY_MS), TODAY_MS) == ()
    assert carried_into(replace(PILING, since_ms=TODAY_MS), "", TODAY_MS, None) == NOTHING


def test_a_former_period_is_carried_over_into_the_new_one() -> None:
    weeks = Fixed(length_ms=7 * DAY_MS)
    changed = replace(
        PILING,
        period=weeks,
        since_ms=990 * DAY_MS,
        former=FormerPeriod(period=Daily(), time_zone="UTC", until_ms=998 * DAY_MS),
    )
    start_ms = 1_001 * DAY_MS
    assert [window.start_ms // DAY_MS for window in windows_before(changed, start_ms)][:4] == [
        998,
        997,
        996,
        995,
    ]
    latest = Past(996 * DAY_MS, Counters(spent=cost(100)))
    assert carried_into(changed, "", start_ms, latest) == cost(200)


def test_months_of_any_length_carry_alike() -> None:
    monthly = replace(PILING, period=Monthly(), time_zone="Asia/Kolkata", since_ms=1)
    july = windows_before(monthly, 0 + Window(*windows_before(monthly, TODAY_MS * 18)[0]).start_ms)[0]
    assert july.end_ms is not None
    assert carried_into(monthly, "", july.end_ms, Past(july.start_ms, Counters(spent=cost(1)))) == cost(99)


def carrying(**limits: int) -> Carry:
    return Carry(max_amounts=Limits(**limits))


@pytest.mark.parametrize(
    ("budget", "fields"),
    [
        (BUDGET, []),
        (replace(BUDGET, rollover=carrying(cost_micros=0)), []),
        (replace(BUDGET, rollover=Carry(max_percent=1_000)), []),
        (replace(BUDGET, period=Once()), ["rollover"]),
        (replace(BUDGET, period=Once(start_ms=1, end_ms=2)), ["rollover"]),
        (replace(BUDGET, rollover=Carry(max_percent=0)), ["rollover.carry.max_percent"]),
        (replace(BUDGET, rollover=Carry(max_percent=1_001)), ["rollover.carry.max_percent"]),
        (replace(BUDGET, rollover=Carry()), ["rollover.carry"]),
        (replace(BUDGET, rollover=Carry(max_amounts=Limits())), ["rollover.carry.max_amounts"]),
        (replace(BUDGET, rollover=carrying(tokens=5)), ["rollover.carry.max_amounts.tokens"]),
        (
            replace(BUDGET, rollover=carrying(cost_micros=WINDOW_LIMIT_MAX + 1)),
            ["rollover.carry.max_amounts.cost_micros"],
        ),
        (replace(BUDGET, rollover=carrying(cost_micros=-1)), ["rollover.carry.max_amounts.cost_micros"]),
    ],
)
def test_a_rollover_that_cannot_be_is_told_by_its_field(budget: Budget, fields: list[str]) -> None:
    assert [fault.field for fault in faults(budget)] == fields
