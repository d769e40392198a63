"""A configuration loaded by what has changed is the configuration."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota_service.domain.budget import (
    Budget,
)
from quota_service.domain.configuration import Configuration
from quota_service.domain.pricing import Model
from quota_service.domain.subject import Organization, Project, Team, User
from quota_service.stores.postgres import documents
from quota_service.stores.postgres.catalogue import import_models
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from tests.integration.postgres_values import ACME, GPT, delete, put


async def test_an_organization_made_again_never_goes_back(store: PostgresConfigurationStore) -> None:
    await put(store, Team(id="old"))
    known = await store.load("acme", None)
    await delete(store, Team, "old")
    gone = await store.delete_organization("acme")

    _, version = await store.create_organization(ACME, "")

    assert version > gone > known.version
    assert (await store.load("acme", known)).directory.teams == {}


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


async def test_an_organization_made_during_an_import_is_made_after_it(
    store: PostgresConfigurationStore, pool: asyncpg.Pool
) -> None:
    def during() -> list[Model]:
        creating.append(asyncio.ensure_future(store.create_organization(Organization(id="new"), "")))
        return [GPT]

    creating: list[asyncio.Future[Any]] = []
    async with pool.acquire() as connection, connection.transaction():
        await import_models(connection, "new prices", during)
        await asyncio.sleep(0.1)
        assert not creating[0].done()

    await creating[0]
    assert ("openai", "ft/gpt:x") in (await store.load("new", None)).imported_models
