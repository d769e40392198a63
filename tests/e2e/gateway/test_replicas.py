"""The service dies or stops while calls are under way: no answer breaks, and the ledger tells the truth."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.behaviour import Behaviour
from tests.support.gateway import Gateway, failing_open
from tests.support.gateway_caller import (
    Caller,
    all_is_even,
    ends,
    eventually,
    holds,
    told,
    undisturbed,
)
from tests.support.model_provider import ModelProvider
from tests.support.proxy import Mode, Proxy, proxied
from tests.support.replicas import Replicas, asked_elsewhere, either
from tests.support.service import Client
from tests.support.stores import Stores

Gateways = Callable[..., Awaitable[Gateway]]
LONG = Behaviour(input_tokens=11, answer_tokens=20, pieces=10, delay_ms=60)
SHORT_TTL_MS = 5_000


@pytest.fixture
def replicas(valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path) -> Replicas:
    return Replicas(valkey_url, postgres_url, key_prefix, tmp_path)


@pytest.fixture
async def slow(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[tuple[Replicas, Proxy]]:
    """Replicas whose line to Valkey can be cut."""
    async with proxied(valkey_url) as (proxy, there):
        yield Replicas(there, postgres_url, key_prefix, tmp_path), proxy


async def asking(envoy: Gateway) -> None:
    """Waits until a Check is under way."""
    await eventually(lambda: envoy.statistic("cluster.quota.upstream_rq_active"), bool)


async def test_a_service_that_dies_during_a_check_lets_nobody_through(
    slow: tuple[Replicas, Proxy], gateways: Gateways, secret: str, client: Client
) -> None:
    replicas, proxy = slow
    async with replicas.running() as replica:
        envoy = await gateways(service=replica.address)
        await proxy.switch(Mode.BLACKHOLE)
        call = asyncio.create_task(Caller(envoy.url, secret).ask())
        await asking(envoy)
        await replica.kill()
        assert ((await call).status, envoy.upstream) == (503, [])
    assert await all_is_even(client) == 0


async def test_a_service_that_dies_during_a_check_lets_calls_through_where_it_is_told_to(
    slow: tuple[Replicas, Proxy], gateways: Gateways, secret: str, client: Client
) -> None:
    replicas, proxy = slow
    async with replicas.running() as replica:
        envoy = await gateways(failing_open, service=replica.address)
        await proxy.switch(Mode.BLACKHOLE)
        call = asyncio.create_task(Caller(envoy.url, secret).ask())
        await asking(envoy)
        await replica.kill()
        assert ((await call).status, len(envoy.upstream)) == (200, 1)
    assert await all_is_even(client) == 0


async def test_a_service_that_dies_during_an_answer_does_not_break_it_and_the_hold_runs_out(
    replicas: Replicas,
    gateways: Gateways,
    secret: str,
    client: Client,
    provider: ModelProvider,
    stores: Stores,
) -> None:
    async with replicas.running(ttl_ms=SHORT_TTL_MS) as replica:
        envoy = await gateways(service=replica.address)
        async with Caller(envoy.url, secret).listening(LONG) as answer:
            await answer.piece()
            await replica.kill()
            assert await answer.rest() == await undisturbed(provider, LONG)
    await holds(client)
    [end] = await ends(client)
    assert told(end)[0] == "EXPIRE"
    await stores.drained()
    assert await all_is_even(client) == 0


async def test_what_one_replica_has_held_another_one_settles(
    replicas: Replicas, gateways: Gateways, secret: str, client: Client, provider: ModelProvider
) -> None:
    async with replicas.running() as replica:
        envoy = await gateways(asked_elsewhere("quota.response", client.address), service=replica.address)
        async with Caller(envoy.url, secret).listening(LONG) as answer:
            await answer.piece()
            await replica.kill()
            assert await answer.rest() == await undisturbed(provider, LONG)
    [end] = await ends(client)
    assert told(end) == ("COMMIT", 11, 20, False)
    assert await all_is_even(client) == end.charged.cost_micros


async def test_a_service_that_stops_settles_what_it_sees_the_end_of_and_charges_the_rest_by_the_hold(
    replicas: Replicas, gateways: Gateways, secret: str, client: Client, provider: ModelProvider
) -> None:
    longer, shorter = replace(LONG, delay_ms=250), replace(LONG, delay_ms=30)
    async with replicas.running(QUOTA_GRACE_MS="1500") as replica:
        envoy = await gateways(service=replica.address)
        caller = Caller(envoy.url, secret)
        async with caller.listening(longer) as long, caller.listening(shorter) as short:
            await asyncio.gather(long.piece(), short.piece())
            stopping = asyncio.create_task(replica.stop(signal.SIGTERM))
            assert await short.rest() == await undisturbed(provider, shorter)
            assert await long.rest() == await undisturbed(provider, longer)
            assert await stopping == 0
    seen, unseen = [told(end) for end in await ends(client, 2)]
    assert seen == ("COMMIT", 11, 20, False)
    assert (unseen[0], *unseen[2:]) == ("COMMIT", 100, True)
    assert await all_is_even(client) > 0


async def test_a_rolling_restart_fails_no_call(
    replicas: Replicas, gateways: Gateways, secret: str, client: Client
) -> None:
    async with replicas.running(QUOTA_DRAIN_MS="2000") as replica:
        envoy = await gateways(either(client.address), service=replica.address)
        healthy = "cluster.quota.membership_healthy"
        await eventually(lambda: envoy.statistic(healthy), lambda count: count == 2)
        caller, answered = Caller(envoy.url, secret), []
        stopping = asyncio.create_task(replica.stop(signal.SIGTERM))
        while not stopping.done():
            answered.append((await caller.ask(Behaviour(delay_ms=5))).status)
        assert await stopping == 0
    assert set(answered) == {200}
    assert {told(end)[0] for end in await ends(client, len(answered))} == {"COMMIT"}
    assert await all_is_even(client) > 0
