"""Who is denied by the gateway sees their library's usual exception, with our message, and waits only for
what comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from google import genai
from google.genai import errors, types
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, directory_pb2, model_policy_pb2, quota_pb2, types_pb2
from tests.support.envoy import secret_of
from tests.support.gateway import Gateway
from tests.support.grants import YEARLY
from tests.support.libraries import GENERATE, WAYS, Question, Way, refused
from tests.support.proxy import Mode, Proxy
from tests.support.service import ACME, Client, authorize_request, running_service

Gateways = Callable[..., Awaitable[Gateway]]
EACH_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
DOLLAR = types_pb2.Amounts(cost_micros=1_000_000)
ONCE = Question(retries=False)


async def calls_of(envoy: Gateway) -> int:
    """How many have come in."""
    return await envoy.statistic("http.gateway.downstream_rq_total")


async def is_denied(envoy: Gateway) -> None:
    """Waits until a call has been."""
    count = 0
    async with asyncio.timeout(10):
        while not count:
            await asyncio.sleep(0.01)
            count = await envoy.statistic("http.gateway.downstream_rq_4xx")


@pytest.fixture
async def spent(client: Client, secret: str) -> str:
    """Ada's secret, where a budget of a year has nothing left."""
    await client.budget("year", limits=DOLLAR, period=YEARLY)
    record = quota_pb2.RecordRequest(
        idempotency_key="spent",
        subject=types_pb2.Subject(organization="acme", user="ada"),
        provider="openai",
        model="gpt-4o",
        usage=types_pb2.Usage(output_tokens=100_000),
    )
    await client.quota.Record(record)
    return secret


@EACH_WAY
async def test_money_that_is_spent_is_told_within_a_second_and_in_one_attempt(
    envoy: Gateway, spent: str, way: Way
) -> None:
    took_s = []
    for streamed in (False, True, False):  # one of them in time, as the machine may be busy
        began = time.monotonic()
        refusal = await refused(way, envoy.url, spent, Question(streamed=streamed))
        took_s.append(time.monotonic() - began)
        assert refusal.status == 429
        assert "Budget “year” has no room for $0.00" in refusal.message
        assert ": $1.00 spent of $1.00; it resets on 1 Jan " in refusal.message
        assert refusal.headers["x-should-retry"] == "false"
        assert int(refusal.headers["retry-after"]) > 30
        assert refusal.headers["ratelimit-policy"] == '"year";q=1000000;qu="micro-usd"'
        assert refusal.headers["ratelimit"].startswith('"year";r=0;t=')
    assert min(took_s) < 1
    assert await calls_of(envoy) == 3
    assert envoy.upstream == []


async def test_google_s_library_heeds_no_header_but_can_be_told_what_not_to_try_again(
    envoy: Gateway, spent: str
) -> None:
    async def attempts(**retries: Any) -> int:
        before = await calls_of(envoy)
        kept = types.HttpRetryOptions(attempts=2, initial_delay=0.01, jitter=0, **retries)
        options = types.HttpOptions(base_url=envoy.url, retry_options=kept)
        async with genai.Client(api_key=spent, http_options=options).aio as library:
            with pytest.raises(errors.ClientError):
                await library.models.generate_content(model=GENERATE.model, contents="Why?")
        return await calls_of(envoy) - before

    assert await attempts() == 2
    assert await attempts(http_status_codes=[500, 502, 503, 504]) == 1


@EACH_WAY
async def test_money_that_is_only_held_is_waited_for(
    client: Client, envoy: Gateway, secret: str, way: Way
) -> None:
    await client.budget("year", limits=types_pb2.Amounts(requests=1), period=YEARLY)
    held = await client.quota.Authorize(authorize_request("held", ttl=Duration(seconds=3)))
    began = time.monotonic()
    asking = asyncio.create_task(way.ask(envoy.url, secret, Question(retries=True)))
    await is_denied(envoy)
    await client.quota.Release(quota_pb2.ReleaseRequest(name=held.reservation.name))
    assert await asking
    assert time.monotonic() - began > 0.95  # a retry-after is a second at least; libraries' own wait is less
    assert await calls_of(envoy) == 2
    assert len(envoy.upstream) == 1


async def test_a_rate_limit_is_told_with_the_headers_that_each_library_s_users_know(
    client: Client, envoy: Gateway, secret: str
) -> None:
    limit = budget_pb2.RateLimit(
        meter=types_pb2.METER_REQUESTS, limit=10, burst=1, interval=Duration(seconds=3_600)
    )
    await client.budgets.CreateRateLimit(
        budget_pb2.CreateRateLimitRequest(parent=ACME, rate_limit_id="slow", rate_limit=limit)
    )
    await client.quota.Authorize(authorize_request("first"))
    for way in WAYS.values():
        refusal = await refused(way, envoy.url, secret, Question())
        assert refusal.status == 429
        assert "Rate limit “slow” of 10 requests per hour has no room for 1 request now" in refusal.message
        assert 300 < int(refusal.headers["retry-after"]) <= 360
        assert refusal.headers["x-should-retry"] == "false"
        prefix = "anthropic-ratelimit-requests-" if way.provider == "anthropic" else "x-ratelimit-"
        suffix = "" if way.provider == "anthropic" else "-requests"
        assert refusal.headers[f"{prefix}limit{suffix}"] == "10"
        assert refusal.headers[f"{prefix}remaining{suffix}"] == "0"
        assert refusal.headers[f"{prefix}reset{suffix}"]
    assert await calls_of(envoy) == len(WAYS)
    assert envoy.upstream == []


@pytest.mark.parametrize(
    ("shown", "told"),
    [("sk-their-own", "says nothing of who makes it"), (f"qk_{'x' * 43}", "No API key has this secret")],
    ids=["none", "unknown"],
)
async def test_a_stranger_is_not_authenticated(envoy: Gateway, secret: str, shown: str, told: str) -> None:
    for way in WAYS.values():
        refusal = await refused(way, envoy.url, shown, Question())
        assert refusal.status == 401
        assert told in refusal.message
        assert shown not in str(refusal.body)
    assert await calls_of(envoy) == len(WAYS)
    assert envoy.upstream == []


async def test_what_nobody_may_do_is_forbidden(client: Client, envoy: Gateway, secret: str) -> None:
    revoked = await secret_of(client, "key-revoked", user="ada")
    await client.directory.RevokeApiKey(directory_pb2.RevokeApiKeyRequest(name=f"{ACME}/apiKeys/key-revoked"))

    async def is_forbidden(shown: str, question: Question, told: str) -> None:
        for way in WAYS.values():
            refusal = await refused(way, envoy.url, shown, question)
            assert refusal.status == 403
            assert told in refusal.message

    await is_forbidden(revoked, Question(), "revoked")
    await is_forbidden(secret, Question(model="no-such-model"), "no-such-model")
    policy = model_policy_pb2.ModelPolicy(team="engineering", allowed_models=["openai/gpt-4o-mini"])
    await client.budgets.CreateModelPolicy(
        model_policy_pb2.CreateModelPolicyRequest(parent=ACME, model_policy_id="cheap", model_policy=policy)
    )
    await is_forbidden(secret, Question(), "not allowed")
    user = directory_pb2.User(name=f"{ACME}/users/ada", disabled=True)
    await client.directory.UpdateUser(
        directory_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=["disabled"]))
    )
    await is_forbidden(secret, Question(), "disabled")
    assert await calls_of(envoy) == 4 * len(WAYS)
    assert envoy.upstream == []


@pytest.fixture
async def line(valkey_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A line to Valkey that can be cut, and the URL at its other end."""
    target = urlsplit(valkey_url)
    proxy = Proxy(target.hostname or "", target.port or 0)
    address = f"{target.netloc.rpartition('@')[0]}@127.0.0.1:{await proxy.start()}".lstrip("@")
    yield proxy, target._replace(netloc=address).geturl()
    await proxy.close()


async def test_while_the_store_is_away_the_service_is_unavailable(
    line: tuple[Proxy, str], gateways: Gateways, secret: str, postgres_url: str, key_prefix: str
) -> None:
    proxy, valkey_url = line
    async with running_service(valkey_url, postgres_url, key_prefix) as cut_off:
        envoy = await gateways(service=cut_off.address)
        await WAYS["chat"].ask(envoy.url, secret, ONCE)
        await proxy.switch(Mode.REFUSE)
        for way in WAYS.values():
            refusal = await refused(way, envoy.url, secret, ONCE)
            assert refusal.status == 503
            assert 0 < int(refusal.headers["retry-after"]) < 30
            assert "x-should-retry" not in refusal.headers
            assert "store" in refusal.message, refusal.message
        assert len(envoy.upstream) == 1
