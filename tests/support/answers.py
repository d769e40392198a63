"""Answers of model providers, in the shapes that their documentation describes and their libraries read.

Every function for a stream gives one element of the list for each event, so that a server can send them one
by one. `usage` is in the domain's words, or a block as the provider would write it; `None`: the provider
tells none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from quota_service.domain.pricing import Usage

CHAT_MODEL = "gpt-4o-2024-08-06"
MESSAGES_MODEL = "claude-sonnet-4-5-20250929"
GENERATE_MODEL = "gemini-2.5-flash"
EMBEDDINGS_MODEL = "text-embedding-3-small"

CREATED = 1_760_000_000

Told = Usage | dict[str, Any] | None
"""What a provider tells of a usage."""


class ToolUse(NamedTuple):
    """A tool that the model wants to be called."""

    name: str
    arguments: dict[str, Any]


def body(document: Any) -> bytes:
    """JSON, as compact as the providers write it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def event(document: Any, name: str = "") -> bytes:
    """A server-sent event."""
    begin = f"event: {name}\n".encode() if name else b""
    return begin + b"data: " + (document if isinstance(document, bytes) else body(document)) + b"\n\n"


def error_json(kind: str, message: str, code: str | int | None = None) -> bytes:
    """An error in OpenAI's dialect."""
    return body({"error": {"message": message, "type": kind, "param": None, "code": code}})


# OpenAI: chat completions and completions


def chat_block(usage: Told) -> dict[str, Any] | None:
    """The usage block of chat completions, completions and embeddings."""
    if not isinstance(usage, Usage):
        return usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def chat_json(
    text: str | None,
    usage: Told = None,
    *,
    model: str = CHAT_MODEL,
    tools: Sequence[ToolUse] = (),
    refusal: str | None = None,
    choices: int = 1,
) -> bytes:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    if tools:
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": _function(tool)}
            for place, tool in enumerate(tools)
        ]
    finish = {"logprobs": None, "finish_reason": "tool_calls" if tools else "stop"}
    answered = [{"index": index, "message": message, **finish} for index in range(choices)]
    return body(_completion("chat.completion", model, answered, usage))


def chat_events(
    pieces: Sequence[str],
    usage: Told = None,
    *,
    model: str = CHAT_MODEL,
    tools: Sequence[ToolUse] = (),
    reasoning: Sequence[str] = (),
    choices: int = 1,
) -> list[bytes]:
    """A chat completion in chunks; with a usage as `stream_options.include_usage` asks for."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += ({"reasoning_content": piece} for piece in reasoning)
    deltas += ({"content": piece} for piece in pieces)
    for place, tool in enumerate(tools):
        function = _function(tool)
        start = {"name": function["name"], "arguments": ""}
        deltas.append(
            {"tool_calls": [{"index": place, "id": f"call_{place}", "type": "function", "function": start}]}
        )
        rest = {"arguments": function["arguments"]}
        deltas.append({"tool_calls": [{"index": place, "function": rest}]})
    ends: list[tuple[dict[str, Any], str | None]] = [(delta, None) for delta in deltas]
    ends.append(({}, "tool_calls" if tools else "stop"))
    chunks = [
        [{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}]
        for delta, reason in ends
        for index in range(choices)
    ]
    return _completion_events("chat.completion.chunk", model, chunks, usage)


def completions_json(text: str, usage: Told = None, *, model: str = CHAT_MODEL) -> bytes:
    """A completion."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": "stop"}
    return body(_completion("text_completion", model, [choice], usage))


def completions_events(pieces: Sequence[str], usage: Told = None, *, model: str = CHAT_MODEL) -> list[bytes]:
    """A completion in chunks."""
    ends: list[tuple[str, str | None]] = [*((piece, None) for piece in pieces), ("", "stop")]
    chunks = [
        [{"text": piece, "index": 0, "logprobs": None, "finish_reason": reason}] for piece, reason in ends
    ]
    return _completion_events("text_completion", model, chunks, usage)


def _completion_events(kind: str, model: str, chunks: list[list[dict[str, Any]]], usage: Told) -> list[bytes]:
    documents = [_completion(kind, model, chunk, None) for chunk in chunks]
    if usage is not None:
        documents.append(_completion(kind, model, [], usage))
    return [*map(event, documents), event(b"[DONE]")]


def _completion(kind: str, model: str, choices: list[dict[str, Any]], usage: Told) -> dict[str, Any]:
    frame = {"id": "chatcmpl-1", "object": kind, "created": CREATED, "model": model}
    return {**frame, "choices": choices, "usage": chat_block(usage), "system_fingerprint": "fp_1"}


def _function(tool: ToolUse) -> dict[str, str]:
    return {"name": tool.name, "arguments": json.dumps(tool.arguments)}


def embeddings_json(
    count: int, usage: Told = None, *, dimensions: int = 8, model: str = EMBEDDINGS_MODEL
) -> bytes:
    """OpenAI's embeddings."""
    vector = [0.015625] * dimensions
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    block = chat_block(usage)
    if block is not None and isinstance(usage, Usage):
        block = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return body({"object": "list", "data": data, "model": model, "usage": block})


# OpenAI: responses


def responses_block(usage: Told) -> dict[str, Any] | None:
    """The usage block of responses."""
    if not isinstance(usage, Usage):
        return usage
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def responses_json(
    text: str,
    usage: Told = None,
    *,
    status: str = "completed",
    model: str = CHAT_MODEL,
    tools: Sequence[ToolUse] = (),
    reasoning: str = "",
) -> bytes:
    """A response."""
    return body(_response(status, model, _items(text, tools, reasoning), usage))


def responses_events(
    pieces: Sequence[str],
    usage: Told = None,
    *,
    status: str = "completed",
    model: str = CHAT_MODEL,
    tools: Sequence[ToolUse] = (),
    reasoning: str = "",
) -> list[bytes]:
    """A response as events. `status`: completed, incomplete or failed."""
    text = "".join(pieces)
    items = _items(text, tools, reasoning)
    documents: list[dict[str, Any]] = [
        {"type": f"response.{name}", "response": _response("in_progress", model, [], None)}
        for name in ("created", "in_progress")
    ]
    for index, item in enumerate(items):
        documents += _item_events(index, item, pieces)
    documents.append({"type": f"response.{status}", "response": _response(status, model, items, usage)})
    return [
        event({**document, "sequence_number": number}, document["type"])
        for number, document in enumerate(documents)
    ]


def _item_events(index: int, item: dict[str, Any], pieces: Sequence[str]) -> list[dict[str, Any]]:
    at = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "reasoning":
            deltas = [item["summary"][0]["text"]]
            part: dict[str, Any] = {**at, "type": "response.reasoning_summary_text", "summary_index": 0}
        case "function_call":
            deltas = [item["arguments"]]
            part = {**at, "type": "response.function_call_arguments"}
        case _:
            deltas = list(pieces)
            part = {**at, "type": "response.output_text", "content_index": 0, "logprobs": []}
    begun = {**item, "arguments": ""} if "arguments" in item else {**item, "summary": [], "content": []}
    done = (
        {"arguments": deltas[0], "name": item["name"]} if "arguments" in item else {"text": "".join(deltas)}
    )
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        *({**part, "type": part["type"] + ".delta", "delta": delta} for delta in deltas),
        {**part, "type": part["type"] + ".done", **done},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _items(text: str, tools: Sequence[ToolUse], reasoning: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reasoning:
        summary = [{"type": "summary_text", "text": reasoning}]
        items.append({"id": "rs_1", "type": "reasoning", "summary": summary})
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    items.append(
        {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": content}
    )
    for place, tool in enumerate(tools):
        call = {"id": f"fc_{place}", "type": "function_call", "status": "completed"}
        items.append({**call, "call_id": f"call_{place}", **_function(tool)})
    return items


def _response(status: str, model: str, items: list[dict[str, Any]], usage: Told) -> dict[str, Any]:
    error = {"code": "server_error", "message": "The model broke down."} if status == "failed" else None
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": error,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "model": model,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": responses_block(usage),
        "metadata": {},
    }
