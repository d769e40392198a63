"""What a budget must be to be accepted: each rule once, and the field it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Limits
from quota_service.domain.budget import (
    Block,
    Budget,
    Downgrade,
    EachOverride,
    LadderStep,
    Mode,
    Notify,
    Restrict,
)
from quota_service.domain.budget_rules import faults, references
from quota_service.domain.errors import InvalidRequest, ReferenceUnknown, TimeZoneUnknown
from quota_service.domain.faults import Fault, did_you_mean, refuse
from quota_service.domain.period import Fixed, Monthly, Once, Quarterly, Weekly, Yearly
from quota_service.domain.scope import Each, Scope
from quota_service.domain.scope_rules import Reference
from quota_service.domain.subject import Dimension

GOOD = Budget(
    id="b", limits=Limits(cost_micros=150_000_000), recipients=("user", "slack:#finance", "email:a@b.c")
)
EACH_USER = Scope(each=Each(dimension=Dimension.USER))


def step(percent: int, action: Notify | Restrict | Downgrade | Block) -> LadderStep:
    return LadderStep(at_percent=percent, action=action)


def an_override(value: str, limits: Limits) -> EachOverride:
    return EachOverride(each_value=value, limits=limits)


@pytest.mark.parametrize(
    "budget",
    [
        GOOD,
        replace(GOOD, limits=Limits(cost_micros=0)),
        replace(GOOD, limits=Limits(WINDOW_LIMIT_MAX, WINDOW_LIMIT_MAX, WINDOW_LIMIT_MAX)),
        replace(GOOD, ladder=(step(100, Notify()), step(100, Restrict(max_tier=1)), step(120, Block()))),
        replace(GOOD, ladder=(step(1, Notify()), step(1000, Block()))),
        replace(GOOD, mode=Mode.SOFT, ladder=(step(50, Notify()),)),
        replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TIER))),
        replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TAG, tag="run", max_values=10))),
        replace(GOOD, scope=EACH_USER, overrides=(an_override("ada", Limits(cost_micros=5)),)),
        replace(GOOD, period=Monthly(reset_day=31), time_zone="Europe/Berlin"),
        replace(GOOD, period=Quarterly(first_month=12)),
        replace(GOOD, period=Yearly(month=2, day=31)),
        replace(GOOD, period=Fixed(length_ms=60_000)),
        replace(GOOD, period=Fixed(length_ms=3_660 * 86_400_000, anchor_ms=5)),
        replace(GOOD, period=Once()),
        replace(GOOD, period=Once(start_ms=5, end_ms=6)),
        replace(GOOD, recipients=("leads", "admins", "pagerduty:key-1")),
    ],
)
def test_a_sound_budget_has_no_faults(budget: Budget) -> None:
    assert faults(budget) == ()


@pytest.mark.parametrize(
    ("budget", "field"),
    [
        (replace(GOOD, limits=Limits()), "limits"),
        (replace(GOOD, limits=Limits(tokens=-1)), "limits.tokens"),
        (replace(GOOD, limits=Limits(requests=WINDOW_LIMIT_MAX + 1)), "limits.requests"),
        (replace(GOOD, time_zone="Europe/Berlim"), "period.time_zone"),
        (replace(GOOD, time_zone=""), "period.time_zone"),
        (replace(GOOD, time_zone="../etc/passwd"), "period.time_zone"),
        (replace(GOOD, period=Weekly(start_day=8)), "period.weekly.start"),
        (replace(GOOD, period=Monthly(reset_day=0)), "period.monthly.reset_day"),
        (replace(GOOD, period=Monthly(reset_day=32)), "period.monthly.reset_day"),
        (replace(GOOD, period=Quarterly(first_month=0)), "period.quarterly.first_month"),
        (replace(GOOD, period=Quarterly(first_month=13)), "period.quarterly.first_month"),
        (replace(GOOD, period=Yearly(month=13)), "period.yearly.month"),
        (replace(GOOD, period=Yearly(month=2, day=32)), "period.yearly.day"),
        (replace(GOOD, period=Fixed(length_ms=0)), "period.fixed.length"),
        (replace(GOOD, period=Fixed(length_ms=-86_400_000)), "period.fixed.length"),
        (replace(GOOD, period=Fixed(length_ms=59_999)), "period.fixed.length"),
        (replace(GOOD, period=Fixed(length_ms=60_500)), "period.fixed.length"),
        (replace(GOOD, period=Fixed(length_ms=3_660 * 86_400_000 + 1_000)), "period.fixed.length"),
        (replace(GOOD, period=Once(start_ms=6, end_ms=6)), "period.once.end_time"),
        (replace(GOOD, ladder=(step(0, Block()),)), "ladder[0].at_percent"),
        (replace(GOOD, ladder=(step(1001, Block()),)), "ladder[0].at_percent"),
        (replace(GOOD, ladder=(step(80, Notify()), step(50, Block()))), "ladder[1].at_percent"),
        (replace(GOOD, ladder=(step(80, Block()), step(80, Block()))), "ladder[1].at_percent"),
        (replace(GOOD, ladder=(step(80, Notify()),)), "ladder"),
        (replace(GOOD, ladder=(*(step(n, Notify()) for n in range(1, 21)), step(99, Block()))), "ladder"),
        (
            replace(GOOD, ladder=(step(5, Restrict(max_tier=-1)), step(9, Block()))),
            "ladder[0].restrict.max_tier",
        ),
        (replace(GOOD, overrides=(an_override("ada", Limits(cost_micros=5)),)), "overrides"),
        (
            replace(
                GOOD, scope=EACH_USER, overrides=(an_override("a", Limits(5)), an_override("a", Limits(6)))
            ),
            "overrides[1].each_value",
        ),
        (replace(GOOD, scope=EACH_USER, overrides=(an_override("a", Limits()),)), "overrides[0].limits"),
        (
            replace(GOOD, scope=EACH_USER, overrides=(an_override("a", Limits(tokens=5)),)),
            "overrides[0].limits.tokens",
        ),
        (replace(GOOD, scope=Scope(each=Each(dimension=Dimension.ORGANIZATION))), "scope.each.dimension"),
        (replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TAG, max_values=9))), "scope.each.tag"),
        (replace(GOOD, scope=Scope(each=Each(dimension=Dimension.USER, tag="run"))), "scope.each.tag"),
        (replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TAG, tag="run"))), "scope.each.max_values"),
        (
            replace(GOOD, scope=Scope(each=Each(dimension=Dimension.USER, max_values=-1))),
            "scope.each.max_values",
        ),
        (replace(GOOD, scope=Scope(tier=1001)), "scope.tier"),
        (replace(GOOD, recipients=("finance",)), "recipients[0]"),
        (replace(GOOD, recipients=("slack:finance",)), "recipients[0]"),
        (replace(GOOD, recipients=("email:nobody",)), "recipients[0]"),
        (replace(GOOD, recipients=("user", "user")), "recipients[1]"),
        (replace(GOOD, alert_cooldown_ms=-1), "alert_cooldown"),
    ],
)
def test_every_rule_names_the_field_that_breaks_it(budget: Budget, field: str) -> None:
    assert [fault.field for fault in faults(budget)] == [field]


def test_all_faults_are_told_at_once() -> None:
    broken = replace(GOOD, limits=Limits(), time_zone="Mars", recipients=("x",))
    assert [fault.field for fault in faults(broken)] == ["limits", "period.time_zone", "recipients[0]"]


def test_a_mistyped_time_zone_gets_a_suggestion() -> None:
    (fault,) = faults(replace(GOOD, time_zone="europe/berlim"))
    assert fault.error is TimeZoneUnknown
    assert "did you mean “Europe/Berlin”?" in fault.description


def test_a_budget_refers_to_all_that_its_scope_and_ladder_name() -> None:
    budget = replace(
        GOOD,
        scope=Scope(team="core", cost_center="cc", model="gpt-4o", tier=1, tags=(("a", "b"),)),
        ladder=(step(100, Downgrade(provider="openai", model="gpt-4o-mini")), step(100, Block())),
    )
    assert references(budget) == (
        Reference("scope.team", Dimension.TEAM, "core"),
        Reference("scope.cost_center", Dimension.COST_CENTER, "cc"),
        Reference("scope.model", Dimension.MODEL, "gpt-4o"),
        Reference("ladder[0].downgrade.model", Dimension.MODEL, "gpt-4o-mini", "openai"),
    )


def test_faults_of_one_kind_are_refused_as_that_kind_and_mixed_ones_as_invalid() -> None:
    unknown = Fault("scope.user", "there is no user “x”", ReferenceUnknown)
    with pytest.raises(ReferenceUnknown, match=r"^budget\.scope\.user: there is no user “x”$"):
        refuse([unknown], "budget.")
    with pytest.raises(InvalidRequest) as raised:
        refuse([unknown, Fault("limits", "set one")], "budget.")
    assert type(raised.value) is InvalidRequest
    assert [problem.field for problem in raised.value.problems] == ["budget.scope.user", "budget.limits"]
    refuse([])


def test_suggestions_are_only_made_where_something_is_close() -> None:
    assert did_you_mean("Platfrom", ["platform", "data"]) == "; did you mean “platform”?"
    assert did_you_mean("zzz", ["platform", "data"]) == ""
