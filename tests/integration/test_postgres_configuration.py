"""Organizations, directory, budgets and models: changes are atomic, versions rise, loads are complete."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota_service.domain.amounts import Limits
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
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import (
    AlreadyExists,
    IdempotencyConflict,
    InvalidRequest,
    OrganizationNotFound,
    ResourceInUse,
)
from quota_service.domain.period import Daily, Monthly, Once, Weekly
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import ApiKey, Dimension, Organization, Project, Team, User
from quota_service.stores.postgres import documents
from quota_service.stores.postgres.catalogue import import_models
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool

ACME = Organization(id="acme", display_name="Acme", required_dimensions=(Dimension.PROJECT,))
GPT = Model(provider="openai", model="ft/gpt:x", prices=(DatedRate(0, Rate(0, 1, 1, 1, 1)),))
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
    ),
    GPT,
)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(PoolSettings(url=postgres_url))
    yield pool
    await close_pool(pool)


@pytest.fixture
async def store(pool: asyncpg.Pool) -> PostgresConfigurationStore:
    store = PostgresConfigurationStore(pool)
    await store.create_organization(ACME, "")
    return store


async def put(store: PostgresConfigurationStore, *values: Any, organization: str = "acme") -> int:
    async with store.change(organization) as change:
        for value in values:
            await change.put(value)
    return change.version


async def delete(store: PostgresConfigurationStore, kind: type[Any], id_: str) -> int:
    async with store.change("acme") as change:
        await change.delete(kind, id_)
    return change.version


@pytest.mark.parametrize("value", RESOURCES, ids=lambda value: type(value).__name__)
async def test_a_resource_comes_back_as_it_was_put(store: PostgresConfigurationStore, value: Any) -> None:
    async with store.change("acme") as change:
        stored = await change.put(value)

    assert stored.value == value
    assert await store.get("acme", type(value), documents.id_of(value)) == stored
    assert (await store.list("acme", type(value), 10, "")).items == (stored,)


organizations = st.builds(
    Organization, id=st.text(), required_dimensions=st.tuples(st.sampled_from(Dimension))
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
    period=st.one_of(st.builds(Daily), st.builds(Weekly), st.builds(Monthly), st.builds(Once)),
    time_zone=st.text(),
    limits=limits,
    overrides=st.lists(st.builds(EachOverride, limits=limits), max_size=2).map(tuple),
    mode=st.sampled_from(Mode),
    ladder=st.lists(st.builds(LadderStep, action=actions), max_size=3).map(tuple),
)
models = st.builds(Model, prices=st.lists(st.builds(DatedRate), max_size=2).map(tuple))


@given(
    value=st.one_of(st.builds(Team), st.builds(User), st.builds(ApiKey), st.builds(Project), budgets, models)
)
def test_documents_keep_every_resource(value: documents.Resource) -> None:
    assert documents.decode(type(value), documents.encode(value)) == value


@given(value=organizations)
def test_documents_keep_every_organization(value: Organization) -> None:
    assert documents.decode(Organization, documents.encode(value)) == value


def test_documents_ignore_what_a_newer_version_adds() -> None:
    assert documents.decode(Team, '{"id": "core", "new": 1}') == Team(id="core")
    assert documents.decode(Budget, '{"id": "b", "new": 1, "period": {"is": "weekly", "new": 1}}') == Budget(
        id="b", period=Weekly()
    )


async def test_etag_and_update_time_change_with_a_change_and_the_create_time_stays(
    store: PostgresConfigurationStore,
) -> None:
    async with store.change("acme") as change:
        before = await change.put(Team(id="core"))
    await asyncio.sleep(0.002)
    async with store.change("acme") as change:
        after = await change.put(Team(id="core", disabled=True))

    assert after.etag != before.etag
    assert after.update_ms > before.update_ms
    assert after.create_ms == before.create_ms


async def test_a_change_raises_the_version_and_one_that_writes_nothing_does_not(
    store: PostgresConfigurationStore,
) -> None:
    first = await put(store, Team(id="core"))
    nothing = await put(store)
    gone = await delete(store, Team, "nobody")
    second = await delete(store, Team, "core")

    assert first == nothing == gone < second
    assert (await store.load("acme", None)).version == second


async def test_a_change_that_fails_leaves_nothing(store: PostgresConfigurationStore) -> None:
    before = await store.load("acme", None)

    async def fail() -> None:
        async with store.change("acme") as change:
            await change.put(Team(id="core"))
            await change.put_organization(replace(ACME, display_name="New"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await store.load("acme", None) == before


async def test_changes_of_one_organization_wait_for_each_other(store: PostgresConfigurationStore) -> None:
    async def add_member() -> int:
        async with store.change("acme") as change:
            team = await change.get(Team, "core")
            leads = team.value.leads if team else ()
            await asyncio.sleep(0.005)
            await change.put(Team(id="core", leads=(*leads, str(len(leads)))))
        return change.version

    versions = await asyncio.gather(*(add_member() for _ in range(8)))

    team = await store.get("acme", Team, "core")
    assert team is not None
    assert team.value.leads == tuple("01234567")
    assert len(set(versions)) == 8
    assert (await store.load("acme", None)).version == max(versions)


async def test_a_change_sees_its_own_writes(store: PostgresConfigurationStore) -> None:
    async with store.change("acme") as change:
        await change.put(Team(id="b"))
        await change.put(Team(id="a"))
        await change.put(Team(id="c"))
        await change.delete(Team, "c")

        assert await change.all(Team) == (Team(id="a"), Team(id="b"))
        assert await change.get(Team, "c") is None


async def test_settings_have_their_own_etag(store: PostgresConfigurationStore) -> None:
    before = await store.get_organization("acme")
    await put(store, Team(id="core"))
    assert await store.get_organization("acme") == before

    async with store.change("acme") as change:
        after = await change.put_organization(replace(ACME, time_zone="Europe/Berlin"))

    assert after.etag != before.etag
    assert await store.get_organization("acme") == after
    assert (await store.load("acme", None)).organization.time_zone == "Europe/Berlin"


async def test_a_deleted_resource_is_gone_and_can_be_made_again(store: PostgresConfigurationStore) -> None:
    await put(store, Team(id="core", disabled=True))
    known = await store.load("acme", None)
    await delete(store, Team, "core")

    assert await store.get("acme", Team, "core") is None
    assert (await store.list("acme", Team, 10, "")).items == ()
    known = await store.load("acme", known)
    assert known.directory.teams == {}

    await put(store, Team(id="core"))
    assert (await store.load("acme", known)).directory.teams == {"core": Team(id="core")}


async def test_an_api_key_belongs_to_one_organization(store: PostgresConfigurationStore) -> None:
    await store.create_organization(Organization(id="other"), "")
    await put(store, ApiKey(id="k1", user="ada"))

    async with store.change("other") as change:
        with pytest.raises(AlreadyExists):
            await change.put(ApiKey(id="k1", user="eve"))
        await change.put(Team(id="t"))  # the change goes on

    assert await store.organization_of_key("k1") == "acme"
    assert await store.get("other", Team, "t") is not None

    await delete(store, ApiKey, "k1")
    assert await store.organization_of_key("k1") is None
    await put(store, ApiKey(id="k1", user="eve"), organization="other")
    assert await store.organization_of_key("k1") == "other"


async def test_a_request_id_is_new_once(store: PostgresConfigurationStore) -> None:
    async with store.change("acme") as change:
        assert await change.claim_request("r1", "content")
        version = change.version
    async with store.change("acme") as change:
        assert not await change.claim_request("r1", "content")
        with pytest.raises(IdempotencyConflict):
            await change.claim_request("r1", "other")
    assert change.version == version


async def test_a_request_id_of_a_change_that_failed_is_new_again(store: PostgresConfigurationStore) -> None:
    async def fail() -> None:
        async with store.change("acme") as change:
            await change.claim_request("r1", "content")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    async with store.change("acme") as change:
        assert await change.claim_request("r1", "other")


async def test_creating_an_organization_twice_is_a_repeat_only_with_its_request(pool: asyncpg.Pool) -> None:
    store = PostgresConfigurationStore(pool)
    first = await store.create_organization(ACME, "r1")

    assert await store.create_organization(ACME, "r1") == first
    for value, request_id in ((ACME, ""), (ACME, "r2"), (replace(ACME, display_name="x"), "r1")):
        with pytest.raises(AlreadyExists):
            await store.create_organization(value, request_id)


async def test_an_organization_is_deleted_only_when_empty(store: PostgresConfigurationStore) -> None:
    version = await put(store, Team(id="core"))
    with pytest.raises(ResourceInUse):
        await store.delete_organization("acme")
    await delete(store, Team, "core")

    assert await store.delete_organization("acme") > version

    for call in (store.get_organization("acme"), store.load("acme", None), store.list("acme", Team, 1, "")):
        with pytest.raises(OrganizationNotFound):
            await call
    with pytest.raises(OrganizationNotFound):
        async with store.change("acme"):
            pass


async def test_an_organization_made_again_never_goes_back(store: PostgresConfigurationStore) -> None:
    await put(store, Team(id="old"))
    known = await store.load("acme", None)
    await delete(store, Team, "old")
    gone = await store.delete_organization("acme")

    _, version = await store.create_organization(ACME, "")

    assert version > gone > known.version
    assert (await store.load("acme", known)).directory.teams == {}


async def test_lists_go_on_page_by_page(store: PostgresConfigurationStore) -> None:
    await put(store, *(Team(id=id_) for id_ in ("b", "a", "B", "c", "d")))
    for id_ in ("zoo", "bar"):
        await store.create_organization(Organization(id=id_), "")

    first = await store.list("acme", Team, 2, "")
    second = await store.list("acme", Team, 3, first.next)
    assert [team.value.id for team in first.items + second.items] == ["B", "a", "b", "c", "d"]
    assert second.next == ""
    some = await store.list_organizations(2, "")
    rest = await store.list_organizations(2, some.next)
    assert [organization.value.id for organization in some.items + rest.items] == ["acme", "bar", "zoo"]


async def test_loading_what_is_known_gives_the_same_object(store: PostgresConfigurationStore) -> None:
    known = await store.load("acme", None)

    assert await store.load("acme", known) is known


ids = st.sampled_from(["a", "b", "c"])
make: dict[str, Callable[[str, bool], Any]] = {
    "team": lambda id_, flag: Team(id=id_, disabled=flag),
    "user": lambda id_, flag: User(id=id_, disabled=flag),
    "project": lambda id_, flag: Project(id=id_, disabled=flag),
    "budget": lambda id_, flag: Budget(id=id_, disabled=flag),
    "model": lambda id_, flag: Model(provider="own", model=id_, caller_priced=flag),
}
steps = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "load"]), st.sampled_from(list(make)), ids, st.booleans())
)
numbers = itertools.count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_an_incremental_load_equals_a_full_one(
    store: PostgresConfigurationStore, steps: list[tuple[str, str, str, bool]]
) -> None:
    organization = f"o{next(numbers)}"
    await store.create_organization(Organization(id=organization), "")
    known: Configuration | None = None
    for verb, kind, id_, flag in steps:
        value = make[kind](id_, flag)
        if verb == "load":
            known = await store.load(organization, known)
        else:
            async with store.change(organization) as change:
                await (
                    change.put(value) if verb == "put" else change.delete(type(value), documents.id_of(value))
                )

    assert await store.load(organization, known) == await store.load(organization, None)


async def test_a_change_is_announced(store: PostgresConfigurationStore, pool: asyncpg.Pool) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    async with pool.acquire() as connection:
        await connection.add_listener(
            "quota_configuration", lambda *arguments: heard.put_nowait(arguments[-1])
        )
        await put(store, Team(id="core"))
        assert await asyncio.wait_for(heard.get(), 5) == "acme"
        await connection.reset()


async def test_an_import_raises_every_version_and_is_shared(
    store: PostgresConfigurationStore, pool: asyncpg.Pool
) -> None:
    await store.create_organization(Organization(id="other"), "")
    before = await store.load("acme", None)
    async with pool.acquire() as connection:
        raised = await import_models(connection, "new prices", lambda: [GPT])
        again = await import_models(connection, "new prices", lambda: pytest.fail("not asked for"))

    mine, theirs = await store.load("acme", before), await store.load("other", None)
    assert raised == {"acme": mine.version, "other": theirs.version}
    assert again == {}
    assert mine.version > before.version
    assert mine.imported_models == {("openai", "ft/gpt:x"): GPT}
    assert mine.imported_models is theirs.imported_models


async def test_an_import_waits_for_a_change_and_ends_above_it(
    store: PostgresConfigurationStore, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection:
        async with store.change("acme") as change:
            importing = asyncio.ensure_future(import_models(connection, "new prices", lambda: [GPT]))
            await asyncio.sleep(0.05)
            await change.put(Team(id="core"))
            assert not importing.done()

        assert (await importing)["acme"] > change.version


async def test_text_with_nul_is_an_invalid_request(store: PostgresConfigurationStore) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        await put(store, Team(id="core", display_name="\0"))
