"""What goes upstream is what was granted: another model or fewer tokens, and else what the caller sent."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quota.v1 import catalog_pb2, report_pb2, types_pb2
from tests.support.behaviour import Behaviour
from tests.support.gateway import Gateway, without_request_phase
from tests.support.grants import downgrade, leave_tokens
from tests.support.libraries import CHAT, GENERATE, WAYS, Question, Way, refused
from tests.support.model_provider import Request
from tests.support.raw_http import ask, post
from tests.support.service import Client

Gateways = Callable[..., Awaitable[Gateway]]
Settled = Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]
EACH_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
USED = types_pb2.Usage(input_tokens=5_000, output_tokens=20)
ASKED = f"Wie spät? 漢字 \"'\n {Behaviour(input_tokens=5_000, answer_tokens=20).block()}"
STREAMED = (False, True)


async def price(client: Client, way: Way, model: str) -> int:
    """Micro-USD of what is used."""
    named = catalog_pb2.GetModelRequest(organization="acme", provider=way.provider, model=model)
    found = await client.catalog.GetModel(named)
    rate = found.prices[0]
    pico = (
        USED.input_tokens * rate.input_pico_usd_per_token
        + USED.output_tokens * rate.output_pico_usd_per_token
    )
    return -(-pico // 1_000_000)


def headers(request: Request) -> list[tuple[str, str]]:
    """All but the body's length."""
    return [(name, value) for name, value in request.headers if name != "content-length"]


def is_well_formed(request: Request) -> None:
    assert request.header("content-length") == str(len(request.body))
    assert request.header("transfer-encoding") is None


def limited(body: Any, way: Way, limit: int) -> Any:
    """The body with another limit."""
    changed = copy.deepcopy(body)
    *path, name = way.limit
    inner = changed
    for each in path:
        inner = inner[each]
    inner[name] = limit
    return changed


@EACH_WAY
async def test_a_downgraded_call_asks_for_the_other_model_and_is_else_the_same(
    client: Client, envoy: Gateway, secret: str, settled: Settled, way: Way
) -> None:
    whole, streamed = (Question(prompt=ASKED, max_tokens=100, streamed=each) for each in STREAMED)
    texts = [await way.ask(envoy.url, secret, each) for each in (whole, streamed)]
    await downgrade(client, way)
    assert [await way.ask(envoy.url, secret, each) for each in (whole, streamed)] == texts
    for usual, arrived in zip(envoy.upstream[:2], envoy.upstream[2:], strict=True):
        is_well_formed(arrived)
        assert headers(arrived) == headers(usual)
        if way is GENERATE:
            assert arrived.path == usual.path.replace(way.model, way.cheaper) != usual.path
            assert arrived.json == usual.json
        else:
            assert arrived.path == usual.path
            assert arrived.json == {**usual.json, "model": way.cheaper}
            assert list(arrived.json) == list(usual.json)
    found = await settled(4)
    assert [entry.model for entry in found] == [way.model] * 2 + [way.cheaper] * 2
    assert [entry.usage_estimated for entry in found] == [False] * 4
    assert [entry.charged.cost_micros for entry in found[2:]] == [await price(client, way, way.cheaper)] * 2


@EACH_WAY
async def test_a_call_that_is_granted_a_part_asks_for_no_more(
    client: Client, envoy: Gateway, secret: str, settled: Settled, way: Way
) -> None:
    prompt = f"Wie spät? 漢字 {Behaviour(answer_tokens=700).block()}"
    for streamed in STREAMED:
        await way.ask(envoy.url, secret, Question(prompt, 4_000, streamed=streamed))
    await settled(2)
    await leave_tokens(client, 2_700)
    for number, streamed in enumerate(STREAMED):
        text = await way.ask(envoy.url, secret, Question(prompt, 4_000, streamed=streamed))
        await settled(3 + number)
        usual, arrived = envoy.upstream[number], envoy.upstream[2 + number]
        limit = arrived.json
        for each in way.limit:
            limit = limit[each]
        assert 256 <= limit < 2_700
        assert len(text.split()) == min(700, limit)
        assert arrived.json == limited(usual.json, way, limit)
        assert (headers(arrived), arrived.path) == (headers(usual), usual.path)
        is_well_formed(arrived)
    [status] = await client.status("small")
    assert (status.held, status.spent <= 2_700) == (0, True)


async def test_a_rewritten_body_keeps_every_byte_of_what_is_not_rewritten(
    client: Client, envoy: Gateway, secret: str, settled: Settled
) -> None:
    await leave_tokens(client, 1_000)
    await downgrade(client, CHAT)
    kept = (
        b'"messages":[{"role": "user",  "content": "\\u00e9 \xc3\xa9 \\ud83d\\ude00 \\/"}],'
        b'"seed":9007199254740993,"temperature":1.10,"top_p":1e-0,"metadata":{"model":"gpt-4o","max_tokens":"4"},"\\u0078":null'
    )
    for number, chunks in enumerate((0, 3), 1):
        key = [("x-api-key", secret), ("content-type", "application/json")]
        body = b'{"max_tokens":4000,' + kept + b',"model":"gpt-4o"}'
        assert (await ask(envoy.address, post(CHAT.path, body, *key, chunks=chunks))).status == 200
        arrived = envoy.upstream[-1]
        is_well_formed(arrived)
        limit = arrived.json["max_tokens"]
        assert 256 <= limit < 1_000
        assert arrived.body.replace(b'"x":', b'"\\u0078":') == (
            b'{"max_tokens":%d,' % limit + kept + b',"model":"gpt-4o-mini"}'
        )
        await settled(number)
        assert json.loads(arrived.body)


@pytest.mark.parametrize("chunks", [0, 3], ids=["length", "chunked"])
async def test_a_call_that_is_granted_as_it_is_goes_upstream_as_it_is(
    envoy: Gateway, secret: str, chunks: int
) -> None:
    sent = [
        ("accept", "application/json"),
        ("user-agent", "somebody/1.0"),
        ("x-custom", "1"),
        ("x-custom", "two"),
        ("cookie", "a=b; c=d"),
        ("x-request-id", "mine"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("openai-organization", "org-1"),
        ("idempotency-key", "mine"),
        ("content-type", "application/json; charset=utf-8"),
    ]
    key = [("authorization", f"Bearer {secret}"), ("accept-encoding", "gzip, br")]
    body = (
        b' {"model" : "gpt-4o",\r\n"messages":[ ], "max_tokens": 1, "max_tokens": 20,"x":"\xc3\xa9\\u00e9"}\n'
    )
    path = f"{CHAT.path}?a=1%202&b=%2F;c"
    assert (await ask(envoy.address, post(path, body, *key, *sent, chunks=chunks))).status == 200
    [arrived] = envoy.upstream
    length = ("transfer-encoding", "chunked") if chunks else ("content-length", str(len(body)))
    company = ("authorization", "Bearer the-company's-openai-key")
    assert (arrived.path, arrived.body) == (path, body)
    assert sorted(arrived.headers) == sorted([("host", "127.0.0.1"), *sent, length, company])


async def test_without_the_request_phase_another_model_or_a_part_is_a_denial(
    client: Client, gateways: Gateways, secret: str
) -> None:
    envoy = await gateways(without_request_phase)
    await leave_tokens(client, 1_000)
    for way in WAYS.values():
        refusal = await refused(way, envoy.url, secret, Question(max_tokens=4_000))
        assert (refusal.status, "“small” has no room" in refusal.message) == (429, True)
    await downgrade(client, CHAT)
    refusal = await refused(CHAT, envoy.url, secret, Question())
    assert (refusal.status, "“year”" in refusal.message) == (429, True)
    assert envoy.upstream == []
