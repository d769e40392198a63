"""The organization of an API key is asked for once, and known for as many keys as there is memory for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from quota_service.application.configurations import Configurations
from quota_service.application.health import Health
from quota_service.domain.api_key import ApiKey
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import OrganizationNotFound, StoreUnavailable
from quota_service.domain.subject import Directory, Organization, Subject


class AnyKey(Mapping[str, ApiKey]):
    """Has every key but those that were deleted."""

    def __init__(self) -> None:
        self.deleted: set[str] = set()

    def __getitem__(self, key: str) -> ApiKey:
        if key in self.deleted:
            raise KeyError(key)
        return ApiKey(id=key, user="ada")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Store:
    """One organization; counts how often it is asked for that of a key."""

    def __init__(self) -> None:
        self.keys = AnyKey()
        self.asked = 0

    async def load(self, organization: str, known: Configuration | None) -> Configuration:
        directory = Directory(api_keys=self.keys)
        return Configuration(version=1, organization=Organization(id=organization), directory=directory)

    async def organization_of_key(self, key: str) -> str | None:
        self.asked += 1
        return "acme" if key in self.keys else None


class NoAliases:
    def resolve(self, provider: str, model: str) -> tuple[str, str] | None:
        return None


def known() -> tuple[Store, Configurations]:
    store = Store()
    return store, Configurations(cast(Any, store), NoAliases(), Health())


async def test_a_key_in_use_is_asked_for_once_and_idle_ones_are_forgotten() -> None:
    store, configurations = known()
    await configurations.organization_of(Subject(api_key="idle"))
    for number in range(70_000):
        await configurations.organization_of(Subject(api_key=f"key-{number}"))
        if number % 1_000 == 0:
            await configurations.organization_of(Subject(api_key="used"))
    assert store.asked == 1 + 70_000 + 1
    await configurations.organization_of(Subject(api_key="idle"))
    assert store.asked == 1 + 70_000 + 2


async def test_a_key_that_was_deleted_is_asked_for_again() -> None:
    store, configurations = known()
    assert await configurations.organization_of(Subject(api_key="ada-key")) == "acme"
    store.keys.deleted.add("ada-key")
    with pytest.raises(OrganizationNotFound):
        await configurations.organization_of(Subject(api_key="ada-key"))


async def test_nobody_waits_for_a_ledger_that_is_known_not_to_answer() -> None:
    store, health = Store(), Health()
    configurations = Configurations(cast(Any, store), NoAliases(), health)
    assert await configurations.organization_of(Subject(api_key="known")) == "acme"
    await configurations.get("acme")
    health.ledger = False
    assert await configurations.organization_of(Subject(api_key="known")) == "acme"
    for asked in (configurations.organization_of(Subject(api_key="other")), configurations.get("another")):
        with pytest.raises(StoreUnavailable):
            await asked
    assert store.asked == 1
