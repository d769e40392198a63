"""Resources are stored whole, and read by older and newer versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.domain.amounts import Limits, Meter
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import (
    Block,
    Budget,
    Downgrade,
    EachOverride,
    FormerPeriod,
    LadderStep,
    Mode,
    Notify,
    Restrict,
)
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.period import Fixed, Monthly, Weekly
from quota_service.domain.pricing import DatedRate, Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Organization, OutagePolicy, Project, Team, User
from quota_service.stores.postgres import documents
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from tests.integration.postgres_values import GPT
from tests.support.periods import periods

RESOURCES: tuple[documents.Resource, ...] = (
    Team(id="core", cost_center="cc-1", leads=("ada",)),
    User(id="ada", teams=("core",), email="ada@acme.example"),
    ApiKey(id="k1", user="ada"),
    Project(id="p1", disabled=True),
    Budget(
        id="b1",
        scope=Scope(
            team="core", tags=(("a", "b"),), tier=2, each=Each(dimension=Dimension.TAG, tag="t", max_values=9)
        ),
        period=Monthly(reset_day=31),
        limits=Limits(cost_micros=5, requests=0),
        overrides=(EachOverride(each_value="x", limits=Limits(tokens=7), until_ms=8, reason="trip"),),
        mode=Mode.SOFT,
        ladder=(
            LadderStep(at_percent=50, action=Notify()),
            LadderStep(at_percent=80, action=Restrict(max_tier=1)),
            LadderStep(at_percent=90, action=Downgrade(provider="openai", model="mini")),
            LadderStep(at_percent=100, action=Block()),
        ),
        former=FormerPeriod(
            period=Fixed(length_ms=60_000, anchor_ms=9), time_zone="UTC", from_ms=3, until_ms=60_009
        ),
    ),
    RateLimit(
        id="r1",
        display_name="R",
        scope=Scope(provider="openai", each=Each(dimension=Dimension.USER)),
        meter=Meter.TOKENS,
        limit=90_000,
        interval_ms=1_000,
        burst=5,
        disabled=True,
    ),
    ModelPolicy(
        id="m1",
        display_name="M",
        team="core",
        allowed_tiers=(1, 2),
        allowed_models=(("openai", "mini"), ("internal", "*")),
        disabled=True,
    ),
    GPT,
)


@pytest.mark.parametrize("value", RESOURCES, ids=lambda value: type(value).__name__)
async def test_a_resource_comes_back_as_it_was_put(store: PostgresConfigurationStore, value: Any) -> None:
    async with store.change("acme") as change:
        stored = await change.put(value)

    assert stored.value == value
    assert await store.get("acme", type(value), documents.id_of(value)) == stored
    assert (await store.list("acme", type(value), 10, "")).items == (stored,)


organizations = st.builds(
    Organization,
    id=st.text(),
    required_dimensions=st.tuples(st.sampled_from(Dimension)),
    outage_policy=st.sampled_from(OutagePolicy),
    degraded_cost_cap_micros=st.none() | st.integers(0, 9 * 10**14),
)


limits = st.builds(Limits, st.none() | st.integers(0, 9 * 10**14), st.none() | st.integers(0), st.none())


actions = st.one_of(st.builds(Notify), st.builds(Restrict), st.builds(Downgrade), st.builds(Block))


budgets = st.builds(
    Budget,
    id=st.text(),
    scope=st.builds(
        Scope,
        team=st.text(),
        tier=st.none() | st.integers(0, 9),
        tags=st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
        each=st.none() | st.builds(Each, dimension=st.sampled_from(Dimension)),
    ),
    period=periods,
    time_zone=st.text(),
    limits=limits,
    overrides=st.lists(st.builds(EachOverride, limits=limits), max_size=2).map(tuple),
    mode=st.sampled_from(Mode),
    ladder=st.lists(st.builds(LadderStep, action=actions), max_size=3).map(tuple),
    former=st.none() | st.builds(FormerPeriod, period=periods, from_ms=st.integers(0)),
)


rate_limits = st.builds(RateLimit, scope=st.builds(Scope, each=st.none() | st.builds(Each)))


model_policies = st.builds(
    ModelPolicy,
    allowed_tiers=st.lists(st.integers(0, 1_000), max_size=2).map(tuple),
    allowed_models=st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
)


models = st.builds(Model, prices=st.lists(st.builds(DatedRate), max_size=2).map(tuple))


@given(
    value=st.one_of(
        st.builds(Team),
        st.builds(User),
        st.builds(ApiKey),
        st.builds(Project),
        budgets,
        rate_limits,
        model_policies,
        models,
    )
)
def test_documents_keep_every_resource(value: documents.Resource) -> None:
    assert documents.decode(type(value), documents.encode(value)) == value


@given(value=organizations)
def test_documents_keep_every_organization(value: Organization) -> None:
    assert documents.decode(Organization, documents.encode(value)) == value


def test_an_organization_that_an_older_version_wrote_denies_during_outages() -> None:
    written = '{"id":"acme","display_name":"","time_zone":"UTC","allow_unbudgeted":true}'
    assert documents.decode(Organization, written) == Organization(
        id="acme", allow_unbudgeted=True, outage_policy=OutagePolicy.DENY, degraded_cost_cap_micros=None
    )


def test_documents_ignore_what_a_newer_version_adds() -> None:
    assert documents.decode(Team, '{"id": "core", "new": 1}') == Team(id="core")
    assert documents.decode(Budget, '{"id": "b", "new": 1, "period": {"is": "weekly", "new": 1}}') == Budget(
        id="b", period=Weekly()
    )
