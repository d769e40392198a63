"""What was granted is what goes upstream: fewer tokens, in a body that is otherwise the caller's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import openai
import pytest

from quota.v1 import types_pb2
from tests.support.gateway import Gateway, without_request_phase
from tests.support.service import Client

Gateways = Callable[..., Awaitable[Gateway]]
FITS, TOO_MANY = 500, 4_000


async def ask(envoy: Gateway, secret: str, max_tokens: int) -> None:
    """A chat completion, in one attempt."""
    async with openai.AsyncOpenAI(base_url=f"{envoy.url}/v1", api_key=secret, max_retries=0) as library:
        await library.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Grüße, 漢字"}], max_tokens=max_tokens
        )


@pytest.fixture
async def small(client: Client, secret: str) -> str:
    """Ada's secret, where a budget of 1,000 tokens is left."""
    await client.budget("small", limits=types_pb2.Amounts(tokens=1_000))
    return secret


async def test_a_call_that_fits_is_not_touched(envoy: Gateway, small: str) -> None:
    await ask(envoy, small, FITS)
    [arrived] = envoy.upstream
    assert arrived.json["max_tokens"] == FITS
    assert await envoy.statistic("http.gateway.ext_proc.request.streams_started") == 0
    assert await envoy.statistic("http.gateway.ext_proc.response.streams_started") == 1


async def test_a_smaller_grant_is_written_into_the_body_with_its_length(envoy: Gateway, small: str) -> None:
    await ask(envoy, small, TOO_MANY)
    [arrived] = envoy.upstream
    limits = [arrived.json[name] for name in ("max_tokens", "max_completion_tokens") if name in arrived.json]
    assert [FITS < limit < 1_000 for limit in limits] == [True]
    assert json.dumps(arrived.json["messages"], ensure_ascii=False).endswith('"Grüße, 漢字"}]')
    assert arrived.header("content-length") == str(len(arrived.body))
    assert arrived.header("transfer-encoding") is None


async def test_without_the_request_phase_it_is_all_or_nothing(gateways: Gateways, small: str) -> None:
    envoy = await gateways(without_request_phase)
    with pytest.raises(openai.RateLimitError):
        await ask(envoy, small, TOO_MANY)
    assert envoy.upstream == []
    await ask(envoy, small, FITS)


async def test_a_denied_call_is_over_after_the_first_filter(envoy: Gateway) -> None:
    with pytest.raises(openai.AuthenticationError):
        await ask(envoy, "qk_nobody", FITS)
    assert envoy.upstream == []
    assert await envoy.statistic("http.gateway.ext_proc.response.streams_started") == 0
