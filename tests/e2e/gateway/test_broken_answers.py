"""Answers that fail, break off, lie about themselves or are not waited for: what they cost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping

import pytest

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.calls import Kind
from tests.support import answers, answers_anthropic, answers_gemini
from tests.support.behaviour import Behaviour
from tests.support.metered import (
    CHAT,
    DIALECTS,
    GENERATE,
    MESSAGES,
    RESPONSES,
    Call,
    Expected,
    Metered,
    all_of_it,
    asking,
    call,
    is_upstream,
    nothing,
    seen,
    told,
    word,
)
from tests.support.model_provider import Script
from tests.support.provider_answers import error
from tests.support.raw_http import EVENTS, JSON, LAST_CHUNK, Reply, connection, script

PIECES = (" and", " the", " budget", " is")
TEXT = "".join(PIECES)
USAGE = Usage(input_tokens=10, output_tokens=20)
DOCUMENT = answers.chat_json(TEXT, USAGE)

STATUSES = (400, 401, 404, 429, 500, 503, 529)

FIRST_PIECE = {CHAT: 1, RESPONSES: 3, MESSAGES: 3, GENERATE: 0}
"""Which event of a stream has the first piece of its text."""

FAILURE = answers_anthropic.messages_error("We are overloaded.")
FAILURES = {
    CHAT: answers.event({"error": {"message": "We are overloaded.", "type": "server_error"}}),
    RESPONSES: answers.event({"type": "error", "code": "server_error", "message": "Overloaded"}, "error"),
    MESSAGES: answers.event(FAILURE, "error"),
    GENERATE: answers.event(answers_gemini.generate_error(503, "UNAVAILABLE", "We are overloaded.")),
}
STREAMS = {
    CHAT: answers.chat_events(PIECES, USAGE),
    RESPONSES: answers.responses_events(PIECES, USAGE),
    MESSAGES: answers_anthropic.messages_events(PIECES, USAGE),
    GENERATE: answers_gemini.generate_events(PIECES, USAGE),
}


async def gathered(metered: Metered, calls: Mapping[str, Call]) -> dict[str, Reply]:
    replies = await asyncio.gather(*(metered.ask(name, asked) for name, asked in calls.items()))
    return dict(zip(calls, replies, strict=True))


async def test_an_error_of_the_provider_s_comes_as_it_is_and_costs_nothing(metered: Metered) -> None:
    cases = {
        f"{kind} {status} {streamed}": (kind, status, streamed)
        for kind, status, streamed in itertools.product(DIALECTS, STATUSES, (False, True))
    }
    calls = {
        name: asking(kind, Behaviour(error=status), streamed=streamed)
        for name, (kind, status, streamed) in cases.items()
    }
    replies = await gathered(metered, calls)
    assert {name: (each.status, each.body) for name, each in replies.items()} == {
        name: (status, error(kind.dialect, status)) for name, (kind, status, _) in cases.items()
    }
    await metered.require(dict.fromkeys(calls, nothing))


async def test_an_error_keeps_its_headers(metered: Metered) -> None:
    headers = [("retry-after", "7"), ("x-ratelimit-remaining-tokens", "0"), ("request-id", "req_1")]
    slow_down = script(b"{}", status="429 Too Many Requests", headers=headers)
    reply = await metered.play("slow", call(CHAT, word("slow")), slow_down)
    assert reply.status == 429
    assert [(name, reply.headers[name]) for name, _ in headers] == headers
    await metered.require({"slow": nothing})


async def test_a_redirection_costs_nothing(metered: Metered) -> None:
    moved = script(status="307 Temporary Redirect", headers=[("location", "https://elsewhere.example")])
    assert (await metered.play("moved", call(CHAT, word("moved")), moved)).status == 307
    await metered.require({"moved": nothing})


async def test_an_error_inside_of_a_stream_costs_what_came_before_it(metered: Metered) -> None:
    async def fails(name: str, kind: Kind, count: int) -> None:
        events = [*STREAMS[kind][:count], FAILURES[kind]]
        played = script(*events, kind=EVENTS)
        reply = await metered.play(name, call(kind, word(name), streamed=True), played)
        assert reply.body == b"".join(events)

    expected: dict[str, Expected] = {}
    for kind in DIALECTS:
        expected[f"{kind} at once"] = nothing
        expected[f"{kind} later"] = seen(2, 10 if kind in (MESSAGES, GENERATE) else None)
    await asyncio.gather(
        *(fails(f"{kind} at once", kind, 0) for kind in DIALECTS),
        *(fails(f"{kind} later", kind, FIRST_PIECE[kind] + 2) for kind in DIALECTS),
    )
    await metered.require(expected)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_stream_that_the_provider_breaks_off_costs_what_has_come(
    metered: Metered, reset: bool
) -> None:
    """Each event but the first is 40 ms after the one before: all that was sent has been passed on."""
    calls: dict[str, Call] = {
        kind: asking(
            kind,
            Behaviour(answer_tokens=20, pieces=5, cut_after=FIRST_PIECE[kind] + 2, delay_ms=40, reset=reset),
            streamed=True,
        )
        for kind in DIALECTS
    }
    replies = await gathered(metered, calls)
    assert not any(each.is_whole for each in replies.values())
    await metered.require({CHAT: seen(8), RESPONSES: seen(8), MESSAGES: seen(8, 10), GENERATE: seen(8, 10)})


async def test_a_document_that_is_broken_off_is_charged_by_the_hold(metered: Metered) -> None:
    broken = Behaviour(answer_tokens=20, pieces=4, cut_after=2)
    replies = await gathered(metered, {kind: asking(kind, broken) for kind in DIALECTS})
    assert not any(each.is_whole for each in replies.values())
    await metered.require(dict.fromkeys(DIALECTS, all_of_it))


async def test_a_provider_that_hangs_up_without_a_word_costs_nothing(metered: Metered) -> None:
    async def silent() -> AsyncIterator[bytes]:
        return
        yield

    metered.gateway.provider.scripts[word("silent")] = silent
    reply = await metered.ask("silent", call(CHAT, word("silent")))
    assert reply.status == 503
    await metered.require({"silent": nothing})


async def test_a_caller_who_leaves_has_had_what_was_streamed(metered: Metered) -> None:
    """The provider says no more until its caller is gone, so what has come is known."""

    def begun(kind: Kind) -> Script:
        async def played() -> AsyncIterator[bytes]:
            events = script(*STREAMS[kind][: FIRST_PIECE[kind] + 2], kind=EVENTS)()
            async for part in events:
                if part != LAST_CHUNK:
                    yield part
            await asyncio.Event().wait()

        return played

    async def leaves(kind: Kind) -> None:
        metered.gateway.provider.scripts[word(kind)] = begun(kind)
        asked = call(kind, word(kind), streamed=True).of(await metered.secret(kind))
        async with connection(metered.gateway.address) as there:
            await there.send(asked)
            assert not (await there.reply(until=PIECES[1].encode())).is_whole

    await asyncio.gather(*map(leaves, DIALECTS))
    await metered.require({CHAT: seen(2), RESPONSES: seen(2), MESSAGES: seen(2, 10), GENERATE: seen(2, 10)})


@pytest.mark.parametrize("streamed", [False, True], ids=["JSON", "events"])
async def test_a_caller_who_leaves_before_the_first_byte_pays_for_what_was_read(
    metered: Metered, streamed: bool
) -> None:
    async def leaves(kind: Kind) -> None:
        thinking = Behaviour(headers_delay_ms=60_000)
        asked = asking(kind, thinking, streamed=streamed).of(await metered.secret(kind))
        async with connection(metered.gateway.address) as there:
            await there.send(asked)
            await is_upstream(metered.gateway, len(DIALECTS))

    await asyncio.gather(*map(leaves, DIALECTS))
    await metered.require(dict.fromkeys(DIALECTS, seen(0)))


async def test_a_compressed_answer_is_charged_by_the_hold(metered: Metered) -> None:
    packed = Behaviour(answer_tokens=20, gzip=True)
    calls = {
        f"{kind} {streamed}": asking(kind, packed, streamed=streamed)
        for kind in DIALECTS
        for streamed in (False, True)
    }
    replies = await gathered(metered, calls)
    assert {(each.status, each.headers["content-encoding"]) for each in replies.values()} == {(200, "gzip")}
    await metered.require(dict.fromkeys(calls, all_of_it))


async def test_nobody_asks_the_provider_to_compress(metered: Metered) -> None:
    asked = asking(CHAT, Behaviour()).of(await metered.secret("packs"), ("accept-encoding", "gzip, br"))
    async with connection(metered.gateway.address) as there:
        await there.send(asked)
        await there.reply()
    [arrived] = metered.gateway.upstream
    assert arrived.header("accept-encoding") is None
    await metered.require({"packs": told(10, 12)})


async def test_an_answer_of_another_type_than_its_own_is_charged_by_the_hold(metered: Metered) -> None:
    types = {
        "none": "",
        "text": "text/plain",
        "bytes": "application/octet-stream",
        "odd": "?",
        "events": EVENTS,
    }
    for name, kind in types.items():
        reply = await metered.play(name, call(CHAT, word(name)), script(DOCUMENT, kind=kind))
        assert (reply.status, reply.body) == (200, DOCUMENT)
    await metered.require(dict.fromkeys(types, all_of_it))


async def test_events_that_call_themselves_a_document_are_charged_by_the_hold(metered: Metered) -> None:
    events = script(*answers.chat_events(PIECES, USAGE), kind=JSON)
    await metered.play("odd", call(CHAT, word("odd"), streamed=True), events)
    await metered.require({"odd": all_of_it})


async def test_a_length_that_lies_hides_no_usage_that_has_come(metered: Metered) -> None:
    long, short = (script(DOCUMENT, length=len(DOCUMENT) + off) for off in (50, -20))
    too_long = await metered.play("long", call(CHAT, word("long")), long)
    assert (too_long.body, too_long.is_whole) == (DOCUMENT, False)
    too_short = await metered.play("short", call(CHAT, word("short")), short)
    assert (too_short.body, too_short.is_whole) == (DOCUMENT[:-20], True)
    await metered.require({"long": told(10, 20), "short": all_of_it})
