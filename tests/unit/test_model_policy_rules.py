"""What a model policy must be to be accepted: each rule once, and the field it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.model_policy_rules import faults, owner, references, rival
from quota_service.domain.scope_rules import Reference
from quota_service.domain.subject import Dimension

GOOD = ModelPolicy(
    id="cheap",
    team="support",
    allowed_tiers=(0, 1, 1000),
    allowed_models=(("openai", "gpt-4o-mini"), ("internal", "*"), ("hub", "meta/llama")),
)


def test_a_policy_may_allow_some_nothing_or_only_one_of_both_kinds() -> None:
    for policy in (GOOD, ModelPolicy(id="p"), replace(GOOD, allowed_tiers=()), replace(GOOD, team="")):
        assert faults(policy) == ()


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (replace(GOOD, allowed_tiers=(1, -1)), "allowed_tiers[1]"),
        (replace(GOOD, allowed_tiers=(1001,)), "allowed_tiers[0]"),
        (replace(GOOD, allowed_tiers=(2, 1, 2)), "allowed_tiers[2]"),
        (replace(GOOD, allowed_tiers=tuple(range(101))), "allowed_tiers"),
        (replace(GOOD, allowed_models=(("openai", ""),)), "allowed_models[0]"),
        (replace(GOOD, allowed_models=(("", "gpt-4o"),)), "allowed_models[0]"),
        (replace(GOOD, allowed_models=(("a", "x"), ("a", "x"))), "allowed_models[1]"),
        (replace(GOOD, allowed_models=tuple(("a", str(n)) for n in range(1001))), "allowed_models"),
    ],
)
def test_every_rule_names_the_field_that_breaks_it(policy: ModelPolicy, field: str) -> None:
    assert [fault.field for fault in faults(policy)] == [field]


def test_a_policy_refers_to_its_team_its_models_and_the_providers_of_all_models() -> None:
    assert references(GOOD) == (
        Reference("team", Dimension.TEAM, "support"),
        Reference("allowed_models[0]", Dimension.MODEL, "gpt-4o-mini", "openai"),
        Reference("allowed_models[1]", Dimension.PROVIDER, "internal"),
        Reference("allowed_models[2]", Dimension.MODEL, "meta/llama", "hub"),
    )


def test_a_team_has_one_policy_even_where_one_is_switched_off() -> None:
    other = replace(GOOD, id="other", disabled=True)
    assert rival(GOOD, [GOOD, other]) == other
    assert rival(GOOD, [GOOD, replace(other, team=""), replace(other, team="sales")]) is None
    assert (owner(GOOD), owner(ModelPolicy(id="p"))) == ("team “support”", "the organization")
