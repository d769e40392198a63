"""However a path is written, a call is metered or refused: the company's key is never spent unmetered."""

from __future__ import annotations

import asyncio
import json

from tests.support.gateway import KEYS
from tests.support.metered import CHAT, GENERATE, MESSAGES, RESPONSES, Call, Metered, call, told
from tests.support.raw_http import JSON, Reply, ask, head

METERED = {
    "//v1//chat/completions": "/v1/chat/completions",
    "/./v1/chat/./completions": "/v1/chat/completions",
    "/v1/models/../chat/completions": "/v1/chat/completions",
    "/v1/chat/completions?model=gpt-99&x=%2f": "/v1/chat/completions?model=gpt-99&x=%2f",
    "http://api.openai.com/v1/chat/completions": "/v1/chat/completions",
    "/v1\\chat\\completions": "/v1/chat/completions",
    "/v1/%63hat/completions": "/v1/chat/completions",
    "/v%31/chat/completion%73": "/v1/chat/completions",
}
"""A path, and what of it arrives upstream."""

REFUSED = {
    "/v1/chat/completions/": 404,
    "/v1/chat/completions/.": 404,
    "/V1/CHAT/COMPLETIONS": 404,
    "/v1/Chat/completions": 404,
    "/v1/chat/completions;a=b": 404,
    "/v1;a/chat/completions": 404,
    "/v1/chat/completions%20": 404,
    "/v1/chat/completions%09": 404,
    "/v1/chat/completions%3fx=1": 404,
    "/v1/chat/completions%23x": 404,
    "/v1/chat/completions%00": 400,
    "/v1/chat%252fcompletions": 404,
    "/v1/chat%2fcompletions": 400,
    "/v1/chat%2Fcompletions": 400,
    "/v1/chat%5ccompletions": 400,
    "/v1/models/..%2fchat/completions": 400,
    "/healthz/..%2fv1/chat/completions": 400,
    "/v1/chat/completions#x": 400,
    "/../../..": 404,
    "/v1/chat": 404,
    "/v2/chat/completions": 404,
    "/openai/v1/chat/completions": 404,
    "*": 400,
    "v1/chat/completions": 400,
    "/v1/chat/completions/chat/completions": 404,
    "/v1/responses/resp_1": 404,
    "/v1/responses/resp_1/cancel": 404,
    "/v1/models": 404,
    "/v1/models/gpt-4o": 404,
    "/v1/messages/batches": 404,
    "/v1/realtime": 404,
    "/v1beta/openai/chat/completions": 404,
    "/v1beta/models/gemini-2.5-flash:generateContent:generateContent": 404,
    "/v1beta/models/gemini-2.5-flash:generateContent/": 404,
    "/v1beta/models/gemini-2.5-flash:predict": 404,
    "/v1beta/models/a/b:generateContent": 404,
    "/v1beta/models/a%2fb:generateContent": 400,
    "/v1beta/models/:generateContent": 404,
    "/v1beta/cachedContents": 404,
    "/upload/v1beta/files": 404,
}
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "Post", "FROB")
BODY = call(CHAT, "Why?").body


def at(path: str, secret: str, *, method: str = "POST") -> bytes:
    length = ("content-length", str(len(BODY)))
    return (
        head(path, ("authorization", f"Bearer {secret}"), ("content-type", JSON), length, method=method)
        + BODY
    )


async def asked_at(metered: Metered, paths: dict[str, bytes]) -> dict[str, Reply]:
    replies = await asyncio.gather(*(ask(metered.gateway.address, raw) for raw in paths.values()))
    return dict(zip(paths, replies, strict=True))


async def test_a_path_that_says_the_same_in_another_way_is_metered(metered: Metered) -> None:
    secrets = {path: await metered.secret(path) for path in METERED}
    replies = await asked_at(metered, {path: at(path, secrets[path]) for path in METERED})
    assert {path: reply.status for path, reply in replies.items()} == dict.fromkeys(METERED, 200)
    assert sorted(each.path for each in metered.gateway.upstream) == sorted(METERED.values())
    keys = {each.header("authorization") for each in metered.gateway.upstream}
    assert keys == {f"Bearer {KEYS['OPENAI_API_KEY']}"}
    await metered.require(dict.fromkeys(METERED, told(10, 12)))


async def test_every_other_path_is_refused(metered: Metered) -> None:
    secret = await metered.secret("elsewhere")
    replies = await asked_at(metered, {path: at(path, secret) for path in REFUSED})
    assert {path: reply.status for path, reply in replies.items()} == REFUSED
    assert metered.gateway.upstream == []


async def test_every_other_method_is_refused(metered: Metered) -> None:
    secret = await metered.secret("otherwise")
    calls = {
        f"{method} {kind}": at(call(kind, "").path, secret, method=method)
        for method in METHODS
        for kind in (CHAT, RESPONSES, MESSAGES, GENERATE)
    }
    replies = await asked_at(metered, calls)
    assert {reply.status for reply in replies.values()} <= {400, 404}
    assert metered.gateway.upstream == []


async def test_a_list_of_models_is_no_way_to_a_model(metered: Metered) -> None:
    """A GET with another method in a header, or with a body, or a path that climbs."""
    override = ("x-http-method-override", "POST")
    raw = {
        "climbs": head("/v1/models/../chat/completions", method="GET"),
        "climbs, escaped": head("/v1/models/%2e%2e/chat/completions", method="GET"),
        "overrides": head("/v1/chat/completions", override, method="GET"),
        "overrides Gemini": head(
            "/v1beta/models/gemini-2.5-flash:generateContent", override, ("x-goog-api-key", "x"), method="GET"
        ),
    }
    replies = await asked_at(metered, raw)
    assert {name: reply.status for name, reply in replies.items()} == dict.fromkeys(raw, 404)
    assert metered.gateway.upstream == []


async def test_a_model_in_the_path_is_the_one_that_is_priced(metered: Metered) -> None:
    """Whatever the body says: Gemini goes by the path."""
    asked = call(GENERATE, "Why?")
    body = json.dumps({**json.loads(asked.body), "model": "gemini-2.5-pro"}).encode()
    escaped = asked.path.replace("flash", "%66lash")
    calls = {
        "body": Call(asked.path, body),
        "query": Call(f"{asked.path}?model=gemini-2.5-pro", asked.body),
        "escaped": Call(escaped, asked.body),
    }
    for name, each in calls.items():
        assert (await metered.ask(name, each)).status == 200
    await metered.require(dict.fromkeys(calls, told(10, 12)))
