"""Answers of Anthropic's messages, as tests.support.answers has those of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quota_service.domain.pricing import Usage
from tests.support.answers import MESSAGES_MODEL, Told, ToolUse, body, event


def messages_block(usage: Told) -> dict[str, Any] | None:
    """The usage block of a message."""
    if not isinstance(usage, Usage):
        return usage
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return {
        "input_tokens": plain,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }


def messages_json(
    text: str,
    usage: Told = None,
    *,
    model: str = MESSAGES_MODEL,
    tools: Sequence[ToolUse] = (),
    thinking: str = "",
    redacted: str = "",
) -> bytes:
    """A message."""
    content = _blocks(text, tools, thinking, redacted)
    end = {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    return body({**_frame(model), "content": content, **end, "usage": messages_block(usage)})


def messages_events(
    pieces: Sequence[str],
    usage: Told = None,
    *,
    model: str = MESSAGES_MODEL,
    tools: Sequence[ToolUse] = (),
    thinking: str = "",
    redacted: str = "",
) -> list[bytes]:
    """A message as events: the input is told at its beginning, the output at its end."""
    block = messages_block(usage)
    first = {**block, "output_tokens": min(1, block["output_tokens"])} if block else None
    start = {**_frame(model), "content": [], "stop_reason": None, "stop_sequence": None, "usage": first}
    documents: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, content in enumerate(_blocks("".join(pieces), tools, thinking, redacted)):
        documents += _block_events(index, content, pieces)
    told = {"output_tokens": block["output_tokens"]} if block else None
    delta = {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    documents += ({"type": "message_delta", "delta": delta, "usage": told}, {"type": "message_stop"})
    return [event(document, document["type"]) for document in documents]


def messages_error(message: str, kind: str = "overloaded_error") -> dict[str, Any]:
    """An error: the body of an answer, or of the event `error` in a stream."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def _frame(model: str) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model}


def _blocks(text: str, tools: Sequence[ToolUse], thinking: str, redacted: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if thinking:
        blocks.append({"type": "thinking", "thinking": thinking, "signature": "c2lnbmVk" * 20})
    if redacted:
        blocks.append({"type": "redacted_thinking", "data": redacted})
    blocks.append({"type": "text", "text": text})
    for place, tool in enumerate(tools):
        blocks.append(
            {"type": "tool_use", "id": f"toolu_{place}", "name": tool.name, "input": tool.arguments}
        )
    return blocks


def _block_events(index: int, block: dict[str, Any], pieces: Sequence[str]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    match block["type"]:
        case "thinking":
            begun = {**block, "thinking": "", "signature": ""}
            deltas.append({"type": "thinking_delta", "thinking": block["thinking"]})
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            begun = {**block, "input": {}}
            written = json.dumps(block["input"])
            deltas += ({"type": "input_json_delta", "partial_json": part} for part in ("", written))
        case "text":
            begun = {**block, "text": ""}
            deltas += ({"type": "text_delta", "text": piece} for piece in pieces)
        case _:
            begun = block
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]
