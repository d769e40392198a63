"""Ladders that go round in circles, or to models that nobody may use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.amounts import Limits
from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode
from quota_service.domain.ladder_rules import circle_faults, ladder_faults, ladder_references, policy_faults
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.scope import Scope
from quota_service.domain.scope_rules import Reference
from quota_service.domain.subject import Dimension

MODELS = {
    ("a", "cheap"): Model(provider="a", model="cheap", tier=1),
    ("b", "dear"): Model(provider="b", model="dear", tier=3),
    ("b", "new"): Model(provider="b", model="new"),
}
ONLY_CHEAP = ModelPolicy(id="only-cheap", allowed_tiers=(1,))
DEAR_SALES = ModelPolicy(id="dear-sales", team="sales", allowed_models=(("b", "*"),))


def to(percent: int, target: str) -> LadderStep:
    provider, _, model = target.partition("/")
    return LadderStep(at_percent=percent, action=Downgrade(provider=provider, model=model))


def a_budget(about: str, *targets: str, id_: str = "b", **scope: str) -> Budget:
    """About `provider/model`, or a model of any provider, or (empty) everything; SOFT, so without a block."""
    provider, _, model = about.rpartition("/")
    ladder = tuple(to(80 + index, target) for index, target in enumerate(targets))
    return Budget(
        id=id_,
        scope=Scope(provider=provider, model=model, **scope),  # type: ignore[arg-type]
        limits=Limits(requests=1),
        mode=Mode.SOFT,
        ladder=ladder,
    )


def circles(budget: Budget, *others: Budget) -> list[str]:
    return [fault.description.partition(": ")[2] for fault in circle_faults(budget, others)]


def test_a_ladder_refers_to_the_models_it_diverts_to_in_its_order() -> None:
    budget = replace(
        a_budget("", "a/x", "b/y"),
        ladder=(to(80, "a/x"), to(90, "b/y"), LadderStep(at_percent=100, action=Block())),
    )
    assert ladder_references(budget) == (
        Reference("ladder[0].downgrade.model", Dimension.MODEL, "x", "a"),
        Reference("ladder[1].downgrade.model", Dimension.MODEL, "y", "b"),
    )


def test_a_ladder_names_a_target_once_and_never_its_own_model() -> None:
    assert [fault.field for fault in ladder_faults(a_budget("", "a/x", "b/y", "a/x"))] == [
        "ladder[2].downgrade.model"
    ]
    (own,) = ladder_faults(a_budget("a/x", "a/x"))
    assert "“a/x” → “a/x”" in own.description
    assert list(ladder_faults(a_budget("a/x", "b/x"))) == []
    assert list(ladder_faults(a_budget("x", "a/x"))) == []  # whatever another provider's x costs


@pytest.mark.parametrize(
    ("others", "chain"),
    [
        ([a_budget("b/y", "a/x")], "a/x → b/y → a/x"),
        ([a_budget("b/y", "c/z"), a_budget("c/z", "a/x")], "a/x → b/y → c/z → a/x"),
        ([a_budget("b/y", "d/w", "a/x")], "a/x → b/y → a/x"),
        ([a_budget("y", "a/x")], "a/x → b/y → a/x"),
        ([a_budget("b/y", "a/x", team="sales")], "a/x → b/y → a/x"),
    ],
)
def test_diversions_that_lead_back_are_named_as_a_chain(others: list[Budget], chain: str) -> None:
    assert circles(a_budget("a/x", "b/y"), *others) == [chain]


@pytest.mark.parametrize(
    "other",
    [
        a_budget("b/y", "c/z"),
        a_budget("", "a/x"),  # about no model: it diverts from everything, but never back
        a_budget("c/y", "a/x"),
        replace(a_budget("b/y", "a/x"), disabled=True),
        a_budget("b/y", "b/y"),
    ],
)
def test_diversions_that_lead_nowhere_else_are_no_circle(other: Budget) -> None:
    assert circles(a_budget("a/x", "b/y"), other) == []


def test_budgets_that_no_request_meets_together_make_no_circle() -> None:
    mine = a_budget("a/x", "b/y", team="sales")
    assert circles(mine, a_budget("b/y", "a/x", team="support")) == []
    assert circles(mine, a_budget("b/y", "a/x", team="sales", user="ada")) == ["a/x → b/y → a/x"]
    tagged = replace(mine, scope=replace(mine.scope, tags=(("plan", "free"),)))
    other = a_budget("b/y", "a/x")
    assert circles(tagged, replace(other, scope=replace(other.scope, tags=(("plan", "pro"),)))) == []
    assert circles(tagged, replace(other, scope=replace(other.scope, tags=(("run", "1"),)))) != []


def test_a_budget_about_a_model_of_any_provider_may_choose_between_providers() -> None:
    assert circles(a_budget("x", "a/x", "b/x")) == []
    assert circles(a_budget("x", "a/x"), a_budget("a/x", "b/x")) == ["b/x → a/x → b/x"]


def policed(budget: Budget, *policies: ModelPolicy) -> list[str]:
    return [
        fault.description
        for fault in policy_faults(budget, {policy.id: policy for policy in policies}, MODELS)
    ]


def test_a_target_that_the_policy_forbids_is_named_with_the_policy() -> None:
    (said,) = policed(a_budget("", "a/cheap", "b/dear"), ONLY_CHEAP)
    assert said.startswith("the model policy “only-cheap” does not allow “b/dear”")
    assert len(policed(a_budget("", "b/new"), ONLY_CHEAP)) == 1  # a model without a tier is in none


def test_a_teams_own_policy_counts_for_its_budgets_and_any_for_those_of_all() -> None:
    both = (ONLY_CHEAP, DEAR_SALES)
    assert policed(a_budget("", "b/dear", team="sales"), *both) == []
    assert len(policed(a_budget("", "a/cheap", team="sales"), *both)) == 1
    assert len(policed(a_budget("", "b/dear", team="support"), *both)) == 1
    assert policed(a_budget("", "a/cheap", "b/dear"), *both) == []
    assert policed(a_budget("", "b/dear", team="support"), DEAR_SALES) == []
    assert policed(a_budget("", "b/dear"), replace(ONLY_CHEAP, disabled=True)) == []


def test_where_several_policies_apply_all_are_named() -> None:
    nothing = ModelPolicy(id="nothing", team="ops")
    (said,) = policed(a_budget("", "b/dear"), ONLY_CHEAP, nothing)
    assert said.startswith("the model policies “nothing”, “only-cheap” do not allow")


def test_what_the_catalogue_does_not_know_is_another_rules_fault() -> None:
    assert policed(a_budget("", "a/unknown"), ONLY_CHEAP) == []
