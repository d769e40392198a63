"""Envoy lets calls through while the service is away: not those of which the service has said no, nor those
that it cannot decide on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from quota.v1 import directory_pb2, types_pb2
from quota_service.edge.dialects import tokens
from quota_service.embedded.ports import free_port
from tests.support.envoy import entries, secret_of
from tests.support.gateway import Gateway, failing_open, gateway, waiting
from tests.support.gateway_caller import Caller, all_is_even, ends, told
from tests.support.model_provider import ModelProvider
from tests.support.proxy import Mode, Proxy, proxied
from tests.support.replicas import asked_elsewhere
from tests.support.service import ACME, Client, running_service

Gateways = Callable[..., Awaitable[Gateway]]
SILENT_S = "2s"
"""How long Envoy waits; Valkey's silence lasts longer."""


class Cut:
    """A gateway that fails open, and a service whose stores can be cut off."""

    def __init__(self, client: Client, envoy: Gateway, valkey: Proxy, postgres: Proxy) -> None:
        self.client, self.envoy, self.valkey, self.postgres = client, envoy, valkey, postgres


@pytest.fixture
async def cut(
    valkey_url: str, postgres_url: str, key_prefix: str, provider: ModelProvider, tmp_path: Path
) -> AsyncIterator[Cut]:
    tokens.load()  # as a service does that is made for Envoy
    async with AsyncExitStack() as stack:
        valkey, valkey_there = await stack.enter_async_context(proxied(valkey_url))
        postgres, postgres_there = await stack.enter_async_context(proxied(postgres_url))
        service = running_service(valkey_there, postgres_there, key_prefix, patience_ms=200)
        client = await stack.enter_async_context(service)
        changes = (failing_open, waiting(SILENT_S))
        envoy = await stack.enter_async_context(gateway(tmp_path, client.address, provider, changes))
        yield Cut(client, envoy, valkey, postgres)
        for proxy in (valkey, postgres):
            await proxy.switch(Mode.PASS)  # or the service waits for them as it stops


@pytest.fixture
async def secret_there(cut: Cut) -> str:
    await cut.client.found_acme()
    await cut.client.budget("core", limits=types_pb2.Amounts(cost_micros=100_000_000))
    return await secret_of(cut.client)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
async def test_a_closed_organization_stays_closed_without_its_store(
    cut: Cut, secret_there: str, mode: Mode
) -> None:
    caller = Caller(cut.envoy.url, secret_there)
    assert (await caller.ask()).status == 200
    await cut.valkey.switch(mode)
    denied = [await caller.ask() for _ in range(2)]
    assert [each.status for each in denied] == [503, 503]
    assert {json.loads(each.body)["error"]["code"] for each in denied} == {"store_unavailable"}
    assert len(cut.envoy.upstream) == 1


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
async def test_without_both_stores_nobody_gets_through(cut: Cut, secret_there: str, mode: Mode) -> None:
    caller = Caller(cut.envoy.url, secret_there)
    await cut.valkey.switch(mode)
    await cut.postgres.switch(mode)
    denied = await caller.ask()
    assert (denied.status, cut.envoy.upstream) == (503, [])
    assert json.loads(denied.body)["error"]["message"]


async def test_a_key_that_cannot_be_looked_up_does_not_get_through(cut: Cut, secret_there: str) -> None:
    await cut.postgres.switch(Mode.BLACKHOLE)
    denied = await Caller(cut.envoy.url, secret_there).ask()
    assert (denied.status, cut.envoy.upstream) == (503, [])
    assert json.loads(denied.body)["error"]["message"]


async def test_while_the_service_is_away_calls_go_through_and_the_ledger_knows_nothing_of_them(
    gateways: Gateways, secret: str, client: Client
) -> None:
    envoy = await gateways(failing_open, service=f"127.0.0.1:{free_port()}")
    assert (await Caller(envoy.url, secret).ask()).status == 200
    [request] = envoy.upstream
    assert "qk_" not in str(request), "the company's key goes up all the same"
    assert await entries(client) == []


async def denied(envoy: Gateway, secret: str, code: str, **body: Any) -> int:
    """The status of a call that must not get through."""
    answer = await Caller(envoy.url, secret).ask(**body)
    assert json.loads(answer.body)["error"]["code"] == code
    assert envoy.upstream == []
    return answer.status


async def test_a_denial_stays_a_denial(gateways: Gateways, secret: str, client: Client) -> None:
    envoy = await gateways(failing_open)
    await client.budget("tiny", limits=types_pb2.Amounts(tokens=1))
    assert await denied(envoy, secret, "budget_exhausted") == 429
    assert await denied(envoy, secret, "model_unknown", model="gpt-99") == 403
    assert await denied(envoy, "none", "credentials_missing") == 401
    assert await denied(envoy, "qk_nobody", "api_key_unknown") == 401
    assert await denied(envoy, secret, "invalid_request", max_tokens="many") == 400
    await client.directory.RevokeApiKey(directory_pb2.RevokeApiKeyRequest(name=f"{ACME}/apiKeys/key-gateway"))
    assert await denied(envoy, secret, "api_key_revoked") == 403
    assert await entries(client) == []


async def test_what_was_granted_less_is_not_sent_as_it_was_where_it_cannot_be_changed(
    gateways: Gateways, secret: str, client: Client
) -> None:
    envoy = await gateways(failing_open, asked_elsewhere("quota.request", f"127.0.0.1:{free_port()}"))
    await client.budget("small", limits=types_pb2.Amounts(tokens=1_000))
    answer = await Caller(envoy.url, secret).ask(max_tokens=4_000)
    assert (answer.status, envoy.upstream) == (503, [])
    assert [told(end)[0] for end in await ends(client)] == ["RELEASE"]
    assert await all_is_even(client) == 0
