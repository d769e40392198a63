"""What a provider tells of its usage is charged; where it tells nothing sensible, what was seen is."""

from __future__ import annotations

import asyncio
from typing import Any

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
    seen,
    told,
    word,
)
from tests.support.raw_http import EVENTS, JSON, script

PIECES = (" and", " the", " budget", " is")
TEXT = "".join(PIECES)
TEXT_TOKENS = len(PIECES)
CACHED = Usage(input_tokens=50, cached_input_tokens=30, output_tokens=26)
WRITTEN = Usage(input_tokens=50, cached_input_tokens=30, cache_write_tokens=15, output_tokens=26)
THOUGHT = "Let me think"
THOUGHTS = 20

Answer = tuple[Kind, str, list[bytes]]
"""To which kind of call, its content-type, its events or its one document."""

DETAILED: dict[str, tuple[Answer, Expected]] = {
    "chat": ((CHAT, JSON, [answers.chat_json(TEXT, CACHED)]), told(50, 26, 30)),
    "chat in pieces": (
        (CHAT, EVENTS, answers.chat_events(PIECES, CACHED, reasoning=[THOUGHT])),
        told(50, 26, 30),
    ),
    "responses": (
        (RESPONSES, JSON, [answers.responses_json(TEXT, CACHED, reasoning=THOUGHT)]),
        told(50, 26, 30),
    ),
    "responses in pieces": (
        (RESPONSES, EVENTS, answers.responses_events(PIECES, CACHED, reasoning=THOUGHT)),
        told(50, 26, 30),
    ),
    "messages": (
        (MESSAGES, JSON, [answers_anthropic.messages_json(TEXT, WRITTEN, thinking=THOUGHT)]),
        told(50, 26, 30, 15),
    ),
    "messages in pieces": (
        (MESSAGES, EVENTS, answers_anthropic.messages_events(PIECES, WRITTEN, thinking=THOUGHT)),
        told(50, 26, 30, 15),
    ),
    "generate": (
        (GENERATE, JSON, [answers_gemini.generate_json(TEXT, CACHED, thought=THOUGHT, thoughts=THOUGHTS)]),
        told(50, 26, 30),
    ),
    "generate in pieces": (
        (
            GENERATE,
            EVENTS,
            answers_gemini.generate_events(PIECES, CACHED, thought=THOUGHT, thoughts=THOUGHTS),
        ),
        told(50, 26, 30),
    ),
    "generate as an array": (
        (GENERATE, JSON, answers_gemini.generate_array(PIECES, CACHED, thought=THOUGHT, thoughts=THOUGHTS)),
        told(50, 26, 30),
    ),
}

ODD_BLOCKS: dict[str, dict[str, Any]] = {
    "negative": {"prompt_tokens": -10, "completion_tokens": 20, "total_tokens": 10},
    "absurd": {"prompt_tokens": 10, "completion_tokens": 10**12, "total_tokens": 10**12},
    "beyond all numbers": {"prompt_tokens": 10**40, "completion_tokens": 1, "total_tokens": 1},
    "a fraction": {"prompt_tokens": 10.5, "completion_tokens": 20, "total_tokens": 30},
    "a text": {"prompt_tokens": "10", "completion_tokens": "20", "total_tokens": "30"},
    "yes": {"prompt_tokens": True, "completion_tokens": True, "total_tokens": True},
    "more cached than read": {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 11},
    },
    "empty": {},
}


async def played(metered: Metered, name: str, answer: Answer) -> None:
    """Makes a call that is answered so, and has the answer arrive as it was sent."""
    kind, content_type, parts = answer
    asked = asked_for(kind, name, content_type, parts)
    reply = await metered.play(name, asked, script(*parts, kind=content_type))
    assert (reply.status, reply.body, reply.is_whole) == (200, b"".join(parts), True), reply.body


def asked_for(kind: Kind, name: str, content_type: str, parts: list[bytes]) -> Call:
    streamed, as_array = content_type == EVENTS, content_type == JSON and len(parts) > 1
    return call(kind, word(name), streamed=streamed, as_array=as_array)


async def behaved(metered: Metered, name: str, kind: Kind, behaviour: Behaviour, **how: bool) -> None:
    reply = await metered.ask(name, asking(kind, behaviour, **how))
    assert (reply.status, reply.is_whole) == (200, True)


async def test_cached_and_reasoning_tokens_reach_the_ledger_in_every_dialect(metered: Metered) -> None:
    await asyncio.gather(*(played(metered, name, answer) for name, (answer, _) in DETAILED.items()))
    await metered.require({name: expected for name, (_, expected) in DETAILED.items()})


async def test_tokens_that_only_a_total_tells_of_are_charged_as_output(metered: Metered) -> None:
    block = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 34}
    await played(metered, "thinks", (CHAT, JSON, [answers.chat_json(TEXT, block)]))
    await metered.require({"thinks": told(10, 24)})


async def test_an_answer_without_usage_is_estimated_by_its_text(metered: Metered) -> None:
    silent = Behaviour(answer_tokens=20, pieces=5, no_usage=True)
    names = [(kind, streamed) for kind in DIALECTS for streamed in (False, True)]
    calls = {f"{kind} {streamed}": (kind, streamed) for kind, streamed in names}
    await asyncio.gather(
        *(behaved(metered, name, kind, silent, streamed=streamed) for name, (kind, streamed) in calls.items())
    )
    await behaved(metered, "array", GENERATE, silent, as_array=True)
    await metered.require({name: seen(20) for name in [*calls, "array"]})


async def test_openai_s_stream_that_nobody_asked_for_usage_is_estimated(metered: Metered) -> None:
    plain = call(CHAT, word("plain"), streamed=True)
    unasked = plain._replace(body=plain.body.replace(b'"include_usage": true', b'"include_usage": false'))
    assert unasked != plain
    events = answers.chat_events(PIECES)
    reply = await metered.play("plain", unasked, script(*events, kind=EVENTS))
    assert reply.body == b"".join(events)
    [arrived] = metered.gateway.upstream
    assert arrived.body == unasked.body
    await metered.require({"plain": seen(TEXT_TOKENS)})


@pytest.mark.parametrize("streamed", [False, True], ids=["JSON", "events"])
async def test_usage_that_cannot_be_is_not_believed(metered: Metered, streamed: bool) -> None:
    async def asked(name: str, block: dict[str, Any]) -> None:
        if streamed:
            await played(metered, name, (CHAT, EVENTS, answers.chat_events(PIECES, block)))
        else:
            await played(metered, name, (CHAT, JSON, [answers.chat_json(TEXT, block)]))

    await asyncio.gather(*(asked(name, block) for name, block in ODD_BLOCKS.items()))
    await metered.require({name: seen(TEXT_TOKENS) for name in ODD_BLOCKS})


async def test_negative_and_absurd_usage_is_not_believed_in_any_dialect(metered: Metered) -> None:
    odd = {
        "negative": Behaviour(answer_tokens=20, negative_usage=True),
        "absurd": Behaviour(answer_tokens=20, absurd_usage=True),
    }
    calls = {f"{kind} {name}": (kind, behaviour) for kind in DIALECTS for name, behaviour in odd.items()}
    await asyncio.gather(*(behaved(metered, name, *each) for name, each in calls.items()))
    await metered.require({name: seen(20) for name in calls})


async def test_usage_that_is_told_twice_counts_once_and_the_last_counts(metered: Metered) -> None:
    twice = Behaviour(answer_tokens=20, usage_twice=True)
    await asyncio.gather(*(behaved(metered, kind, kind, twice, streamed=True) for kind in DIALECTS))
    first, last = (
        answers.chat_events(PIECES, Usage(input_tokens=10, output_tokens=tokens)) for tokens in (3, 7)
    )
    changing = [*first[:-1], *last[-2:]]
    await played(metered, "changing", (CHAT, EVENTS, changing))
    await metered.require({**{kind: told(10, 20) for kind in DIALECTS}, "changing": told(10, 7)})


async def test_characters_and_events_may_be_cut_anywhere(metered: Metered) -> None:
    cut = Behaviour(answer_tokens=8, pieces=4, accents=True, split_utf8=True)
    unsaid = Behaviour(answer_tokens=8, pieces=4, accents=True, split_utf8=True, no_usage=True)
    calls = {f"{kind} told": (kind, cut) for kind in DIALECTS}
    calls |= {f"{kind} seen": (kind, unsaid) for kind in DIALECTS}
    await asyncio.gather(
        *(behaved(metered, name, *each, streamed=True) for name, each in calls.items()),
        behaved(metered, "array", GENERATE, unsaid, as_array=True),
    )
    expected = {name: seen(8) if name.endswith("seen") else told(10, 8) for name in calls}
    await metered.require({**expected, "array": seen(8)})


async def test_every_byte_may_come_alone(metered: Metered) -> None:
    events = b"".join(answers.chat_events([" père", " 🚆"], Usage(10, 0, 0, 5)))
    bytes_ = [events[place : place + 1] for place in range(len(events))]
    await played(metered, "bytes", (CHAT, EVENTS, bytes_))
    await metered.require({"bytes": told(10, 5)})


async def test_a_stream_without_its_final_event_is_estimated_by_what_was_told_and_seen(
    metered: Metered,
) -> None:
    endless = Behaviour(answer_tokens=20, pieces=5, no_done=True)
    await asyncio.gather(*(behaved(metered, kind, kind, endless, streamed=True) for kind in DIALECTS))
    await metered.require(
        {
            CHAT: seen(20, input_tokens=10),
            RESPONSES: seen(20),
            MESSAGES: seen(20, input_tokens=10),
            GENERATE: seen(16, input_tokens=10),  # its final event has the last piece of the text
        }
    )


async def test_a_long_answer_is_charged_by_the_usage_at_its_end(metered: Metered) -> None:
    usage = Usage(input_tokens=12)
    document = answers.embeddings_json(200, usage, dimensions=1_536)
    assert len(document) > 2 * 1024 * 1024
    await played(metered, "long", (Kind.EMBEDDINGS, JSON, [document]))
    await metered.require({"long": told(12, 0)})


async def test_what_is_no_answer_at_all_is_charged_by_the_hold(metered: Metered) -> None:
    bodies = {
        "empty": b"",
        "no JSON": b"<html>",
        "a list": b"[1, 2]",
        "half": b'{"choices": [',
        "something else": b'{"ok": true}',
    }
    calls = {f"{kind} {name}": (kind, JSON, [body]) for kind in DIALECTS for name, body in bodies.items()}
    await asyncio.gather(*(played(metered, name, answer) for name, answer in calls.items()))
    await metered.require(dict.fromkeys(calls, all_of_it))
