"""Organizations, directory, budgets and models: changes are atomic, versions rise."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from quota_service.domain.api_key import ApiKey
from quota_service.domain.errors import (
    AlreadyExists,
    IdempotencyConflict,
    InvalidRequest,
    OrganizationNotFound,
    ResourceInUse,
)
from quota_service.domain.subject import Organization, Team
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from tests.integration.postgres_values import ACME, delete, put

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


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


async def test_changes_of_one_organization_wait_for_each_other_on_all_replicas(
    pool: asyncpg.Pool, store: PostgresConfigurationStore
) -> None:
    replicas = (store, PostgresConfigurationStore(pool))

    async def add_member(replica: PostgresConfigurationStore) -> int:
        async with replica.change("acme") as change:
            team = await change.get(Team, "core")
            leads = team.value.leads if team else ()
            await asyncio.sleep(0.005)
            await change.put(Team(id="core", leads=(*leads, str(len(leads)))))
        return change.version

    versions = await asyncio.gather(*(add_member(replicas[number % 2]) for number in range(8)))

    team = await store.get("acme", Team, "core")
    assert team is not None
    assert team.value.leads == tuple("01234567")
    assert len(set(versions)) == 8
    assert (await store.load("acme", None)).version == max(versions)


@pytest.mark.parametrize("organizations", [1, 20])
async def test_changes_that_wait_leave_connections_to_others(
    store: PostgresConfigurationStore, owner: asyncpg.Pool, organizations: int
) -> None:
    """Another replica changes every organization, and 20 want to here."""
    names = [f"organization-{number % organizations}" for number in range(20)]
    for name in sorted(set(names)):
        await store.create_organization(Organization(id=name), "")
    async with owner.acquire() as elsewhere, elsewhere.transaction():
        await elsewhere.execute("SELECT FROM organizations FOR UPDATE")
        changes = [asyncio.create_task(put(store, Team(id="core"), organization=name)) for name in names]
        async with asyncio.timeout(5):
            while not await owner.fetchval(WAITING):  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.01)
            await store.get_organization("acme")
    await asyncio.gather(*changes)


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


async def test_text_with_nul_is_an_invalid_request(store: PostgresConfigurationStore) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        await put(store, Team(id="core", display_name="\0"))
