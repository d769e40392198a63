"""What somebody left half done is finished by whoever is alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from quota.v1 import types_pb2
from quota_service.application.delivery import Delivery
from quota_service.application.health import Health
from quota_service.application.ledger_ports import WindowBalance, Written
from quota_service.application.requests import Durability
from quota_service.application.writing import LedgerWriter
from quota_service.domain.errors import IdempotencyConflict, StoreUnavailable
from quota_service.domain.subject import User
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.telemetry import StoreLog
from tests.support import valkey
from tests.support.calls import cost
from tests.support.commands import authorize, commit, draft, granted, settled, term
from tests.support.service import Client, authorize_request


async def test_a_change_that_nobody_could_tell_of_acts_all_the_same(
    client: Client, postgres_url: str
) -> None:
    """Whoever froze Ada died between PostgreSQL and Valkey; a server that knows her as free is told."""
    await client.found_acme()
    await client.budget("engineering", limits=cost(90_000))
    assert (await client.quota.Authorize(authorize_request("a"))).decision == types_pb2.DECISION_ALLOW
    pool = await open_pool(PoolSettings(url=postgres_url, connections_min=1))
    async with PostgresConfigurationStore(pool).change("acme") as change:
        await change.put(User(id="ada", teams=("engineering",), disabled=True))
    await close_pool(pool)
    async with asyncio.timeout(30):
        while True:
            answer = await client.quota.Authorize(authorize_request("b", validate_only=True))
            if answer.decision == types_pb2.DECISION_DENY:
                break
            await asyncio.sleep(0.1)
    assert [violation.reason for violation in answer.violations] == [types_pb2.REASON_SUBJECT_DISABLED]


class Watch:
    """Remembers what it was shown, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.seen: list[WindowBalance] = []

    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        if self.away:
            raise StoreUnavailable("PostgreSQL did not answer in time.")
        self.seen += balances


@asynccontextmanager
async def writing(writer: LedgerWriter) -> AsyncIterator[None]:
    """The writer works, and has finished afterwards."""
    working = asyncio.create_task(writer.run())
    yield
    assert await writer.flush(5)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_what_the_ledger_has_otherwise_is_not_answered_as_written(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    pool = await open_pool(PoolSettings(url=postgres_url, connections_min=1))
    async with valkey.opened(valkey_url) as stores:
        event = granted(await stores.holds.authorize(authorize(draft(key_prefix, "r")))).event
        assert event is not None
        ledger = PostgresLedger(pool)
        delivery = Delivery(ledger, PostgresDeadLetters(pool), StoreLog())
        assert (await ledger.write([replace(event.entry, content_hash="other")])).results == [Written.NEW]
        writer = LedgerWriter(delivery, stores.events, Watch(), Health(), StoreLog())
        async with writing(writer):
            with pytest.raises(IdempotencyConflict):
                await writer.settle(event)
    await close_pool(pool)


async def test_a_charge_stays_in_the_stream_until_somebody_has_looked_at_what_is_spent(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    pool = await open_pool(PoolSettings(url=postgres_url, connections_min=1))
    async with valkey.opened(valkey_url) as stores:
        hold = draft(key_prefix, "r")
        await stores.holds.authorize(authorize(hold, term()))
        event = settled(await stores.holds.commit(commit(hold, 10))).event
        assert event is not None
        watch, delivery = Watch(), Delivery(PostgresLedger(pool), PostgresDeadLetters(pool), StoreLog())
        for away in (True, False):
            watch.away = away
            writer = LedgerWriter(delivery, stores.events, watch, Health(), StoreLog())
            async with writing(writer):
                assert await writer.settle(event) is Durability.LEDGER
            left = await stores.events.older_than(key_prefix, 0, 10)
            assert (event.id in [each.id for each in left]) is away
        assert [balance.spent.cost_micros for balance in watch.seen] == [10]
    await close_pool(pool)
