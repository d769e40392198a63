"""A store is lost before a call or while it is under way: who asks is told, and no charge is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quota.v1 import directory_pb2, types_pb2
from tests.support.behaviour import Behaviour
from tests.support.envoy import secret_of
from tests.support.gateway import Gateway, gateway
from tests.support.gateway_caller import Caller, all_is_even, ends, holds, told, undisturbed
from tests.support.model_provider import ModelProvider
from tests.support.proxy import Mode, Proxy, proxied
from tests.support.service import Client, running_service
from tests.support.stores import Stores

OUTAGES = [Mode.REFUSE, Mode.BLACKHOLE]
LONG = Behaviour(input_tokens=11, answer_tokens=20, pieces=10, delay_ms=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A gateway whose service has its stores behind proxies."""

    client: Client
    envoy: Gateway
    valkey: Proxy
    postgres: Proxy

    async def caller(self, **organization: Any) -> Caller:
        """Ada, whose organization has a budget; she has made a call before, so that all is warm."""
        await self.client.found_acme(**organization)
        await self.client.budget("core", limits=types_pb2.Amounts(cost_micros=100_000_000))
        return Caller(self.envoy.url, await secret_of(self.client))


@pytest.fixture
async def place(
    valkey_url: str, postgres_url: str, key_prefix: str, provider: ModelProvider, tmp_path: Path
) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        valkey, valkey_there = await stack.enter_async_context(proxied(valkey_url))
        postgres, postgres_there = await stack.enter_async_context(proxied(postgres_url))
        service = running_service(valkey_there, postgres_there, key_prefix, patience_ms=500)
        client = await stack.enter_async_context(service)
        envoy = await stack.enter_async_context(gateway(tmp_path, client.address, provider))
        yield Place(client=client, envoy=envoy, valkey=valkey, postgres=postgres)


@pytest.mark.parametrize("mode", OUTAGES)
async def test_a_valkey_lost_during_a_call_breaks_no_answer_and_loses_no_charge(
    place: Place, stores: Stores, provider: ModelProvider, mode: Mode
) -> None:
    caller = await place.caller()
    async with caller.listening(LONG) as answer:
        await answer.piece()
        await holds(place.client)  # what only Valkey knew would have to wait for Valkey
        await place.valkey.switch(mode)
        assert await answer.rest() == await undisturbed(provider, LONG)
    [entry] = await ends(place.client)
    assert told(entry) == ("COMMIT", 11, 20, False)
    await place.valkey.switch(Mode.PASS)
    await stores.drained()
    assert await all_is_even(place.client) == entry.charged.cost_micros


@pytest.mark.parametrize("mode", OUTAGES)
async def test_a_ledger_lost_during_a_call_gets_its_charge_when_it_is_back(
    place: Place, stores: Stores, provider: ModelProvider, mode: Mode
) -> None:
    caller = await place.caller()
    await caller.ask(Behaviour(input_tokens=11, answer_tokens=20))
    await ends(place.client)
    async with caller.listening(LONG) as answer:
        await answer.piece()
        await place.postgres.switch(mode)
        assert await answer.rest() == await undisturbed(provider, LONG)
    assert (await caller.ask(LONG)).status == 200, "Valkey decides"
    await place.postgres.switch(Mode.PASS)
    assert [told(entry) for entry in await ends(place.client, 3)] == [("COMMIT", 11, 20, False)] * 3
    await stores.drained()
    assert await all_is_even(place.client) > 0


async def test_with_both_stores_lost_during_a_call_its_charge_waits_for_one_of_them(
    place: Place, stores: Stores, provider: ModelProvider
) -> None:
    caller = await place.caller()
    async with caller.listening(LONG) as answer:
        await answer.piece()
        await holds(place.client)
        await place.valkey.switch(Mode.REFUSE)
        await place.postgres.switch(Mode.REFUSE)
        assert await answer.rest() == await undisturbed(provider, LONG)
    await place.postgres.switch(Mode.PASS)
    assert [told(entry) for entry in await ends(place.client)] == [("COMMIT", 11, 20, False)]
    await place.valkey.switch(Mode.PASS)
    await stores.drained()
    assert await all_is_even(place.client) > 0


@pytest.mark.parametrize("mode", OUTAGES)
async def test_without_valkey_a_closed_organization_spends_nothing(place: Place, mode: Mode) -> None:
    caller = await place.caller()
    await caller.ask()
    await place.valkey.switch(mode)
    denied = await caller.ask()
    assert denied.status == 503
    assert int(denied.headers["retry-after"]) > 0
    assert json.loads(denied.body)["error"]["code"] == "store_unavailable"
    assert len(place.envoy.upstream) == 1


@pytest.mark.parametrize("mode", OUTAGES)
async def test_without_valkey_an_open_organization_spends_and_is_charged_for_it(
    place: Place, stores: Stores, mode: Mode
) -> None:
    caller = await place.caller(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=1_000_000
    )
    await place.valkey.switch(mode)
    assert (await caller.ask(Behaviour(input_tokens=11, answer_tokens=20))).status == 200
    [hold] = await holds(place.client)
    [entry] = await ends(place.client)
    assert (hold.degraded, entry.degraded) == (True, True)
    assert told(entry) == ("COMMIT", 11, 20, False)
    await place.valkey.switch(Mode.PASS)
    await stores.drained()
    assert await all_is_even(place.client) == entry.charged.cost_micros


async def test_without_both_stores_nobody_spends(place: Place) -> None:
    caller = await place.caller(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=1_000_000
    )
    await place.valkey.switch(Mode.REFUSE)
    await place.postgres.switch(Mode.REFUSE)
    denied = await caller.ask()
    assert (denied.status, place.envoy.upstream) == (503, [])
    assert json.loads(denied.body)["error"]["code"] == "store_unavailable"
