"""More calls than the service takes on: what is refused is not sent, whatever Envoy would do without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anthropic
import openai
import pytest
from google import genai

from quota.v1 import types_pb2
from quota_service.domain import commands
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.support.envoy import secret_of
from tests.support.gateway import Gateway, failing_open, gateway
from tests.support.gateway_caller import Caller, Heard, all_is_even, ends, holds, told
from tests.support.model_provider import ModelProvider
from tests.support.service import Client, running_service

CALLS_MAX, CROWD = 2, 12


class Small:
    """A gateway that fails open, before a service that takes on two calls at a time. It decides when
    `decided` is set.
    """

    def __init__(self, client: Client, envoy: Gateway, secret: str, decided: asyncio.Event) -> None:
        self.client, self.envoy, self.secret, self.decided = client, envoy, secret, decided

    async def filled(self) -> list[asyncio.Task[Heard]]:
        """As many calls as it takes on, about which it is deciding."""
        caller = Caller(self.envoy.url, self.secret)
        calls = [asyncio.create_task(caller.ask()) for _ in range(CALLS_MAX)]
        await holds(self.client, CALLS_MAX)
        return calls


@pytest.fixture
async def small(
    valkey_url: str,
    postgres_url: str,
    key_prefix: str,
    provider: ModelProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Small]:
    decided, authorize = asyncio.Event(), ValkeyHoldStore.authorize

    async def late(store: ValkeyHoldStore, command: commands.Authorize) -> commands.AuthorizeAnswer:
        answer = await authorize(store, command)
        await decided.wait()
        return answer

    monkeypatch.setattr(ValkeyHoldStore, "authorize", late)
    async with AsyncExitStack() as stack:
        service = running_service(valkey_url, postgres_url, key_prefix, calls_max=CALLS_MAX)
        client = await stack.enter_async_context(service)
        await client.found_acme()
        await client.budget("core", limits=types_pb2.Amounts(cost_micros=100_000_000))
        secret = await secret_of(client)
        envoy = await stack.enter_async_context(gateway(tmp_path, client.address, provider, [failing_open]))
        yield Small(client, envoy, secret, decided)
        decided.set()


async def test_what_is_too_much_is_refused_and_the_rest_is_settled(small: Small) -> None:
    admitted = await small.filled()
    caller = Caller(small.envoy.url, small.secret)
    refused = await asyncio.gather(*(caller.ask() for _ in range(CROWD)))
    assert {each.status for each in refused} == {503}
    assert {json.loads(each.body)["error"]["code"] for each in refused} == {"overloaded"}
    assert min(int(each.headers["retry-after"]) for each in refused) > 0
    assert small.envoy.upstream == []

    small.decided.set()
    assert [(await call).status for call in admitted] == [200] * CALLS_MAX
    assert [told(end)[0] for end in await ends(small.client, CALLS_MAX)] == ["COMMIT"] * CALLS_MAX
    assert await all_is_even(small.client) > 0


async def test_every_library_tells_that_it_is_too_much(small: Small) -> None:
    calls, url = await small.filled(), small.envoy.url
    with pytest.raises(openai.InternalServerError, match="too many calls") as by_openai:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=small.secret, max_retries=0) as chat:
            await chat.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "?"}])
    with pytest.raises(anthropic.APIStatusError, match="too many calls") as by_anthropic:
        async with anthropic.AsyncAnthropic(base_url=url, api_key=small.secret, max_retries=0) as claude:
            await claude.messages.create(
                model="claude-haiku-4-5", max_tokens=10, messages=[{"role": "user", "content": "?"}]
            )
    options = genai.types.HttpOptions(base_url=url)
    with pytest.raises(genai.errors.ServerError, match="too many calls") as by_google:
        async with genai.Client(api_key=small.secret, http_options=options).aio as gemini:
            await gemini.models.generate_content(model="gemini-2.5-flash", contents="?")
    statuses = [by_openai.value.status_code, by_anthropic.value.status_code, by_google.value.code]
    assert statuses == [503, 503, 503]
    assert small.envoy.upstream == []
    small.decided.set()
    await asyncio.gather(*calls)
