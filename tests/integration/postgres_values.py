"""Values that tests of the PostgreSQL stores share, and the shortest ways to store them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType, key_of_record
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.domain.subject import Dimension, Organization
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from tests.integration.postgres_lives import START_MS, a_hold

ACME = Organization(id="acme", display_name="Acme", required_dimensions=(Dimension.PROJECT,))
GPT = Model(provider="openai", model="ft/gpt:x", prices=(DatedRate(0, Rate(0, 1, 1, 1, 1)),))


async def put(store: PostgresConfigurationStore, *values: Any, organization: str = "acme") -> int:
    async with store.change(organization) as change:
        for value in values:
            await change.put(value)
    return change.version


async def delete(store: PostgresConfigurationStore, kind: type[Any], id_: str) -> int:
    async with store.change("acme") as change:
        await change.delete(kind, id_)
    return change.version


def a_record(key: str = "job-1", *, organization: str = "acme", content_hash: str = "h") -> Entry:
    hold = replace(a_hold(organization, ""), reservation="")
    charged = Amounts(100, 20, 1)
    return Entry(
        key=key_of_record(key), content_hash=content_hash, type=EntryType.RECORD, at_ms=START_MS, hold=hold,
        charged=charged, overrun=charged, occur_ms=START_MS,
    )  # fmt: skip
