"""Lengths that lie, bodies that are too long, headers that are not a caller's to set."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from quota.v1 import catalog_pb2, types_pb2
from tests.support.behaviour import Behaviour
from tests.support.gateway import KEYS
from tests.support.metered import (
    CHAT,
    MESSAGES,
    SETTLED_S,
    Call,
    Metered,
    asking,
    call,
    nothing,
    told,
)
from tests.support.raw_http import JSON, LAST_CHUNK, Reply, ask, chunk, connection, head

LONG_BYTES = 10_000_000
MOST_TOKENS = 20_000
TEXT = "and the budget is spent as long as it lasts, "

SPOOFED = {
    "x-envoy-auth-partial-body": "true",
    "x-envoy-original-path": "/v1/models",
    "x-envoy-internal": "true",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-quota-phase": "response",
    "x-quota-organization": "somebody-else",
    "x-quota-subject": "organizations/somebody-else/users/bob",
    "x-quota-idempotency-key": "again",
    "idempotency-key": "again",
}
IMPATIENT = {
    "x-forwarded-for": "10.0.0.1",  # as if it came from within
    "x-envoy-retry-on": "5xx",
    "x-envoy-max-retries": "3",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-upstream-alt-stat-name": "mine",
}


async def is_untouched(metered: Metered) -> None:
    """Nothing is held, nothing has gone up."""
    [budget] = await metered.client.status("core")
    assert (budget.held, budget.spent) == (0, 0)
    assert metered.gateway.upstream == []


async def is_alone(metered: Metered) -> None:
    """Waits until Envoy knows that all of its callers have gone."""
    async with asyncio.timeout(SETTLED_S):
        while await metered.gateway.statistic("http.gateway.downstream_cx_active"):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.02)


def with_framing(asked: Call, secret: str, *framing: tuple[str, str]) -> bytes:
    return head(asked.path, ("authorization", f"Bearer {secret}"), ("content-type", JSON), *framing)


async def test_a_length_that_is_too_short_makes_a_body_that_is_none(metered: Metered) -> None:
    secret, asked = await metered.secret("short"), call(CHAT, "Why?")
    begun = with_framing(asked, secret, ("content-length", str(len(asked.body) - 5)))
    reply = await ask(metered.gateway.address, begun + asked.body)
    assert reply.status == 400
    assert "JSON" in reply.error["message"]
    await is_alone(metered)
    await is_untouched(metered)


async def test_a_body_that_does_not_come_is_asked_about_by_nobody(metered: Metered) -> None:
    secret, asked = await metered.secret("long"), call(CHAT, "Why?")
    begun = with_framing(asked, secret, ("content-length", str(len(asked.body) + 5)))
    async with connection(metered.gateway.address) as there:
        await there.send(begun, asked.body)
    await is_alone(metered)
    assert await metered.gateway.statistic("cluster.quota.upstream_rq_total") == 0
    await is_untouched(metered)


async def test_framing_that_can_be_read_in_two_ways_is_refused(metered: Metered) -> None:
    secret, asked = await metered.secret("framed"), call(CHAT, "Why?")
    length = str(len(asked.body))
    framings: dict[str, list[tuple[str, str]]] = {
        "two lengths": [("content-length", length), ("content-length", "5")],
        "a length twice": [("content-length", length), ("content-length", length)],
        "lengths in one": [("content-length", f"{length}, 5")],
        "a negative length": [("content-length", "-1")],
        "a length that is none": [("content-length", "all")],
        "a length and chunks": [("content-length", length), ("transfer-encoding", "chunked")],
        "chunks that are not": [("transfer-encoding", "chunked")],
        "another encoding": [("transfer-encoding", "gzip, chunked")],
    }
    replies = {
        name: await ask(metered.gateway.address, with_framing(asked, secret, *framing) + asked.body)
        for name, framing in framings.items()
    }
    statuses = {name: reply.status for name, reply in replies.items()}
    assert statuses == {**dict.fromkeys(framings, 400), "another encoding": 501}
    assert await metered.gateway.statistic("cluster.quota.upstream_rq_total") == 0
    await is_untouched(metered)


async def test_a_body_in_chunks_is_priced_and_passed_on_whole(metered: Metered) -> None:
    asked = call(CHAT, "Why?")
    begun = with_framing(asked, await metered.secret("chunks"), ("transfer-encoding", "chunked"))
    pieces = [chunk(asked.body[start : start + 7]) for start in range(0, len(asked.body), 7)]
    reply = await ask(metered.gateway.address, begun, *pieces, LAST_CHUNK)
    assert reply.status == 200
    [arrived] = metered.gateway.upstream
    assert arrived.body == asked.body
    await metered.require({"chunks": told(10, 12)})


async def test_a_caller_who_waits_to_be_asked_for_the_body_is(metered: Metered) -> None:
    asked = call(CHAT, "Why?")
    framing = (("content-length", str(len(asked.body))), ("expect", "100-continue"))
    begun = with_framing(asked, await metered.secret("expects"), *framing)
    async with connection(metered.gateway.address) as there:
        await there.send(begun)
        assert await there.asked_to_go_on() == 100
        await there.send(asked.body)
        assert (await there.reply()).status == 200
    await metered.require({"expects": told(10, 12)})


def long_body(**fields: Any) -> bytes:
    """A body of 10 MB: those fields, then a long text, then its limit."""
    text = TEXT * (LONG_BYTES // len(TEXT) + 1)
    return json.dumps({**fields, "messages": [{"role": "user", "content": text}], "max_tokens": 5}).encode()


async def known_maximum(metered: Metered) -> None:
    """The catalogue knows how much the model can say at most."""
    price = catalog_pb2.ModelPrice(input_pico_usd_per_token=2_500_000, output_pico_usd_per_token=10_000_000)
    model = catalog_pb2.Model(
        provider="openai", model="gpt-4o", max_output_tokens=MOST_TOKENS, prices=[price]
    )
    request = catalog_pb2.UpsertModelRequest(organization="acme", model=model)
    await metered.client.catalog.UpsertModel(request)


async def test_of_a_body_that_is_too_long_to_read_the_worst_is_held(metered: Metered) -> None:
    await known_maximum(metered)
    asked = call(CHAT, "")._replace(body=long_body(model="gpt-4o"))
    assert (await metered.ask("long", asked)).status == 200
    [arrived] = metered.gateway.upstream
    assert arrived.body == asked.body
    await metered.require({"long": told(10, 5)})
    held = (await metered.held())["long"]
    assert held.output_tokens == MOST_TOKENS  # what the body says of it is in the part that was not read
    assert held.input_tokens > 11 * LONG_BYTES // len(TEXT)  # of which each has eleven, and more were sent


async def test_a_body_that_is_too_long_to_read_is_denied_where_the_worst_does_not_fit(
    metered: Metered,
) -> None:
    await metered.client.budget("small", limits=types_pb2.Amounts(cost_micros=1_000_000))
    secret = await metered.secret("poor")
    asked = call(CHAT, "")._replace(body=long_body(model="gpt-4o"))
    reply = await ask(metered.gateway.address, asked.of(secret))
    assert (reply.status, reply.error["code"]) == (429, "budget_exhausted")
    await is_untouched(metered)


async def test_a_body_that_is_too_long_to_name_its_model_is_refused(metered: Metered) -> None:
    secret = await metered.secret("late")
    for kind in (CHAT, MESSAGES):
        body = long_body()[:-1] + b', "model": "gpt-4o"}'
        reply = await ask(metered.gateway.address, call(kind, "")._replace(body=body).of(secret))
        assert reply.status == 413
        assert "too large" in reply.error["message"]
    await is_untouched(metered)


async def test_a_key_of_ten_thousand_bytes_is_not_known(metered: Metered) -> None:
    asked = call(CHAT, "Why?")
    for key in ("qk_" + "x" * 10_000, "x" * 10_000, "qk_" + "." * 10_000):
        reply = await ask(metered.gateway.address, asked.of(key))
        assert reply.status == 401
        assert key.encode() not in reply.body
    assert (await ask(metered.gateway.address, asked.of("x" * 100_000))).status == 431
    await is_untouched(metered)


async def test_headers_that_are_not_a_caller_s_to_set_change_nothing(metered: Metered) -> None:
    asked = call(CHAT, "Why?")
    replies: list[Reply] = []
    for name in ("once", "again"):
        raw = asked.of(await metered.secret(name), *SPOOFED.items())
        replies.append(await ask(metered.gateway.address, raw))
    assert [reply.status for reply in replies] == [200, 200]
    assert [each.path for each in metered.gateway.upstream] == [asked.path] * 2
    authorizations = {each.header("authorization") for each in metered.gateway.upstream}
    assert authorizations == {f"Bearer {KEYS['OPENAI_API_KEY']}"}
    await metered.require(dict.fromkeys(("once", "again"), told(10, 12)))


async def test_a_body_that_only_says_that_it_is_cut_off_is_read_as_it_is(metered: Metered) -> None:
    secret = await metered.secret("whole")
    asked = call(CHAT, "")._replace(body=b'{"messages": []}')
    reply = await ask(metered.gateway.address, asked.of(secret, ("x-envoy-auth-partial-body", "true")))
    assert (reply.status, reply.error["param"]) == (400, "model")
    await is_untouched(metered)


async def test_nobody_can_have_the_gateway_ask_again_or_give_up(metered: Metered) -> None:
    failing, slow = Behaviour(error=503), Behaviour(headers_delay_ms=300)
    secrets = {name: await metered.secret(name) for name in ("failing", "slow")}
    raw = [
        asking(CHAT, behaviour).of(secrets[name], *IMPATIENT.items())
        for name, behaviour in (("failing", failing), ("slow", slow))
    ]
    replies = [await ask(metered.gateway.address, each) for each in raw]
    assert [reply.status for reply in replies] == [503, 200]
    assert len(metered.gateway.upstream) == 2
    await metered.require({"failing": nothing, "slow": told(10, 12)})
