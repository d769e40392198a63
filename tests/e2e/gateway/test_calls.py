"""Calls by the providers' own libraries get their answers, and the ledger has what they used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from quota.v1 import report_pb2
from tests.support.behaviour import Behaviour
from tests.support.gateway import KEYS, Gateway
from tests.support.service import Client

Settled = Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]
PLAIN = Behaviour(input_tokens=11, answer_tokens=20, pieces=5)
ASKED = f"How do we spend? {PLAIN.block()}"
TURN: Any = [{"role": "user", "content": ASKED}]


async def is_settled(settled: Settled, client: Client, *, output_tokens: int = 20) -> None:
    """The ledger has one COMMIT with the provider's own numbers, and nothing is held any more."""
    [entry] = await settled()
    assert entry.type == report_pb2.LedgerEntry.TYPE_COMMIT
    assert not entry.usage_estimated
    assert (entry.usage.input_tokens, entry.usage.output_tokens) == (11, output_tokens)
    assert entry.subject.user == "ada"
    [status] = await client.status("core")
    assert status.held == 0
    assert status.spent == entry.charged.cost_micros > 0


async def text_of(stream: AsyncIterator[Any], text: Callable[[Any], str | None]) -> str:
    return "".join([text(event) or "" async for event in stream])


@pytest.fixture
def is_as_asked(envoy: Gateway) -> Callable[[str, str], None]:
    """The one request upstream has the company's key, and nothing of the caller's."""

    def check(header: str, value: str) -> None:
        [arrived] = envoy.upstream
        assert arrived.header(header) == value
        assert "qk_" not in str(arrived)

    return check


async def test_a_chat_completion(
    chat: openai.AsyncOpenAI, client: Client, settled: Settled, is_as_asked: Callable[[str, str], None]
) -> None:
    answer = await chat.chat.completions.create(model="gpt-4o", messages=TURN, max_tokens=100)
    assert (answer.choices[0].message.content or "").startswith(" and the budget")
    await is_settled(settled, client)
    is_as_asked("authorization", f"Bearer {KEYS['OPENAI_API_KEY']}")


async def test_a_chat_completion_in_pieces(
    chat: openai.AsyncOpenAI, client: Client, settled: Settled
) -> None:
    stream = await chat.chat.completions.create(
        model="gpt-4o", messages=TURN, stream=True, stream_options={"include_usage": True}
    )
    text = await text_of(stream, lambda chunk: chunk.choices[0].delta.content if chunk.choices else "")
    assert len(text.split()) == 20
    await is_settled(settled, client)


async def test_a_response(chat: openai.AsyncOpenAI, client: Client, settled: Settled) -> None:
    answer = await chat.responses.create(model="gpt-4o", input=ASKED, max_output_tokens=100)
    assert len(answer.output_text.split()) == 20
    await is_settled(settled, client)


async def test_a_response_in_pieces(chat: openai.AsyncOpenAI, client: Client, settled: Settled) -> None:
    stream = await chat.responses.create(model="gpt-4o", input=ASKED, stream=True)
    text = await text_of(
        stream, lambda event: event.delta if event.type == "response.output_text.delta" else ""
    )
    assert len(text.split()) == 20
    await is_settled(settled, client)


async def test_embeddings(chat: openai.AsyncOpenAI, client: Client, settled: Settled) -> None:
    answer = await chat.embeddings.create(model="text-embedding-3-small", input=[ASKED, "and another"])
    assert len(answer.data) == 2
    await is_settled(settled, client, output_tokens=0)


async def test_a_message(
    claude: anthropic.AsyncAnthropic,
    client: Client,
    settled: Settled,
    is_as_asked: Callable[[str, str], None],
) -> None:
    answer = await claude.messages.create(model="claude-haiku-4-5", messages=TURN, max_tokens=100)
    assert answer.usage.output_tokens == 20
    await is_settled(settled, client)
    is_as_asked("x-api-key", KEYS["ANTHROPIC_API_KEY"])


async def test_a_message_in_pieces(
    claude: anthropic.AsyncAnthropic, client: Client, settled: Settled
) -> None:
    async with claude.messages.stream(model="claude-haiku-4-5", messages=TURN, max_tokens=100) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    assert len(text.split()) == 20
    await is_settled(settled, client)


async def test_generated_content(
    gemini: genai.client.AsyncClient,
    client: Client,
    settled: Settled,
    is_as_asked: Callable[[str, str], None],
) -> None:
    answer = await gemini.models.generate_content(model="gemini-2.5-flash", contents=ASKED)
    assert len((answer.text or "").split()) == 20
    await is_settled(settled, client)
    is_as_asked("x-goog-api-key", KEYS["GEMINI_API_KEY"])


async def test_generated_content_in_pieces(
    gemini: genai.client.AsyncClient, client: Client, settled: Settled
) -> None:
    stream = await gemini.models.generate_content_stream(model="gemini-2.5-flash", contents=ASKED)
    text = await text_of(stream, lambda chunk: chunk.text)
    assert len(text.split()) == 20
    await is_settled(settled, client)
