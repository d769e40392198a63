"""Answers of every kind, and what is to be known of each. Tokens are characters here."""

from __future__ import annotations

import json
from typing import NamedTuple

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.answers import Answer
from quota_service.edge.dialects.calls import Kind
from tests.support import answers, answers_anthropic, answers_gemini
from tests.support.answers import CHAT_MODEL, EMBEDDINGS_MODEL, GENERATE_MODEL, MESSAGES_MODEL, ToolUse, event

EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"

PIECES = (
    "The train to ",
    "Zürich leaves at ",
    "9:42 🚆, ",
    'from "track 7".\n',
    '{"usage": {"prompt_tokens": 0}}',
)
TEXT = "".join(PIECES)
THOUGHT = "They ask for a train. Let me look at the timetable."
TOOLS = (ToolUse("find_train", {"to": "Zürich", "after": "09:30"}),)
ARGUMENTS = json.dumps(TOOLS[0].arguments)
COMPACT_ARGUMENTS = json.dumps(TOOLS[0].arguments, ensure_ascii=False, separators=(",", ":"))

USAGE = Usage(1_200, 1_000, 0, 340)
MESSAGES_USAGE = Usage(1_200, 1_000, 50, 340)

CALL_TOKENS = len("find_train") + len(ARGUMENTS)
COMPACT_CALL_TOKENS = len("find_train") + len(COMPACT_ARGUMENTS)


class Record(NamedTuple):
    """An answer as it came, and what is known at its end."""

    kind: Kind
    content_type: str
    chunks: list[bytes]
    known: Answer

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def _whole(kind: Kind, body: bytes, usage: Usage | None, model: str, tokens: int = 0) -> Record:
    output = usage.output_tokens if usage else tokens
    return Record(kind, JSON, [body], Answer(usage, model, output, True, False, True))


def _stream(kind: Kind, chunks: list[bytes], usage: Usage | None, model: str, tokens: int = 0) -> Record:
    output = usage.output_tokens if usage else tokens
    return Record(kind, EVENTS, chunks, Answer(usage, model, output, True, False, True))


def _failed(record: Record, tokens: int = 0) -> Record:
    """A record of an answer that ended with an error: its tokens are not final."""
    return record._replace(known=record.known._replace(is_error=True, output_tokens=tokens))


_CHAT_ERROR = {"error": {"message": "The server had an error.", "type": "server_error", "code": None}}

_OPENAI = {
    "chat": _whole(Kind.CHAT, answers.chat_json(TEXT, USAGE), USAGE, CHAT_MODEL),
    "chat without usage": _whole(
        Kind.CHAT, answers.chat_json(TEXT, tools=TOOLS), None, CHAT_MODEL, len(TEXT) + CALL_TOKENS
    ),
    "chat of three choices": _whole(
        Kind.CHAT, answers.chat_json(TEXT, choices=3), None, CHAT_MODEL, 3 * len(TEXT)
    ),
    "chat that refuses": _whole(
        Kind.CHAT, answers.chat_json(None, refusal=TEXT), None, CHAT_MODEL, len(TEXT)
    ),
    "chat error": _failed(
        _whole(Kind.CHAT, answers.error_json("server_error", "The server had an error."), None, "")
    ),
    "chat events": _stream(Kind.CHAT, answers.chat_events(PIECES, USAGE), USAGE, CHAT_MODEL),
    "chat events without usage": _stream(
        Kind.CHAT,
        answers.chat_events(PIECES, tools=TOOLS, reasoning=(THOUGHT,), choices=2),
        None,
        CHAT_MODEL,
        2 * (len(TEXT) + len(THOUGHT) + CALL_TOKENS),
    ),
    "chat events with an error": _failed(
        _stream(Kind.CHAT, [*answers.chat_events(PIECES)[:-2], event(_CHAT_ERROR)], None, CHAT_MODEL),
        len(TEXT),
    ),
    "completions": _whole(Kind.COMPLETIONS, answers.completions_json(TEXT, USAGE), USAGE, CHAT_MODEL),
    "completions without usage": _whole(
        Kind.COMPLETIONS, answers.completions_json(TEXT), None, CHAT_MODEL, len(TEXT)
    ),
    "completions events": _stream(
        Kind.COMPLETIONS, answers.completions_events(PIECES, USAGE), USAGE, CHAT_MODEL
    ),
    "completions events without usage": _stream(
        Kind.COMPLETIONS, answers.completions_events(PIECES), None, CHAT_MODEL, len(TEXT)
    ),
    "embeddings": _whole(
        Kind.EMBEDDINGS,
        answers.embeddings_json(3, USAGE._replace(cached_input_tokens=0)),
        Usage(1_200),
        EMBEDDINGS_MODEL,
    ),
}

_RESPONSES = {
    "responses": _whole(Kind.RESPONSES, answers.responses_json(TEXT, USAGE), USAGE, CHAT_MODEL),
    "responses without usage": _whole(
        Kind.RESPONSES,
        answers.responses_json(TEXT, tools=TOOLS, reasoning=THOUGHT),
        None,
        CHAT_MODEL,
        len(TEXT) + len(THOUGHT) + CALL_TOKENS,
    ),
    "responses that failed": _failed(
        _whole(Kind.RESPONSES, answers.responses_json("", USAGE, status="failed"), USAGE, CHAT_MODEL)
    ),
    "responses events": _stream(
        Kind.RESPONSES,
        answers.responses_events(PIECES, USAGE, tools=TOOLS, reasoning=THOUGHT),
        USAGE,
        CHAT_MODEL,
    ),
    "responses events that were cut short": _stream(
        Kind.RESPONSES, answers.responses_events(PIECES, USAGE, status="incomplete"), USAGE, CHAT_MODEL
    ),
    "responses events without usage": _stream(
        Kind.RESPONSES,
        answers.responses_events(PIECES, tools=TOOLS, reasoning=THOUGHT),
        None,
        CHAT_MODEL,
        len(TEXT) + len(THOUGHT) + CALL_TOKENS,
    ),
    "responses events that failed": _failed(
        _stream(Kind.RESPONSES, answers.responses_events(PIECES, USAGE, status="failed"), USAGE, CHAT_MODEL),
        len(TEXT),
    ),
    "responses events with an error": _failed(
        _stream(
            Kind.RESPONSES,
            [
                *answers.responses_events(PIECES)[:-1],
                event(
                    {"type": "error", "code": "server_error", "message": "It broke.", "param": None}, "error"
                ),
            ],
            None,
            CHAT_MODEL,
        ),
        len(TEXT),
    ),
}

_ANTHROPIC = {
    "messages": _whole(
        Kind.MESSAGES, answers_anthropic.messages_json(TEXT, MESSAGES_USAGE), MESSAGES_USAGE, MESSAGES_MODEL
    ),
    "messages without usage": _whole(
        Kind.MESSAGES,
        answers_anthropic.messages_json(TEXT, tools=TOOLS, thinking=THOUGHT, redacted="ZW5jcnlwdGVk" * 9),
        None,
        MESSAGES_MODEL,
        len(TEXT) + len(THOUGHT) + COMPACT_CALL_TOKENS,
    ),
    "messages error": _failed(
        _whole(Kind.MESSAGES, answers.body(answers_anthropic.messages_error("Overloaded")), None, "")
    ),
    "messages events": _stream(
        Kind.MESSAGES,
        answers_anthropic.messages_events(PIECES, MESSAGES_USAGE, tools=TOOLS, thinking=THOUGHT),
        MESSAGES_USAGE,
        MESSAGES_MODEL,
    ),
    "messages events without usage": _stream(
        Kind.MESSAGES,
        answers_anthropic.messages_events(PIECES, tools=TOOLS, thinking=THOUGHT, redacted="ZW5jcnlwdGVk" * 9),
        None,
        MESSAGES_MODEL,
        len(TEXT) + len(THOUGHT) + CALL_TOKENS,
    ),
    "messages events with an error": _failed(
        _stream(
            Kind.MESSAGES,
            [
                *answers_anthropic.messages_events(PIECES, MESSAGES_USAGE)[:-2],
                event(answers_anthropic.messages_error("Overloaded"), "error"),
            ],
            MESSAGES_USAGE._replace(output_tokens=1),
            MESSAGES_MODEL,
        ),
        len(TEXT),
    ),
}

_GEMINI = {
    "generate": _whole(
        Kind.GENERATE, answers_gemini.generate_json(TEXT, USAGE, thoughts=40), USAGE, GENERATE_MODEL
    ),
    "generate without usage": _whole(
        Kind.GENERATE,
        answers_gemini.generate_json(TEXT, tools=TOOLS, thought=THOUGHT),
        None,
        GENERATE_MODEL,
        len(TEXT) + len(THOUGHT) + COMPACT_CALL_TOKENS,
    ),
    "generate error": _failed(
        _whole(
            Kind.GENERATE,
            answers.body(answers_gemini.generate_error(503, "UNAVAILABLE", "Overloaded.")),
            None,
            "",
        )
    ),
    "generate events": _stream(
        Kind.GENERATE,
        answers_gemini.generate_events(PIECES, USAGE, thought=THOUGHT, thoughts=40),
        USAGE,
        GENERATE_MODEL,
    ),
    "generate events without usage": _stream(
        Kind.GENERATE,
        answers_gemini.generate_events(PIECES, tools=TOOLS, thought=THOUGHT),
        None,
        GENERATE_MODEL,
        len(TEXT) + len(THOUGHT) + COMPACT_CALL_TOKENS,
    ),
    "generate events with an error": _failed(
        _stream(
            Kind.GENERATE,
            [
                *answers_gemini.generate_events(PIECES)[:-1],
                event(answers_gemini.generate_error(503, "UNAVAILABLE", "Overloaded.")),
            ],
            None,
            GENERATE_MODEL,
        ),
        len("".join(PIECES[:-1])),
    ),
    "generate array": _stream(
        Kind.GENERATE,
        answers_gemini.generate_array(PIECES, USAGE, thought=THOUGHT, thoughts=40),
        USAGE,
        GENERATE_MODEL,
    )._replace(content_type=JSON),
    "generate array without usage": _stream(
        Kind.GENERATE,
        answers_gemini.generate_array(PIECES, tools=TOOLS),
        None,
        GENERATE_MODEL,
        len(TEXT) + COMPACT_CALL_TOKENS,
    )._replace(content_type=JSON),
    "embed": _whole(Kind.EMBED, answers_gemini.embed_json(2, Usage(77)), Usage(77), ""),
    "embed without usage": _whole(Kind.EMBED, answers_gemini.embed_json(2), None, ""),
}

RECORDS: dict[str, Record] = {**_OPENAI, **_RESPONSES, **_ANTHROPIC, **_GEMINI}
