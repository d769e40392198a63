"""Streams pass as they come, their holds live as long as they do, and many at once are settled exactly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from quota.v1 import quota_pb2, report_pb2
from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.calls import Kind
from tests.e2e.gateway.conftest import Gateways
from tests.support import answers, answers_anthropic, answers_gemini
from tests.support.behaviour import Behaviour
from tests.support.gateway import Gateway
from tests.support.metered import (
    CHAT,
    DIALECTS,
    SETTLED_S,
    Expected,
    Metered,
    asking,
    call,
    told,
    word,
)
from tests.support.model_provider import Script
from tests.support.raw_http import EVENTS, script
from tests.support.service import ACME, Client, running_service

PIECES = (" and", " the", " budget", " is")
USAGE = Usage(input_tokens=10, output_tokens=20)
TURN: Any = [{"role": "user", "content": word("live")}]
STREAMS = 30
TTL_MS = 5_000

Texts = AsyncIterator[str]


def waiting(events: Sequence[bytes], proceed: asyncio.Event, *, after: bytes) -> Script:
    """A stream that stops when the event with that text is on its way, until it may proceed."""

    async def played() -> AsyncIterator[bytes]:
        async for part in script(*events, kind=EVENTS)():
            yield part
            if after in part:
                await proceed.wait()

    return played


async def read_live(envoy: Gateway, events: Sequence[bytes], texts: Texts) -> str:
    """Reads a stream of which the provider holds back all but the first piece until that has been read."""
    proceed = asyncio.Event()
    envoy.provider.scripts[word("live")] = waiting(events, proceed, after=PIECES[0].encode())
    read = ""
    async with asyncio.timeout(SETTLED_S):
        async for text in texts:
            read += text
            if read == PIECES[0]:
                proceed.set()
    return read


async def chat_texts(library: openai.AsyncOpenAI) -> Texts:
    stream = await library.chat.completions.create(model="gpt-4o", messages=TURN, stream=True)
    async for chunk in stream:
        yield (chunk.choices[0].delta.content or "") if chunk.choices else ""


async def responses_texts(library: openai.AsyncOpenAI) -> Texts:
    stream = await library.responses.create(model="gpt-4o", input=word("live"), stream=True)
    async for event in stream:
        yield event.delta if event.type == "response.output_text.delta" else ""


async def messages_texts(library: anthropic.AsyncAnthropic) -> Texts:
    told = library.messages.stream(model="claude-haiku-4-5", messages=TURN, max_tokens=100)
    async with told as stream:
        async for text in stream.text_stream:
            yield text


async def generate_texts(library: genai.client.AsyncClient) -> Texts:
    stream = await library.models.generate_content_stream(model="gemini-2.5-flash", contents=word("live"))
    async for chunk in stream:
        yield chunk.text or ""


async def test_the_first_piece_is_there_before_the_provider_has_sent_the_second(
    envoy: Gateway,
    chat: openai.AsyncOpenAI,
    claude: anthropic.AsyncAnthropic,
    gemini: genai.client.AsyncClient,
) -> None:
    streams: list[tuple[list[bytes], Texts]] = [
        (answers.chat_events(PIECES, USAGE), chat_texts(chat)),
        (answers.responses_events(PIECES, USAGE), responses_texts(chat)),
        (answers_anthropic.messages_events(PIECES, USAGE), messages_texts(claude)),
        (answers_gemini.generate_events(PIECES, USAGE), generate_texts(gemini)),
    ]
    for events, texts in streams:
        assert await read_live(envoy, events, texts) == "".join(PIECES)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A gateway's file with the shortest life of a hold."""
    file = tmp_path / "gateway.yaml"
    file.write_text(f"ttl_ms: {TTL_MS}\n")
    return file


async def test_a_hold_lives_as_long_as_the_answer_to_its_call(
    patient: Path, valkey_url: str, postgres_url: str, key_prefix: str, gateways: Gateways
) -> None:
    """The provider goes on when the hold has been extended, whose life was shorter than that of the call."""
    service = running_service(valkey_url, postgres_url, key_prefix, envoy=str(patient))
    async with service as client:
        metered = Metered(client, await gateways(service=client.address))
        await metered.found()
        proceed = asyncio.Event()
        events = answers.chat_events(PIECES, USAGE)
        asked = metered.play(
            "slow",
            call(CHAT, word("slow"), streamed=True),
            waiting(events, proceed, after=PIECES[1].encode()),
        )
        answering = asyncio.create_task(asked)
        await is_extended(client)
        proceed.set()
        assert (await answering).is_whole
        await metered.require({"slow": told(10, 20)})


async def is_extended(client: Client) -> None:
    """Waits until the only hold lives longer than it would have on its own."""
    async with asyncio.timeout(SETTLED_S):
        while not (found := await entries(client, report_pb2.LedgerEntry.TYPE_EXTEND)):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.05)
    [extended], [hold] = found, await entries(client, report_pb2.LedgerEntry.TYPE_HOLD)
    request = quota_pb2.GetReservationRequest(name=extended.reservation)
    reservation = await client.quota.GetReservation(request)
    life_ms = reservation.expire_time.ToMilliseconds() - hold.occur_time.ToMilliseconds()
    assert life_ms > TTL_MS * 1.4


async def entries(client: Client, type_: Any) -> list[report_pb2.LedgerEntry]:
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, type=type_)
    return list((await client.reports.ListLedgerEntries(request)).ledger_entries)


async def test_thirty_streams_at_once_are_each_settled_exactly(metered: Metered) -> None:
    kinds: Iterator[Kind] = (DIALECTS[number % len(DIALECTS)] for number in range(STREAMS))
    behaviours = [
        Behaviour(input_tokens=100 + number, answer_tokens=10 + number, pieces=5, delay_ms=50)
        for number in range(STREAMS)
    ]
    calls = {
        f"{number}": asking(kind, behaviours[number], streamed=True) for number, kind in enumerate(kinds)
    }
    replies = await asyncio.gather(*(metered.ask(name, asked) for name, asked in calls.items()))
    assert [each for each in replies if each.status != 200 or not each.is_whole] == []
    expected: dict[str, Expected] = {
        f"{number}": told(100 + number, 10 + number) for number in range(STREAMS)
    }
    await metered.require(expected)
