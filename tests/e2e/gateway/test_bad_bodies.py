"""Bodies that no price can be made of are refused in their caller's dialect, before anything is spent."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from quota.v1 import catalog_pb2, report_pb2
from quota_service.edge.dialects.calls import Dialect, Kind
from tests.support.metered import (
    CHAT,
    DIALECTS,
    GENERATE,
    MESSAGES,
    MODELS,
    RESPONSES,
    Call,
    Metered,
    call,
    told,
)
from tests.support.raw_http import Reply, ask

LIMITS = {
    CHAT: "max_tokens",
    RESPONSES: "max_output_tokens",
    MESSAGES: "max_tokens",
    GENERATE: "maxOutputTokens",
}
PROVIDERS = {CHAT: "openai", GENERATE: "google"}
NO_OBJECTS = {
    "no JSON": b"model=gpt-4o&max_tokens=5",
    "empty": b"",
    "an array": b'[{"model": "gpt-4o", "max_tokens": 5}]',
    "a text": b'"gpt-4o"',
    "a number": b"7",
    "null": b"null",
    "NUL bytes": b"\0\0\0\0",
    "cut off": b'{"model": "gpt-4o", "messages": [{"role": "us',
    "two objects": b'{"model": "gpt-4o"}{"model": "gpt-4o"}',
    "no UTF-8": b'{"model": "gpt-4o", "messages": [{"content": "\xff\xfe\xc3"}], "input": "\xff"}',
    "UTF-16": '{"model": "gpt-4o"}'.encode("utf-16"),
    "deep objects": b'{"model":"gpt-4o","messages":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "deep arrays": b'{"model":"gpt-4o","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and endless": b'{"model":"gpt-4o","messages":' + b"[" * 100_000,
}
NO_LIMITS = {
    "negative": "-1",
    "zero": "0",
    "beyond all numbers": "1e99",
    "many digits": "9" * 400,
    "a text": '"many"',
    "a number in a text": '"5"',
    "yes": "true",
    "a fraction": "1.5",
    "a list": "[5]",
    "an object": '{"at_most": 5}',
}
NO_MODELS: dict[str, Any] = {
    "null": None,
    "a number": 7,
    "empty": "",
    "a list": ["gpt-4o"],
    "with a space": "gpt 4o",
    "with a new line": "gpt-4o\n",
    "with NUL": "gpt-4o\0",
    "with a letter of two bytes": "gpt-4ö",
    "long": "g" * 257,
}
BODIES: dict[str, dict[str, Any]] = {
    "messages are a text": {"model": "gpt-4o", "messages": "Why?"},
    "messages are numbers": {"model": "gpt-4o", "messages": [1, 2, None, True]},
    "content is an object": {"model": "gpt-4o", "messages": [{"role": 5, "content": {"a": {"b": []}}}]},
    "tools are a text": {"model": "gpt-4o", "messages": [], "tools": "all of them"},
    "an image that is none": {
        "model": "gpt-4o",
        "messages": [
            {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
        ],
    },
}


def told_in(dialect: Dialect, reply: Reply) -> str:
    """The message of an error, which must be of that dialect, and no trace of the service's code."""
    document = json.loads(reply.body)
    error = document["error"]
    match dialect:
        case Dialect.OPENAI:
            assert set(error) == {"message", "type", "param", "code"}
        case Dialect.ANTHROPIC:
            assert document["type"] == "error"
            assert set(error) == {"type", "message"}
        case Dialect.GEMINI:
            assert error["code"] == reply.status
            assert error["status"] in ("INVALID_ARGUMENT", "PERMISSION_DENIED")
    assert reply.headers["content-type"] == "application/json"
    for trace in (b"Traceback", b".py", b"msgspec", b"quota_service", b"Error:"):
        assert trace not in reply.body
    return str(error["message"])


async def refused(metered: Metered, calls: Mapping[str, tuple[Kind, Call]], status: int = 400) -> None:
    """Each of them is refused so; nothing is held, and nothing has gone up."""
    secret = await metered.secret("refused")
    replies = await asyncio.gather(
        *(ask(metered.gateway.address, asked.of(secret)) for _, asked in calls.values())
    )
    found = dict(zip(calls, replies, strict=True))
    assert {name: reply.status for name, reply in found.items()} == dict.fromkeys(calls, status)
    for name, (kind, _) in calls.items():
        assert told_in(kind.dialect, found[name])
    assert metered.gateway.upstream == []
    request = report_pb2.ListLedgerEntriesRequest(parent="organizations/acme")
    assert not (await metered.client.reports.ListLedgerEntries(request)).ledger_entries
    [budget] = await metered.client.status("core")
    assert (budget.held, budget.spent) == (0, 0)


def with_body(kind: Kind, body: bytes) -> tuple[Kind, Call]:
    return kind, call(kind, "Why?")._replace(body=body)


def with_limit(kind: Kind, limit: str) -> tuple[Kind, Call]:
    asked = call(kind, "Why?", limit=4_711)
    assert LIMITS[kind].encode() in asked.body
    return kind, asked._replace(body=asked.body.replace(b"4711", limit.encode()))


@pytest.mark.parametrize("kind", DIALECTS)
async def test_what_is_no_object_is_refused(metered: Metered, kind: Kind) -> None:
    await refused(metered, {name: with_body(kind, body) for name, body in NO_OBJECTS.items()})


async def test_a_limit_that_is_no_number_of_tokens_is_refused(metered: Metered) -> None:
    calls = {
        f"{kind} {name}": with_limit(kind, limit) for kind in DIALECTS for name, limit in NO_LIMITS.items()
    }
    await refused(metered, calls)


async def test_a_limit_of_null_is_none_and_the_model_s_own_is_held(metered: Metered) -> None:
    price = catalog_pb2.ModelPrice(output_pico_usd_per_token=1_000)
    for kind in (CHAT, GENERATE):
        model = catalog_pb2.Model(
            provider=PROVIDERS[kind], model=MODELS[kind.dialect], default_output_tokens=770, prices=[price]
        )
        request = catalog_pb2.UpsertModelRequest(organization="acme", model=model)
        await metered.client.catalog.UpsertModel(request)
    kinds = (CHAT, RESPONSES, GENERATE)
    replies = await asyncio.gather(*(metered.ask(kind, with_limit(kind, "null")[1]) for kind in kinds))
    assert [reply.status for reply in replies] == [200] * len(kinds)
    await metered.require(dict.fromkeys(kinds, told(10, 12)))
    assert {each.output_tokens for each in (await metered.held()).values()} == {770}


async def test_a_number_of_choices_that_is_none_is_refused(metered: Metered) -> None:
    document = b'{"model": "gpt-4o", "messages": [], "n": %b}'
    numbers = ("-1", "0", "129", "1e9", '"all"', "true", "[1]")
    await refused(metered, {each: with_body(CHAT, document % each.encode()) for each in numbers})


async def test_a_model_s_name_that_is_none_is_refused(metered: Metered) -> None:
    documents = {name: json.dumps({"model": model}).encode() for name, model in NO_MODELS.items()}
    documents["missing"] = b'{"max_tokens": 5}'
    kinds = (CHAT, RESPONSES, MESSAGES)
    calls = {f"{kind} {name}": with_body(kind, body) for kind in kinds for name, body in documents.items()}
    await refused(metered, calls)


async def test_a_model_that_nobody_knows_is_refused(metered: Metered) -> None:
    unknown = {kind: call(kind, "Why?") for kind in DIALECTS}
    names = (b"gpt-4o", b"claude-haiku-4-5", b"gemini-2.5-flash")
    for kind, asked in unknown.items():
        path, body = asked.path, asked.body
        for name in names:
            path, body = path.replace(name.decode(), "gpt-99"), body.replace(name, b"gpt-99")
        unknown[kind] = Call(path, body)
    await refused(metered, {kind: (kind, asked) for kind, asked in unknown.items()}, 403)


async def test_a_secret_where_a_model_s_name_should_be_is_refused_and_told_to_nobody(
    metered: Metered,
) -> None:
    secret = await metered.secret("leaks")
    replies = [
        await ask(metered.gateway.address, asked.of(secret))
        for asked in (
            call(CHAT, "Why?")._replace(body=json.dumps({"model": secret}).encode()),
            call(GENERATE, "Why?")._replace(path=f"/v1beta/models/{secret}:generateContent"),
        )
    ]
    assert [reply.status for reply in replies] == [400, 400]
    assert not any(secret.encode() in reply.body for reply in replies)
    assert metered.gateway.upstream == []


async def test_of_a_name_that_comes_twice_the_last_counts_here_as_upstream(metered: Metered) -> None:
    body = b'{"model": "gpt-99", "max_tokens": 1, "messages": [], "max_tokens": 77, "model": "gpt-4o"}'
    reply = await metered.ask("twice", call(CHAT, "")._replace(body=body))
    assert reply.status == 200
    [arrived] = metered.gateway.upstream
    assert arrived.body == body
    assert arrived.json["model"] == json.loads(reply.body)["model"] == "gpt-4o"
    await metered.require({"twice": told(10, 12)})
    assert (await metered.held())["twice"].output_tokens == 77


async def test_fields_of_another_shape_are_for_the_provider_to_judge(metered: Metered) -> None:
    calls = {
        name: call(CHAT, "")._replace(body=json.dumps({**body, "max_tokens": 50}).encode())
        for name, body in BODIES.items()
    }
    replies = await asyncio.gather(*(metered.ask(name, asked) for name, asked in calls.items()))
    assert [reply.status for reply in replies] == [200] * len(calls)
    assert {each.body for each in metered.gateway.upstream} == {each.body for each in calls.values()}
    await metered.require(dict.fromkeys(calls, told(10, 12)))


async def test_a_body_that_is_compressed_is_refused(metered: Metered) -> None:
    secret = await metered.secret("packed")
    encodings = ("gzip", "br", "deflate", "zstd", "identity, gzip")
    for kind, encoding in itertools.product(DIALECTS, encodings):
        asked = call(kind, "Why?")
        packed = asked._replace(body=gzip.compress(asked.body)).of(secret, ("content-encoding", encoding))
        reply = await ask(metered.gateway.address, packed)
        assert reply.status == 415
        assert "as it is" in told_in(kind.dialect, reply)
    assert metered.gateway.upstream == []
