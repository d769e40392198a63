"""The calls that are recorded of Anthropic's SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anthropic

from scripts.recorded_openai import Call
from scripts.request_texts import PROSE, TEXTS, encoded, jpeg, pdf, png

NEW, OLD = "claude-opus-4-7", "claude-opus-4-6"

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a place on a day.",
    "input_schema": {
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["place"],
    },
}

CONVERSATION: list[Any] = [
    {"role": "user", "content": TEXTS["short"]},
    {"role": "assistant", "content": "The capital of Norway is Oslo, which lies at the end of a long fjord."},
    {"role": "user", "content": "And which river flows through it?"},
]


def anthropic_calls(client: anthropic.Anthropic) -> Iterator[Call]:
    """Their names, whether they are plain text, and the calls."""
    for name, text in TEXTS.items():
        yield f"new-{name}", name in PROSE, _message(client, _user(text), NEW)
        yield f"old-{name}", name != "numbers", _message(client, _user(text), OLD)
    yield from _variants(client)
    yield from _tools(client)
    yield from _media(client)


def _message(
    client: anthropic.Anthropic,
    messages: list[Any],
    model: str = NEW,
    max_tokens: int = 1_024,
    **options: Any,
) -> Callable[[], object]:
    return partial(client.messages.create, model=model, max_tokens=max_tokens, messages=messages, **options)


def _user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def _variants(client: anthropic.Anthropic) -> Iterator[Call]:
    cached = {"type": "text", "text": TEXTS["english-letter"], "cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "They ask for a river in Oslo.", "signature": "c2lnbmVk" * 20}
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    for model in (NEW, OLD, "claude-haiku-4-5-20251001"):
        yield f"conversation-{model}", True, _message(client, CONVERSATION, model)
        yield f"system-{model}", True, _message(client, CONVERSATION, model, system=TEXTS["english-letter"])
    yield "system-blocks", True, _message(client, CONVERSATION, system=[cached])
    yield "streamed", True, _message(client, CONVERSATION, stream=True)
    yield "limited", True, _message(client, CONVERSATION, max_tokens=16)
    yield "blocks", True, _message(client, _user([{"type": "text", "text": TEXTS["english"]}]))
    yield (
        "sampling",
        True,
        _message(client, CONVERSATION, OLD, stop_sequences=["END"], metadata={"user_id": "ada"}),
    )
    yield (
        "thinking",
        True,
        _message(client, CONVERSATION, "claude-haiku-4-5-20251001", 4_096, thinking=thinking),
    )
    yield "thinking-adaptive", True, _message(client, CONVERSATION, NEW, 4_096, thinking={"type": "adaptive"})
    turns = [
        *CONVERSATION,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "The Akerselva."}]},
    ]
    yield "thought", True, _message(client, [*turns, *_user("Thank you for the answer.")], OLD)


def _tools(client: anthropic.Anthropic) -> Iterator[Call]:
    asked = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"place": "Oslo"}}
    told = {"type": "tool_result", "tool_use_id": "toolu_1", "content": '{"temperature": 7, "sky": "rain"}'}
    answered = [*CONVERSATION, {"role": "assistant", "content": [asked]}, *_user([told])]
    schema = {
        "type": "json_schema",
        "schema": {"type": "object", "properties": {"river": {"type": "string"}}},
    }
    for name, model in (("new", NEW), ("old", OLD)):
        yield f"tools-{name}", False, _message(client, CONVERSATION, model, tools=[WEATHER])
        yield (
            f"tools-any-{name}",
            False,
            _message(client, CONVERSATION, model, tools=[WEATHER], tool_choice={"type": "any"}),
        )
        yield f"tools-answered-{name}", False, _message(client, answered, model, tools=[WEATHER])
    yield (
        "tools-defined",
        False,
        _message(client, CONVERSATION, tools=[{"type": "bash_20250124", "name": "bash"}]),
    )
    yield "structured", False, _message(client, CONVERSATION, output_config={"format": schema})


def _media(client: anthropic.Anthropic) -> Iterator[Call]:
    def shown(kind: str, source: dict[str, Any]) -> list[Any]:
        return _user([{"type": kind, "source": source}, {"type": "text", "text": TEXTS["short"]}])

    def held(media_type: str, raw: bytes) -> dict[str, Any]:
        return {"type": "base64", "media_type": media_type, "data": encoded(raw)}

    for width, height in ((64, 64), (1000, 1000), (300, 2000)):
        yield (
            f"png-{width}x{height}",
            False,
            _message(client, shown("image", held("image/png", png(width, height)))),
        )
    large = shown("image", held("image/jpeg", jpeg(3000, 2000)))
    yield "jpeg-3000x2000-new", False, _message(client, large, NEW)
    yield "jpeg-3000x2000-old", False, _message(client, large, OLD)
    elsewhere = {"type": "url", "url": "https://images.example/oslo.png"}
    yield "image-elsewhere", False, _message(client, shown("image", elsewhere))
    yield "pdf-2-pages", False, _message(client, shown("document", held("application/pdf", pdf(2))))
    text = {"type": "text", "media_type": "text/plain", "data": TEXTS["english"]}
    yield "document-text", True, _message(client, shown("document", text))
