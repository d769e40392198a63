"""Answers of Gemini's generateContent and embeddings, as tests.support.answers has those of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quota_service.domain.pricing import Usage
from tests.support.answers import GENERATE_MODEL, Told, ToolUse, body, event


def generate_block(usage: Told, thoughts: int = 0) -> dict[str, Any] | None:
    """The usage block. `thoughts`: how many of the output tokens are thoughts."""
    if not isinstance(usage, Usage):
        return usage
    block = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - thoughts,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
    }
    if usage.cached_input_tokens:
        block["cachedContentTokenCount"] = usage.cached_input_tokens
    if thoughts:
        block["thoughtsTokenCount"] = thoughts
    return block


def generate_json(
    text: str,
    usage: Told = None,
    *,
    model: str = GENERATE_MODEL,
    tools: Sequence[ToolUse] = (),
    thought: str = "",
    thoughts: int = 0,
) -> bytes:
    """A response, indented as Gemini does."""
    parts = [*_thought(thought), {"text": text}, *_calls(tools)]
    response = _response(model, parts, generate_block(usage, thoughts), "STOP")
    return json.dumps(response, ensure_ascii=False, indent=2).encode()


def generate_events(
    pieces: Sequence[str],
    usage: Told = None,
    *,
    model: str = GENERATE_MODEL,
    tools: Sequence[ToolUse] = (),
    thought: str = "",
    thoughts: int = 0,
) -> list[bytes]:
    """A stream that `alt=sse` asks for."""
    responses = _responses(pieces, usage, model, tools, thought, thoughts)
    return [event(response).replace(b"\n", b"\r\n") for response in responses]


def generate_array(
    pieces: Sequence[str],
    usage: Told = None,
    *,
    model: str = GENERATE_MODEL,
    tools: Sequence[ToolUse] = (),
    thought: str = "",
    thoughts: int = 0,
) -> list[bytes]:
    """The stream without `alt=sse`: the pieces of one JSON array."""
    responses = _responses(pieces, usage, model, tools, thought, thoughts)
    texts = [json.dumps(response, ensure_ascii=False, indent=2).encode() for response in responses]
    return [b"[" + texts[0], *(b"\n,\r\n" + text for text in texts[1:]), b"\n]\n"]


def generate_error(status: int, name: str, message: str) -> dict[str, Any]:
    """An error: the body of an answer, or a piece of a stream."""
    return {"error": {"code": status, "message": message, "status": name}}


def embed_json(count: int = 1, usage: Told = None, *, dimensions: int = 8) -> bytes:
    """The answer of batchEmbedContents."""
    told = {"usageMetadata": usage} if isinstance(usage, dict) else {}
    if isinstance(usage, Usage):
        told = {"usageMetadata": {"promptTokenCount": usage.input_tokens}}
    return body({"embeddings": [{"values": [0.015625] * dimensions}] * count, **told})


def _responses(
    pieces: Sequence[str], usage: Told, model: str, tools: Sequence[ToolUse], thought: str, thoughts: int
) -> list[dict[str, Any]]:
    """Each with the usage so far; the last one with all of it."""
    parts = [*_thought(thought), *({"text": piece} for piece in pieces), *_calls(tools)]
    so_far = None
    if isinstance(usage, Usage):
        so_far = {"promptTokenCount": usage.input_tokens, "totalTokenCount": usage.input_tokens}
    responses = [_response(model, [part], so_far, None) for part in parts[:-1]]
    last = parts[-1:] or [{"text": ""}]
    return [*responses, _response(model, last, generate_block(usage, thoughts), "STOP")]


def _thought(thought: str) -> list[dict[str, Any]]:
    return [{"text": thought, "thought": True}] if thought else []


def _calls(tools: Sequence[ToolUse]) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": tool.name, "args": tool.arguments}} for tool in tools]


def _response(
    model: str, parts: list[dict[str, Any]], block: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    told = {"usageMetadata": block} if block is not None else {}
    return {"candidates": [candidate], **told, "modelVersion": model, "responseId": "response-1"}
