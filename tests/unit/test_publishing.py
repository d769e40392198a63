"""Changes become effective at once, and together where there are many."""

from __future__ import annotations

import asyncio

import pytest

from quota_service.application.publishing import APART_S, Publishing
from quota_service.domain.errors import StoreUnavailable

ACME, GLOBEX = "acme", "globex"


class Store:
    """Remembers what was published, and when."""

    def __init__(self) -> None:
        self.published: list[tuple[str, int]] = []
        self.at_s: list[float] = []
        self.fails = False

    async def publish_version(self, organization: str, version: int) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise StoreUnavailable("It is away.")
        self.published.append((organization, version))
        self.at_s.append(asyncio.get_running_loop().time())


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def publishing(store: Store) -> Publishing:
    return Publishing(store)


async def test_a_change_alone_is_published_at_once(store: Store, publishing: Publishing) -> None:
    begun_s = asyncio.get_running_loop().time()
    await publishing.publish_version(ACME, 7)
    assert store.published == [(ACME, 7)]
    assert store.at_s[0] - begun_s < APART_S


async def test_changes_of_one_moment_are_published_as_the_newest(
    store: Store, publishing: Publishing
) -> None:
    await asyncio.gather(*(publishing.publish_version(ACME, version) for version in (3, 9, 4)))
    assert store.published == [(ACME, 9)]


async def test_those_that_follow_wait_and_are_effective_when_they_return(
    store: Store, publishing: Publishing
) -> None:
    await publishing.publish_version(ACME, 1)

    async def follow(version: int) -> None:
        await publishing.publish_version(ACME, version)
        assert max(version for _, version in store.published) >= version

    await asyncio.gather(*(follow(version) for version in range(2, 50)))
    assert store.published == [(ACME, 1), (ACME, 49)]
    assert store.at_s[1] - store.at_s[0] >= APART_S * 0.9  # clocks of loops are rounded


async def test_another_organization_does_not_wait(store: Store, publishing: Publishing) -> None:
    await publishing.publish_version(ACME, 1)
    waiting = asyncio.create_task(publishing.publish_version(ACME, 2))
    await publishing.publish_version(GLOBEX, 3)
    assert store.published == [(ACME, 1), (GLOBEX, 3)]
    await waiting


async def test_a_store_that_is_away_is_told_to_all_who_wait_and_to_nobody_after(
    store: Store, publishing: Publishing
) -> None:
    store.fails = True
    outcomes = await asyncio.gather(
        *(publishing.publish_version(ACME, version) for version in (1, 2)), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [StoreUnavailable, StoreUnavailable]
    store.fails = False
    await publishing.publish_version(ACME, 2)
    assert store.published == [(ACME, 2)]


async def test_who_is_cancelled_takes_nothing_from_the_others(store: Store, publishing: Publishing) -> None:
    first = asyncio.create_task(publishing.publish_version(ACME, 1))
    second = asyncio.create_task(publishing.publish_version(ACME, 2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert store.published == [(ACME, 2)]
