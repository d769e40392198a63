"""What the stand-in for a model provider answers to a call, of any kind, that asks it to behave somehow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.calls import Dialect, Kind
from tests.support import answers, answers_anthropic, answers_gemini
from tests.support.behaviour import Behaviour

ABSURD_TOKENS = 10**12
_WORDS = (" and", " the", " budget", " is", " spent", " as", " long", " as", " it", " lasts")
"""Each a token of OpenAI's vocabularies, and so is the one with a character of two bytes."""
_ACCENTED = " père"


class Asked(NamedTuple):
    """A call. `cap`: the most tokens of each choice, `None` without one; `is_array`: a stream of Gemini's
    that is one JSON document; `wants_usage`: OpenAI's streams tell none unasked.
    """

    kind: Kind
    model: str
    cap: int | None
    choices: int
    is_streamed: bool
    is_array: bool
    wants_usage: bool


class Said(NamedTuple):
    """An answer: a whole JSON document as one part, or a stream as its events."""

    content_type: str
    parts: list[bytes]


def answer(asked: Asked, behaviour: Behaviour) -> Said:
    """The answer to a call, complete and well-formed; only its usage may be odd."""
    tokens = _output_tokens(asked, behaviour)
    pieces = _pieces(tokens - behaviour.reasoning_tokens, behaviour)
    usage = _usage(behaviour, tokens * asked.choices)
    if not asked.is_streamed:
        return Said("application/json", [_DOCUMENTS[asked.kind](asked, "".join(pieces), usage)])
    if asked.kind.dialect is Dialect.OPENAI and asked.kind is not Kind.RESPONSES and not asked.wants_usage:
        usage = None
    if asked.is_array:
        return Said(
            "application/json", answers_gemini.generate_array(pieces or [""], usage, model=asked.model)
        )
    events = _EVENTS[asked.kind](asked, pieces, usage)
    return Said("text/event-stream", _as_told(events, behaviour))


def error(dialect: Dialect, status: int) -> bytes:
    """The dialect's answer with that status."""
    message = "The stand-in was asked to fail."
    match dialect:
        case Dialect.OPENAI:
            return answers.error_json("server_error", message)
        case Dialect.ANTHROPIC:
            return answers.body(answers_anthropic.messages_error(message, "api_error"))
        case Dialect.GEMINI:
            return answers.body(answers_gemini.generate_error(status, "INTERNAL", message))


def _output_tokens(asked: Asked, behaviour: Behaviour) -> int:
    """Of each choice."""
    if not asked.kind.has_output:
        return 0
    is_within = asked.cap is None or behaviour.over_cap
    return behaviour.answer_tokens if is_within else min(behaviour.answer_tokens, asked.cap or 0)


def _pieces(tokens: int, behaviour: Behaviour) -> list[str]:
    words = [_ACCENTED if behaviour.accents else _WORDS[number % len(_WORDS)] for number in range(tokens)]
    size = max(1, -(-len(words) // max(1, behaviour.pieces)))
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def _usage(behaviour: Behaviour, output_tokens: int) -> Usage | None:
    if behaviour.no_usage:
        return None
    if behaviour.negative_usage:
        return Usage(input_tokens=-behaviour.input_tokens, output_tokens=-output_tokens)
    return Usage(
        input_tokens=behaviour.input_tokens,
        cached_input_tokens=behaviour.cached_tokens,
        output_tokens=ABSURD_TOKENS if behaviour.absurd_usage else output_tokens,
    )


def _as_told(events: list[bytes], behaviour: Behaviour) -> list[bytes]:
    """The events of a stream, without the final one or with the last usage twice."""
    if behaviour.usage_twice:
        last = max(number for number, each in enumerate(events) if b"okens" in each or b"TokenCount" in each)
        events = [*events[: last + 1], *events[last:]]
    return events[:-1] if behaviour.no_done else events


def _generated(asked: Asked, text: str, usage: Usage | None) -> bytes:
    return answers_gemini.generate_json(text, usage, model=asked.model)


_DOCUMENTS: dict[Kind, Callable[[Asked, str, Any], bytes]] = {
    Kind.CHAT: lambda asked, text, usage: answers.chat_json(
        text, usage, model=asked.model, choices=asked.choices
    ),
    Kind.COMPLETIONS: lambda asked, text, usage: answers.completions_json(text, usage, model=asked.model),
    Kind.RESPONSES: lambda asked, text, usage: answers.responses_json(text, usage, model=asked.model),
    Kind.EMBEDDINGS: lambda asked, _, usage: answers.embeddings_json(asked.choices, usage, model=asked.model),
    Kind.MESSAGES: lambda asked, text, usage: answers_anthropic.messages_json(text, usage, model=asked.model),
    Kind.GENERATE: _generated,
    Kind.EMBED: lambda asked, _, usage: answers_gemini.embed_json(asked.choices, usage),
}
_EVENTS: dict[Kind, Callable[[Asked, list[str], Any], list[bytes]]] = {
    Kind.CHAT: lambda asked, pieces, usage: answers.chat_events(
        pieces, usage, model=asked.model, choices=asked.choices
    ),
    Kind.COMPLETIONS: lambda asked, pieces, usage: answers.completions_events(
        pieces, usage, model=asked.model
    ),
    Kind.RESPONSES: lambda asked, pieces, usage: answers.responses_events(pieces, usage, model=asked.model),
    Kind.MESSAGES: lambda asked, pieces, usage: answers_anthropic.messages_events(
        pieces, usage, model=asked.model
    ),
    Kind.GENERATE: lambda asked, pieces, usage: answers_gemini.generate_events(
        pieces or [""], usage, model=asked.model
    ),
}
