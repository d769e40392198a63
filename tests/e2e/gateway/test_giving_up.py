"""Envoy or a caller does not wait any longer: nothing stays held, and nothing was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from quota.v1 import types_pb2
from quota_service.domain import commands
from quota_service.edge.dialects import tokens
from quota_service.edge.envoy import attempts, process
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.support.envoy import entries
from tests.support.gateway import Configuration, Gateway, failing_open, waiting
from tests.support.gateway_caller import Caller, all_is_even, eventually, holds
from tests.support.service import Client

Gateways = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until it is set, whoever asks does not hear what Valkey has decided."""
    tokens.load()  # as a service does that is made for Envoy
    heard, authorize = asyncio.Event(), ValkeyHoldStore.authorize

    async def late(store: ValkeyHoldStore, command: commands.Authorize) -> commands.AuthorizeAnswer:
        answer = await authorize(store, command)
        await heard.wait()
        return answer

    monkeypatch.setattr(ValkeyHoldStore, "authorize", late)
    return heard


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until it is set, the service has the body of a call and does not change it."""
    changed, in_time, seen = asyncio.Event(), process._in_time, []

    async def late(messages: process.Messages) -> ProcessingRequest | None:
        message = await in_time(messages)
        seen.append(message)
        if len(seen) == 2:
            await changed.wait()
        return message

    monkeypatch.setattr(process, "_in_time", late)
    return changed


async def everything_is_returned(client: Client) -> None:
    """Within a second, and after something was held."""
    await holds(client)
    [end] = await eventually(lambda: entries(client, "RELEASE"), bool, within_s=1)
    assert end.reason
    assert await all_is_even(client) == 0


async def test_a_decision_that_comes_too_late_is_a_denial_though_envoy_fails_open(
    gateways: Gateways, secret: str, client: Client, decided: asyncio.Event
) -> None:
    envoy = await gateways(failing_open, waiting("2s"))
    denied = await Caller(envoy.url, secret).ask()
    assert (denied.status, envoy.upstream) == (503, [])
    assert int(denied.headers["retry-after"]) > 0
    assert json.loads(denied.body)["error"]["code"] == "deadline_passed"
    await holds(client)
    decided.set()
    await everything_is_returned(client)


async def test_a_check_that_envoy_gave_up_on_holds_nothing(
    gateways: Gateways,
    secret: str,
    client: Client,
    decided: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "DECIDING_SHARE", 100)
    envoy = await gateways(waiting("2s"))
    given_up = await Caller(envoy.url, secret).ask()
    assert (given_up.status, given_up.body, envoy.upstream) == (503, b"", [])
    await holds(client)
    decided.set()
    await everything_is_returned(client)


async def test_a_caller_who_leaves_while_it_is_decided_holds_nothing(
    envoy: Gateway, secret: str, client: Client, decided: asyncio.Event
) -> None:
    call = asyncio.create_task(Caller(envoy.url, secret).ask())
    await holds(client)
    call.cancel()
    await gone(envoy)
    decided.set()
    await everything_is_returned(client)
    assert envoy.upstream == []


async def test_a_caller_who_leaves_while_the_call_is_changed_holds_nothing(
    envoy: Gateway, secret: str, client: Client, written: asyncio.Event
) -> None:
    await client.budget("small", limits=types_pb2.Amounts(tokens=1_000))
    call = asyncio.create_task(Caller(envoy.url, secret).ask(max_tokens=4_000))
    await holds(client)
    call.cancel()
    await gone(envoy)
    await everything_is_returned(client)
    assert envoy.upstream == []


async def test_a_change_that_takes_too_long_ends_the_call_and_its_hold(
    gateways: Gateways, secret: str, client: Client, written: asyncio.Event
) -> None:
    envoy = await gateways(changing_quickly)
    await client.budget("small", limits=types_pb2.Amounts(tokens=1_000))
    given_up = await Caller(envoy.url, secret).ask(max_tokens=4_000)
    assert (given_up.status, envoy.upstream) == (504, [])
    await everything_is_returned(client)


async def gone(envoy: Gateway) -> None:
    """Waits until Envoy has seen that its caller has left, and the service has heard of it."""
    await eventually(lambda: envoy.statistic("http.gateway.downstream_rq_active"), lambda active: active == 0)
    await asyncio.sleep(0.1)  # its streams are reset already: no statistic of Envoy's tells when that is read


def changing_quickly(configuration: Configuration) -> None:
    """Envoy waits for no change of a call for longer than a second."""
    configuration.filter("quota.request")["message_timeout"] = "1s"
