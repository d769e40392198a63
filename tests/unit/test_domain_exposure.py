"""The worst-case bill: what bounds it, what is counted once, and what nothing bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import (
    Adjustment,
    Block,
    Budget,
    Carry,
    EachOverride,
    LadderStep,
    Mode,
    Restrict,
)
from quota_service.domain.caps import caps
from quota_service.domain.configuration import Configuration
from quota_service.domain.exposure import Exposure, PartKind, exposure
from quota_service.domain.period import Daily, Monthly, Once
from quota_service.domain.pricing import Model
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Directory, Organization, OutagePolicy, Team, User
from quota_service.domain.terms import Counters

NOW_MS = 1_796_126_400_000  # 2026-12-01T12:00:00Z
TOMORROW_MS = 1_796_169_600_000
EACH_USER, EACH_TEAM = Each(dimension=Dimension.USER), Each(dimension=Dimension.TEAM)
ORGANIZATION = Organization(id="acme")
DIRECTORY = Directory(
    teams={"sales": Team(id="sales", cost_center="cc"), "lab": Team(id="lab")},
    users={"ada": User(id="ada", teams=("sales",)), "bob": User(id="bob", teams=("sales", "lab"))},
    api_keys={"key": ApiKey(id="key", user="ada")},
)


def budget(cost: int | None = 100, *, each: Each | None = None, **fields: Any) -> Budget:
    names = {"team", "user", "api_key", "project", "cost_center", "model", "tags"} & set(fields)
    scope = Scope(each=each, **{name: fields.pop(name) for name in names})
    fields.setdefault("period", Monthly())
    return Budget(id="?", scope=scope, limits=fields.pop("limits", Limits(cost)), **fields)


def told(
    budgets: dict[str, Budget],
    organization: Organization = ORGANIZATION,
    readings: dict[str, dict[str, Counters]] | None = None,
) -> Exposure:
    configuration = Configuration(
        version=1,
        organization=organization,
        directory=DIRECTORY,
        budgets={id_: replace(each, id=id_) for id_, each in budgets.items()},
        own_models={("house", "own"): Model(provider="house", model="own", tier=1)},
    )
    return exposure(configuration, caps(configuration, NOW_MS), readings or {}, NOW_MS)


def used(spent: int, held: int = 0, **fields: Any) -> Counters:
    return Counters(spent=Amounts(spent), held=Amounts(held), **fields)


def unbounded(found: Exposure) -> list[str]:
    return [part.budget for part in found.parts if part.kind is PartKind.UNBOUNDED]


def counted(found: Exposure) -> dict[str, int]:
    return {part.budget: part.amount_micros for part in found.parts if part.kind is PartKind.HARD_CEILING}


def test_without_any_budget_nothing_is_allowed() -> None:
    found = told({})
    assert (found.bounded, found.total_micros, found.end_ms) == (True, 0, None)
    assert [part.kind for part in found.parts] == [PartKind.DEGRADED]


def test_without_any_budget_everything_may_be_allowed() -> None:
    found = told({}, replace(ORGANIZATION, allow_unbudgeted=True))
    assert not found.bounded
    assert found.parts[0].explanation == (
        "Requests outside every hard money budget are allowed (unbudgeted: allow)."
    )


def test_what_outages_may_add_is_what_one_replica_may_grant_in_one_of_them() -> None:
    allows = replace(
        ORGANIZATION, outage_policy=OutagePolicy.ALLOW_DEGRADED, degraded_cost_cap_micros=25_000_000
    )
    found = told({"all": budget(100)}, allows)
    assert (found.bounded, found.total_micros) == (True, 25_000_100)
    assert (found.parts[-1].kind, found.parts[-1].amount_micros) == (PartKind.DEGRADED, 25_000_000)
    assert found.parts[-1].explanation == (
        "Each replica may grant so much in each outage of the store; one replica and one outage are counted."
    )


def test_a_cap_of_an_organization_that_denies_adds_nothing() -> None:
    denies = replace(ORGANIZATION, degraded_cost_cap_micros=25_000_000)
    found = told({}, denies)
    assert (found.total_micros, found.parts[-1].amount_micros) == (0, 0)
    assert found.parts[-1].explanation == (
        "Nothing is allowed while the store is unreachable: outages add nothing."
    )


def test_a_hard_budget_counts_with_where_it_blocks_every_model() -> None:
    ladder = (
        LadderStep(at_percent=100, action=Restrict(max_tier=1)),
        LadderStep(at_percent=120, action=Block()),
    )
    found = told({"all": budget(100, ladder=ladder)}, readings={"all": {"": used(30, 20)}})
    assert (found.bounded, found.total_micros) == (True, 120)
    [part] = found.parts[:1]
    assert (part.spent_micros, part.held_micros, part.counters) == (30, 20, 1)
    assert part.explanation == "Every model is blocked at 120 % of its limit."


def test_what_is_over_its_ceiling_already_counts_with_what_it_has() -> None:
    assert told({"all": budget(100)}, readings={"all": {"": used(130, 20)}}).total_micros == 150


def test_nested_budgets_are_counted_once() -> None:
    inner = {
        "team": budget(70, team="sales"),
        "user": budget(50, user="ada"),
        "key": budget(40, api_key="key"),
        "center": budget(30, cost_center="cc"),
    }
    assert counted(told({"all": budget(100), **inner})) == {"all": 100}
    # ada and her key are in sales for sure; bob may spend under the lab.
    assert counted(told({"team": budget(70, team="sales"), "bob": budget(20, user="bob")})) == {
        "team": 70,
        "bob": 20,
    }
    assert counted(told(inner)) == {"center": 30}  # all the others are in it


def test_a_budget_that_outlasts_the_outer_one_is_counted_for_its_own_window() -> None:
    budgets = {"all": budget(100, period=Daily()), "team": budget(70, team="sales")}
    assert counted(told(budgets)) == {"all": 100, "team": 70}
    assert counted(told({"all": budget(100), "team": budget(70, team="sales", period=Daily())})) == {
        "all": 100
    }


def test_the_lower_of_two_budgets_for_the_same_counts() -> None:
    assert counted(told({"a": budget(100), "b": budget(90)})) == {"b": 90}
    # Ada, bob, and whoever names nobody.
    assert counted(told({"all": budget(100), "each": budget(30, each=EACH_USER)})) == {"each": 90}


def test_each_value_that_there_can_be_has_a_counter_of_its_own() -> None:
    found = told({"each": budget(30, each=EACH_USER, team="lab")})
    assert (found.total_micros, found.parts[0].counters) == (60, 2)  # bob, and nobody
    required = replace(ORGANIZATION, required_dimensions=(Dimension.USER,))
    assert told({"each": budget(30, each=EACH_USER)}, required).total_micros == 60


def test_overrides_count_for_their_value_and_as_long_as_the_window_may_have_them() -> None:
    raised = EachOverride(each_value="ada", limits=Limits(500), until_ms=TOMORROW_MS)
    cut = EachOverride(each_value="bob", limits=Limits(1), until_ms=TOMORROW_MS)
    found = told({"each": budget(30, each=EACH_USER, overrides=(raised, cut))})
    assert found.total_micros == 500 + 30 + 30  # from tomorrow on bob has 30 again


def test_changes_of_the_window_and_of_the_budget_count() -> None:
    adjusted = Adjustment(each_value="", amounts=Amounts(7), until_ms=TOMORROW_MS)
    counters = used(0, added=Amounts(20), moved=Amounts(-5))
    found = told({"all": budget(100, adjustments=(adjusted,))}, readings={"all": {"": counters}})
    assert found.total_micros == 122


def test_tags_count_up_to_their_maximum_the_highest_limits_first() -> None:
    overrides = (EachOverride(each_value="big", limits=Limits(1_000)),)
    run = Each(dimension=Dimension.TAG, tag="run", max_values=3)
    budgets = {"runs": budget(10, each=run, overrides=overrides)}
    assert told(budgets).total_micros == 1_020
    taken = {str(number): used(25) for number in range(3)}
    found = told(budgets, readings={"runs": taken})
    assert (found.total_micros, found.parts[0].counters) == (75, 3)
    carried = {"runs": replace(budgets["runs"], rollover=Carry(max_percent=50), overrides=())}
    assert told(carried).total_micros == 45


@pytest.mark.parametrize(
    ("open_", "because"),
    [
        (budget(100, mode=Mode.SOFT), "A soft budget blocks nothing"),
        (budget(100, mode=Mode.MONITOR), "A monitor budget blocks nothing"),
        (budget(limits=Limits(None, 5)), "It does not limit money"),
    ],
)
def test_what_bounds_no_money_is_named_unless_something_hard_covers_it(open_: Budget, because: str) -> None:
    found = told({"open": open_, "team": budget(70, team="sales")})
    assert (unbounded(found), found.total_micros) == (["open"], 70)
    assert [part.explanation.startswith(because) for part in found.parts if part.budget == "open"] == [True]
    assert told({"open": open_, "all": budget(70)}).bounded


def test_several_budgets_may_cover_a_soft_one_together() -> None:
    soft = {"soft": budget(1, mode=Mode.SOFT), "a": budget(60, team="sales"), "b": budget(40, team="lab")}
    assert unbounded(told(soft)) == ["soft"]  # a request need not have a team
    found = told(soft, replace(ORGANIZATION, required_dimensions=(Dimension.TEAM,)))
    assert (found.bounded, found.total_micros) == (True, 100)


def test_new_names_have_the_limit_anew_where_they_are_registered() -> None:
    creates = replace(ORGANIZATION, create_unknown_subjects=True)
    found = told({"each": budget(30, each=EACH_USER)}, creates)
    assert unbounded(found) == ["each"]
    assert "Any number of new users" in found.parts[0].explanation
    at_most = replace(EACH_USER, max_values=4)
    assert told({"each": budget(30, each=at_most)}, creates).total_micros == 120
    # One team, whoever is in it.
    assert told({"each": budget(30, each=EACH_TEAM, team="sales")}, creates).total_micros == 30


def test_budgets_that_limit_nothing_now_do_not_count() -> None:
    over = budget(100, period=Once(end_ms=NOW_MS))
    assert told({"off": budget(100, disabled=True), "over": over}).parts[:-1] == ()
    # Nobody can be ada in the lab.
    assert told({"nobody": budget(100, user="ada", team="lab")}).total_micros == 0


def test_the_latest_end_is_told() -> None:
    assert told(
        {"a": budget(1, user="ada", period=Daily()), "b": budget(1, user="bob", period=Daily())}
    ).end_ms == (TOMORROW_MS)
    assert (
        told({"a": budget(1, user="ada", period=Daily()), "b": budget(1, user="bob", period=Once())}).end_ms
        is None
    )
