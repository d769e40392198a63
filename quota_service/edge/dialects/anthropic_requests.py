"""What calls of Anthropic's Messages API may use at most.

Anthropic publishes no overheads for messages; its examples of counting ("Hello, Claude" with a system
prompt of five words is 14 tokens) leave 4 for each message and 3 for the whole. Tools bring a system prompt
of their own: 346 tokens for Claude 4, at most 530 (Claude 3 Opus) up to 4.6; the larger tokenizer from 4.7
on makes up to 1.6 times as much of it. A tool that Anthropic defines (computer, bash, text editor) costs up
to 735 tokens.
"""

from __future__ import annotations

from typing import Any

from quota_service.edge.dialects.bounds import Tally, is_older_claude
from quota_service.edge.dialects.fields import TOKENS_MAX, Fields, count_of, fields_of, items_of, text_of
from quota_service.edge.dialects.image_sizes import size_of
from quota_service.edge.dialects.images import anthropic_image_tokens
from quota_service.edge.dialects.media import PAGE_TEXT_TOKENS, REFERENCE_TOKENS, pages

MESSAGE_TOKENS, CALL_TOKENS = 4, 3
BLOCK_TOKENS = 8  # around a tool's name and input, or its result
TOOLS_TOKENS_OLDER, TOOLS_TOKENS = 530, 848
TOOL_TOKENS, DEFINED_TOOL_TOKENS = 12, 1_000

LIMIT = "max_tokens"

_READ_NOT = frozenset(
    ("metadata", "stop_sequences", "thinking", "tool_choice", "messages", "system", "tools", "cache_control",
     "service_tier", "context_management")
)  # fmt: skip
"""Objects and lists that a model does not read, or that are counted by a rule of their own."""


def anthropic_limit(fields: Fields) -> int | None:
    """The tokens of the answer, its thinking included. Raises CallMalformed."""
    return count_of(fields, LIMIT, TOKENS_MAX)


def count_anthropic(fields: Fields, model: str, tally: Tally) -> None:
    """Adds what the model will read."""
    tally.add(CALL_TOKENS)
    _count_content(fields.get("system"), model, tally)
    for message in items_of(fields.get("messages")):
        tally.add(MESSAGE_TOKENS)
        if isinstance(message, dict):
            _count_content(message.get("content"), model, tally)
        else:
            tally.json(message)
    _count_tools(items_of(fields.get("tools")), model, tally)
    for name, value in fields.items():
        if name not in _READ_NOT and isinstance(value, (dict, list)):
            tally.json(value)


def _count_content(value: object, model: str, tally: Tally) -> None:
    for block in items_of(value):
        if isinstance(block, str):
            tally.text(block)
        else:
            _count_block(fields_of(block), block, model, tally)


def _count_block(block: Fields, value: object, model: str, tally: Tally) -> None:
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        tally.text(block["text"])
    elif kind == "image":
        tally.add(_image_tokens(fields_of(block.get("source")), model))
    elif kind == "document":
        _count_document(block, model, tally)
    elif kind == "thinking":
        tally.text(text_of(block.get("thinking")))  # its signature is not for the model
    elif kind == "tool_use":
        tally.add(BLOCK_TOKENS)
        tally.json({"name": block.get("name"), "input": block.get("input")})
    elif kind == "tool_result":
        tally.add(BLOCK_TOKENS)
        _count_content(block.get("content"), model, tally)
    else:
        tally.json(value)


def _image_tokens(source: Fields, model: str) -> int:
    size = size_of(text_of(source.get("data"))) if source.get("type") == "base64" else None
    return anthropic_image_tokens(size, model)


def _count_document(block: Fields, model: str, tally: Tally) -> None:
    """A text counts as such; of a PDF every page as its text and its image."""
    source = fields_of(block.get("source"))
    for name in ("title", "context"):
        tally.text(text_of(block.get(name)))
    if source.get("type") == "text":
        tally.text(text_of(source.get("data")))
    elif source.get("type") == "content":
        _count_content(source.get("content"), model, tally)
    elif source.get("type") == "base64":
        page = PAGE_TEXT_TOKENS + anthropic_image_tokens(None, model)
        tally.add(page * pages(text_of(source.get("data"))))
    else:
        tally.add(REFERENCE_TOKENS)


def _count_tools(tools: list[Any], model: str, tally: Tally) -> None:
    for tool in tools:
        defined = fields_of(tool).get("type") not in (None, "custom")
        tally.add(DEFINED_TOOL_TOKENS if defined else TOOL_TOKENS)
    if tools:
        tally.json(tools)
        tally.add(TOOLS_TOKENS_OLDER if is_older_claude(model) else TOOLS_TOKENS)
