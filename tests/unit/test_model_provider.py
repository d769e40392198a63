"""The stand-in for model providers does as it is told, in the prompt."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import NamedTuple

import pytest

from quota_service.edge.dialects.tokens import Encoding, count
from tests.support.behaviour import Behaviour, InstructionUnknown, behaviour_in
from tests.support.model_provider import HOST, ModelProvider, providing


class Got(NamedTuple):
    """An answer as bytes: status, headers, what came after them, and whether the connection was reset."""

    status: int
    head: str
    body: bytes
    was_reset: bool


async def chat(provider: ModelProvider, behaviour: Behaviour, **fields: object) -> Got:
    """A chat completion asked of it, over a connection of its own."""
    message = {"role": "user", "content": f"Hello. {behaviour.block()}"}
    body = json.dumps({"model": "gpt-4o", "messages": [message], **fields}).encode()
    reader, writer = await asyncio.open_connection(HOST, provider.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.write_eof()
    found, was_reset = b"", False
    try:
        while data := await reader.read(65_536):
            found += data
    except ConnectionResetError:
        was_reset = True
    writer.close()
    return Got(int(head.split()[1]), head, found, was_reset)


def test_what_a_block_says_is_what_it_was_made_of() -> None:
    behaviour = Behaviour(answer_tokens=50, cut_after=0, length_off=-5, no_usage=True, gzip=True)
    assert behaviour_in(behaviour.block().encode()) == behaviour


def test_a_prompt_without_a_block_asks_for_nothing() -> None:
    assert behaviour_in(b"no-usage error=500") is None


@pytest.mark.parametrize("word", ["no-usages", "error", "gzip=1", "pieces=few"])
def test_a_word_that_is_no_instruction_is_an_error(word: str) -> None:
    with pytest.raises((InstructionUnknown, ValueError)):
        behaviour_in(f"[[stand-in: {word}]]".encode())


async def test_it_answers_within_the_cap_unless_told_otherwise() -> None:
    async with providing() as provider:
        within = await chat(provider, Behaviour(answer_tokens=20), max_tokens=5)
        beyond = await chat(provider, Behaviour(answer_tokens=20, over_cap=True), max_tokens=5)
    used = [json.loads(each.body)["usage"]["completion_tokens"] for each in (within, beyond)]
    assert used == [5, 20]


@pytest.mark.parametrize("accents", [False, True])
async def test_its_words_are_tokens_of_the_tokenizer_s(accents: bool) -> None:
    async with providing() as provider:
        got = await chat(provider, Behaviour(answer_tokens=20, accents=accents))
    text = json.loads(got.body)["choices"][0]["message"]["content"]
    assert len(text.split()) == count(text, Encoding.O200K) == 20


async def test_it_keeps_what_arrived() -> None:
    async with providing() as provider:
        await chat(provider, Behaviour())
        [request] = provider.requests
    assert (request.method, request.path, request.json["model"]) == ("POST", "/v1/chat/completions", "gpt-4o")
    assert request.header("content-length") == str(len(request.body))


async def test_it_breaks_off() -> None:
    async with providing() as provider:
        closed = await chat(provider, Behaviour(cut_after=2), stream=True)
        reset = await chat(provider, Behaviour(cut_after=2, reset=True), stream=True)
    assert [got.was_reset for got in (closed, reset)] == [False, True]
    assert closed.body.count(b"data: ") == 2
    assert not closed.body.endswith(b"0\r\n\r\n")


async def test_it_lies_about_the_length() -> None:
    async with providing() as provider:
        got = await chat(provider, Behaviour(length_off=5))
    assert f"content-length: {len(got.body) + 5}\r\n" in got.head


async def test_it_compresses_unasked() -> None:
    async with providing() as provider:
        got = await chat(provider, Behaviour(gzip=True))
    assert "content-encoding: gzip" in got.head
    assert json.loads(gzip.decompress(got.body))["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("behaviour", "blocks", "done"),
    [
        (Behaviour(), 1, 1),
        (Behaviour(no_usage=True), 0, 1),
        (Behaviour(usage_twice=True), 2, 1),
        (Behaviour(no_done=True), 1, 0),
    ],
)
async def test_usage_and_the_end_of_a_stream_are_as_asked(
    behaviour: Behaviour, blocks: int, done: int
) -> None:
    async with providing() as provider:
        got = await chat(provider, behaviour, stream=True, stream_options={"include_usage": True})
    assert (got.body.count(b'"prompt_tokens"'), got.body.count(b"[DONE]")) == (blocks, done)


async def test_it_fails_in_the_dialect() -> None:
    async with providing() as provider:
        got = await chat(provider, Behaviour(error=503))
    assert got.status == 503
    assert json.loads(got.body)["error"]["type"] == "server_error"
