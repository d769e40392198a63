"""Which requests a budget is about, and under which value they count."""

from __future__ import annotations

import pytest

from quota_service.domain.scope import Each, Facts, Scope, dimension_value, each_value, matches
from quota_service.domain.subject import Dimension, Subject

SUBJECT = Subject(
    organization="acme",
    team="research",
    user="ada",
    api_key="key-ada",
    project="apollo",
    tags=(("env", "prod"), ("feature", "search")),
    cost_center="CC-7",
)
FACTS = Facts(subject=SUBJECT, provider="openai", model="gpt", tier=2)
BARE = Facts(subject=Subject(organization="acme"), provider="openai", model="gpt", tier=None)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(), True),
        (Scope(team="research"), True),
        (Scope(team="sales"), False),
        (Scope(user="ada"), True),
        (Scope(user="bob"), False),
        (Scope(api_key="key-ada"), True),
        (Scope(api_key="key-bob"), False),
        (Scope(project="apollo"), True),
        (Scope(project="gemini"), False),
        (Scope(cost_center="CC-7"), True),
        (Scope(cost_center="CC-1"), False),
        (Scope(provider="openai"), True),
        (Scope(provider="anthropic"), False),
        (Scope(model="gpt"), True),
        (Scope(model="gpt-mini"), False),
        (Scope(tier=2), True),
        (Scope(tier=0), False),
        (Scope(tags=(("env", "prod"),)), True),
        (Scope(tags=(("env", "prod"), ("feature", "search"))), True),
        (Scope(tags=(("env", "test"),)), False),
        (Scope(tags=(("env", "prod"), ("missing", ""))), False),
        (Scope(team="research", model="gpt", tier=2), True),
        (Scope(team="research", model="gpt", tier=1), False),
    ],
)
def test_a_scope_matches_where_every_equality_holds(scope: Scope, expected: bool) -> None:
    assert matches(scope, FACTS) is expected


@pytest.mark.parametrize(
    "scope",
    [Scope(team="research"), Scope(tier=0), Scope(cost_center="CC-7"), Scope(tags=(("env", "prod"),))],
)
def test_an_equality_does_not_match_what_a_request_lacks(scope: Scope) -> None:
    assert not matches(scope, BARE)


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (Dimension.ORGANIZATION, "acme"),
        (Dimension.TEAM, "research"),
        (Dimension.USER, "ada"),
        (Dimension.API_KEY, "key-ada"),
        (Dimension.PROJECT, "apollo"),
        (Dimension.COST_CENTER, "CC-7"),
        (Dimension.PROVIDER, "openai"),
        (Dimension.MODEL, "gpt"),
        (Dimension.TIER, "2"),
    ],
)
def test_each_counts_under_the_requests_value_of_the_dimension(dimension: Dimension, value: str) -> None:
    assert each_value(Scope(each=Each(dimension=dimension)), FACTS) == value
    assert dimension_value(FACTS, dimension) == value


def test_each_over_a_tag_counts_under_the_tags_value() -> None:
    assert each_value(Scope(each=Each(dimension=Dimension.TAG, tag="env", max_values=9)), FACTS) == "prod"


@pytest.mark.parametrize(
    "scope",
    [
        Scope(),
        Scope(each=Each(dimension=Dimension.USER)),
        Scope(each=Each(dimension=Dimension.TIER)),
        Scope(each=Each(dimension=Dimension.TAG, tag="env", max_values=9)),
    ],
)
def test_a_request_without_the_dimension_counts_under_no_value(scope: Scope) -> None:
    assert each_value(scope, BARE) == ""


def test_the_tag_dimension_is_there_when_a_request_has_any_tag() -> None:
    assert dimension_value(FACTS, Dimension.TAG)
    assert not dimension_value(BARE, Dimension.TAG)
