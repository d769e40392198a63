"""Limits and their overrides; ladders and the ceiling they put on a model; admission under ceilings."""

from __future__ import annotations

import pytest

from quota_service.domain.admission import Shortfall, count_blocked, short_meters, shortfalls
from quota_service.domain.amounts import NOTHING, UNLIMITED, Amounts, Limits, Meter
from quota_service.domain.budget import (
    Action,
    Block,
    Budget,
    Downgrade,
    EachOverride,
    LadderStep,
    Mode,
    Notify,
    Restrict,
    limits_at,
)
from quota_service.domain.ladder import (
    HARD_LADDER,
    SOFT_LADDER,
    LadderModel,
    block_percent,
    ceiling_percent,
    ladder_of,
    targets,
)
from quota_service.domain.terms import Counters, Term
from tests.support.commands import term

DOWNGRADE = Downgrade(provider="p", model="cheap")


def _ladder(*steps: tuple[int, Action]) -> tuple[LadderStep, ...]:
    return tuple(LadderStep(at_percent=percent, action=action) for percent, action in steps)


@pytest.mark.parametrize(
    ("mode", "ladder"), [(Mode.HARD, HARD_LADDER), (Mode.SOFT, SOFT_LADDER), (Mode.MONITOR, SOFT_LADDER)]
)
def test_a_budget_without_a_ladder_has_its_modes(mode: Mode, ladder: tuple[LadderStep, ...]) -> None:
    assert ladder_of(Budget(id="b", mode=mode)) == ladder


@pytest.mark.parametrize(
    ("ladder", "tier", "blocked_at"),
    [
        ((), 1, 100),
        (_ladder((80, Notify()), (120, Block())), 1, 120),
        (_ladder((80, Restrict(max_tier=2)), (100, Block())), 1, 100),
        (_ladder((80, Restrict(max_tier=2)), (100, Block())), 2, 100),
        (_ladder((80, Restrict(max_tier=2)), (100, Block())), 3, 80),
        (_ladder((80, Restrict(max_tier=2)), (100, Block())), None, 80),  # no tier passes no restriction
        (_ladder((60, Restrict(max_tier=3)), (80, Restrict(max_tier=1)), (100, Block())), 2, 80),
        (_ladder((70, DOWNGRADE), (100, Block())), 1, 70),
        (_ladder((50, Notify())), 1, None),
    ],
)
def test_a_ladder_blocks_a_model_at_its_first_step_that_stops_it(
    ladder: tuple[LadderStep, ...], tier: int | None, blocked_at: int | None
) -> None:
    budget = Budget(id="b", ladder=ladder)
    asked = LadderModel("provider", "model", tier)
    assert block_percent(budget, asked) == blocked_at
    assert ceiling_percent(budget, asked) == (blocked_at or 100)


def test_a_soft_budget_never_blocks_but_is_measured_at_its_limit() -> None:
    soft = Budget(id="b", mode=Mode.SOFT)
    assert block_percent(soft, None) is None
    assert ceiling_percent(soft, None) == 100


def test_a_downgrade_stops_every_model_but_those_that_it_or_a_later_one_diverts_to() -> None:
    mid, small = Downgrade(provider="p", model="mid"), Downgrade(provider="p", model="small")
    budget = Budget(id="b", ladder=_ladder((60, mid), (80, small), (100, Block())))
    found = {name: block_percent(budget, LadderModel("p", name, 1)) for name in ("big", "mid", "small")}
    assert found == {"big": 60, "mid": 80, "small": 100}


def test_targets_come_by_the_percentage_of_their_steps_and_only_from_hard_budgets() -> None:
    def budget(id_: str, mode: Mode, *steps: tuple[int, str]) -> Budget:
        actions = [(at, Downgrade(provider="p", model=model)) for at, model in steps]
        return Budget(id=id_, mode=mode, ladder=_ladder(*actions, (100, Block())))

    budgets = [
        budget("a", Mode.HARD, (90, "small"), (95, "free")),
        budget("b", Mode.HARD, (80, "mid"), (95, "small")),
        budget("c", Mode.SOFT, (10, "soft")),
    ]
    assert targets(budgets) == (("p", "mid"), ("p", "small"), ("p", "free"))


@pytest.mark.parametrize(
    ("limits", "percent", "expected"),
    [
        (Limits(1_000, None, 3), 80, Limits(800, None, 2)),
        (Limits(0, 1, None), 99, Limits(0, 0, None)),
        (Limits(900_000_000_000_000), 1_000, Limits(9_000_000_000_000_000)),
        (UNLIMITED, 50, UNLIMITED),
    ],
)
def test_a_ceiling_is_the_percentage_of_the_limit_rounded_down(
    limits: Limits, percent: int, expected: Limits
) -> None:
    assert limits.scaled(percent) == expected


OVERRIDDEN = Budget(
    id="b",
    limits=Limits(100, 200),
    overrides=(
        EachOverride(each_value="ada", limits=Limits(cost_micros=500)),
        EachOverride(each_value="bob", limits=Limits(requests=0), until_ms=50),
        EachOverride(each_value="eve", limits=Limits(cost_micros=1), until_ms=90),
        EachOverride(each_value="eve", limits=Limits(tokens=2), until_ms=70),
    ),
)


@pytest.mark.parametrize(
    ("value", "instant_ms", "limits", "until_ms"),
    [
        ("", 10, Limits(100, 200), None),
        ("carol", 10, Limits(100, 200), None),
        ("ada", 10, Limits(500, 200), None),
        ("bob", 49, Limits(100, 200, 0), 50),
        ("bob", 50, Limits(100, 200), None),
        ("eve", 10, Limits(1, 2), 70),
        ("eve", 70, Limits(1, 200), 90),
        ("eve", 90, Limits(100, 200), None),
    ],
)
def test_an_override_replaces_the_meters_it_sets_until_its_date(
    value: str, instant_ms: int, limits: Limits, until_ms: int | None
) -> None:
    assert limits_at(OVERRIDDEN, value, instant_ms) == (limits, until_ms)


COUNTERS = Counters(spent=Amounts(60, 600, 6), held=Amounts(30, 300, 3), holds=3)
DEMAND = Amounts(10, 100, 1)


@pytest.mark.parametrize(
    ("ceilings", "short"),
    [
        (UNLIMITED, ()),
        (Limits(100, 1_000, 10), ()),
        (Limits(99, 1_000, 10), (Meter.COST,)),
        (Limits(99, 999, 9), (Meter.COST, Meter.TOKENS, Meter.REQUESTS)),
        (Limits(None, 0, None), (Meter.TOKENS,)),
    ],
)
def test_a_demand_fits_up_to_the_ceiling_in_every_meter(ceilings: Limits, short: tuple[Meter, ...]) -> None:
    assert short_meters(COUNTERS, DEMAND, ceilings) == short


def test_a_demand_of_nothing_does_not_fit_where_a_ceiling_is_exceeded_already() -> None:
    assert short_meters(COUNTERS, NOTHING, Limits(89)) == (Meter.COST,)
    assert short_meters(COUNTERS, NOTHING, Limits(90)) == ()


def test_shortfalls_name_the_budget_and_whether_the_money_is_only_held() -> None:
    terms: list[Term] = [
        term(ceilings=Limits(95)),
        term(ceilings=Limits(65)),
        term(ceilings=Limits(requests=0), mode=Mode.SOFT),
        term(ceilings=Limits(tokens=700)),
    ]
    assert shortfalls(terms, [COUNTERS] * 4, DEMAND, Mode.HARD) == (
        Shortfall(0, Meter.COST, only_held=True),
        Shortfall(1, Meter.COST, only_held=False),
        Shortfall(3, Meter.TOKENS, only_held=True),
    )
    assert shortfalls(terms, [COUNTERS] * 4, DEMAND, Mode.SOFT) == (
        Shortfall(2, Meter.REQUESTS, only_held=False),
    )


def test_what_a_hard_budget_would_have_blocked_is_counted_meter_by_meter() -> None:
    once = count_blocked(COUNTERS, (Meter.COST, Meter.REQUESTS), DEMAND)
    twice = count_blocked(once, (Meter.COST,), DEMAND)
    assert twice.blocked_requests == Amounts(2, 0, 1)
    assert twice.blocked == Amounts(20, 0, 1)
    assert twice.spent == COUNTERS.spent
