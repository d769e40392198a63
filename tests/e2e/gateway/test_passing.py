"""What is not metered passes as it is, and what no route knows does not pass at all."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import openai
import pytest

from tests.support.gateway import KEYS, Gateway, opted_out, without_filters
from tests.support.model_provider import ModelProvider

Gateways = Callable[..., Awaitable[Gateway]]
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


async def status(
    gateway: Gateway, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> int:
    """Of a request's answer; with a body it is a POST."""
    request = urllib.request.Request(gateway.url + path, body, headers or {})

    def send() -> int:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return await asyncio.to_thread(send)


async def test_health_is_envoy_s_own(envoy: Gateway) -> None:
    assert await status(envoy, "/healthz") == 200
    assert envoy.upstream == []


@pytest.mark.parametrize(
    ("path", "headers", "key", "value"),
    [
        ("/v1/models", {}, "authorization", f"Bearer {KEYS['OPENAI_API_KEY']}"),
        ("/v1/models/gpt-4o", {}, "authorization", f"Bearer {KEYS['OPENAI_API_KEY']}"),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "x-api-key", KEYS["ANTHROPIC_API_KEY"]),
        ("/v1/models", {"x-goog-api-key": "a-caller's"}, "x-goog-api-key", KEYS["GEMINI_API_KEY"]),
        ("/v1beta/models?a=5", {"x-goog-api-key": "a-caller's"}, "x-goog-api-key", KEYS["GEMINI_API_KEY"]),
    ],
)
async def test_models_are_listed_with_the_company_s_key_and_without_the_service(
    envoy: Gateway, path: str, headers: dict[str, str], key: str, value: str
) -> None:
    await status(envoy, path, headers={**headers, "authorization": "Bearer a-caller's"})
    [arrived] = envoy.upstream
    assert (arrived.path, arrived.header(key)) == (path, value)
    assert "a-caller's" not in str(arrived.headers)
    assert await envoy.statistic("cluster.quota.upstream_rq_total") == 0


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/messages/count_tokens", "x-api-key"),
        ("/v1beta/models/gemini-2.5-flash:countTokens", "x-goog-api-key"),
    ],
)
async def test_tokens_are_counted_by_the_provider_without_the_service(
    envoy: Gateway, path: str, key: str
) -> None:
    await status(envoy, path, b"{}", {"authorization": "Bearer a-caller's"})
    [arrived] = envoy.upstream
    assert arrived.header(key) in KEYS.values()
    assert "a-caller's" not in str(arrived.headers)
    assert await envoy.statistic("cluster.quota.upstream_rq_total") == 0


async def test_the_library_lists_models(envoy: Gateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{envoy.url}/v1", api_key="none") as library:
        models = [model.id async for model in library.models.list()]
    assert "gpt-4o" in models


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches",
        "/v1/images/generations",
        "/v1/chat/completions/",
        "/v1/chat/completions/1",
        "/v1/files",
        "/",
        "/v1/models/gemini-2.5-flash:batchGenerateContent",
        "/v1beta/tunedModels/x:generateContent",
    ],
)
async def test_what_could_spend_without_being_metered_is_not_found(envoy: Gateway, path: str) -> None:
    assert await status(envoy, path, b"{}") == 404
    assert envoy.upstream == []


async def test_a_slash_that_is_escaped_is_refused(envoy: Gateway) -> None:
    assert await status(envoy, "/v1/chat%2fcompletions", b"{}") == 400
    assert envoy.upstream == []


async def test_a_websocket_passes_with_the_caller_s_own_key(envoy: Gateway) -> None:
    host, _, port = envoy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /v1/realtime?model=gpt-4o HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer own\r\n"
        b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
    )
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"frame")
        echoed = await reader.readexactly(5)
    writer.close()
    assert (head.split()[1], echoed) == (b"101", b"frame")
    [arrived] = envoy.upstream
    assert arrived.header("authorization") == "Bearer own"


async def test_a_key_of_the_gateway_s_goes_nowhere_in_a_path_or_a_websocket(envoy: Gateway) -> None:
    path = "/v1beta/models/gemini-2.5-flash:countTokens?key=qk_secret"
    assert await status(envoy, path, b"{}") == 400
    headers = {"authorization": "Bearer qk_secret", "upgrade": "websocket", "connection": "Upgrade"}
    assert await status(envoy, "/v1/realtime?model=gpt-4o", headers=headers) in (403, 404)
    assert envoy.upstream == []


async def test_a_route_can_opt_out(gateways: Gateways) -> None:
    envoy = await gateways(opted_out("openai"))
    body = json.dumps(CHAT).encode()
    assert await status(envoy, "/v1/chat/completions", body) == 200
    [arrived] = envoy.upstream
    assert arrived.body == body
    assert await envoy.statistic("cluster.quota.upstream_rq_total") == 0


async def test_without_the_filters_it_is_a_plain_proxy(gateways: Gateways, provider: ModelProvider) -> None:
    envoy = await gateways(without_filters)
    assert await status(envoy, "/v1/chat/completions", json.dumps(CHAT).encode()) == 200
    assert len(provider.requests) == 1
