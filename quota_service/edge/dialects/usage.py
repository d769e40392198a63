"""From what a provider says that a call used to the usage that is charged.

A block counts whole or not at all: one with a number that is negative, not a whole one or absurd, or that
contradicts itself, tells nothing that could be trusted. A count that is absent or null is none.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from quota_service.domain.pricing import Usage

COUNT_MAX = 100_000_000
"""Tokens in one count of a block; above it nobody's model goes. Sums of counts stay below the domain's
bound.
"""

Counts = TypeVar("Counts")

Block = bytes | msgspec.Raw
"""A usage block as JSON; empty where there is none."""


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _ChatBlock(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None


class _ResponsesBlock(msgspec.Struct, gc=False):
    input_tokens: int
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None


class _GenerateBlock(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class MessagesCounts(msgspec.Struct, frozen=True, gc=False):
    """What Anthropic has told of a message so far; `None`: not told. `input_tokens`: without those that were
    read from the cache or written to it.
    """

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None

    def then(self, later: MessagesCounts) -> MessagesCounts:
        """These counts, and in place of each the later one where there is one: they are cumulative."""
        return MessagesCounts(*map(_later, msgspec.structs.astuple(self), msgspec.structs.astuple(later)))

    def usage(self) -> Usage | None:
        """The usage; `None` while the input is not told."""
        if self.input_tokens is None:
            return None
        read, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        return Usage(self.input_tokens + read + written, read, written, self.output_tokens or 0)


_CHAT = msgspec.json.Decoder(_ChatBlock)
_RESPONSES = msgspec.json.Decoder(_ResponsesBlock)
_GENERATE = msgspec.json.Decoder(_GenerateBlock)
_MESSAGES = msgspec.json.Decoder(MessagesCounts)


def chat_usage(block: Block) -> Usage | None:
    """Of OpenAI's chat completions, completions and embeddings."""
    counts = _decoded(_CHAT, block)
    if counts is None:
        return None
    return _openai_usage(
        counts.prompt_tokens, counts.prompt_tokens_details, counts.completion_tokens, counts.total_tokens
    )


def responses_usage(block: Block) -> Usage | None:
    """Of OpenAI's responses."""
    counts = _decoded(_RESPONSES, block)
    if counts is None:
        return None
    return _openai_usage(
        counts.input_tokens, counts.input_tokens_details, counts.output_tokens, counts.total_tokens
    )


def generate_usage(block: Block) -> Usage | None:
    """Of Gemini's generateContent and its embeddings. Its candidates do not include its thoughts, its prompt
    not what tools gave it to read.
    """
    counts = _decoded(_GENERATE, block)
    if counts is None or not _are_sane(*msgspec.structs.astuple(counts)):
        return None
    cached, tools = counts.cached_content_token_count or 0, counts.tool_use_prompt_token_count or 0
    output = (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
    if cached > counts.prompt_token_count:
        return None
    return Usage(counts.prompt_token_count + tools, cached, 0, output)


def messages_counts(block: Block) -> MessagesCounts | None:
    """Of Anthropic's messages. A stream tells the input first and the output last: its blocks are joined."""
    counts = _decoded(_MESSAGES, block)
    if counts is None or not _are_sane(*msgspec.structs.astuple(counts)):
        return None
    return counts


def _openai_usage(
    input_tokens: int, details: _InputDetails | None, output_tokens: int | None, total_tokens: int | None
) -> Usage | None:
    cached = (details.cached_tokens if details else 0) or 0
    written = (details.cache_write_tokens if details else 0) or 0
    if (
        not _are_sane(input_tokens, cached, written, output_tokens, total_tokens)
        or cached + written > input_tokens
    ):
        return None
    # Some who speak this dialect count reasoning in nothing but the total, and bill it as output.
    output = max(output_tokens or 0, (total_tokens or 0) - input_tokens)
    return Usage(input_tokens, cached, written, output)


def _decoded(decoder: msgspec.json.Decoder[Counts], block: Block) -> Counts | None:
    try:
        return decoder.decode(block) if block else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _are_sane(*counts: int | None) -> bool:
    return all(count is None or 0 <= count <= COUNT_MAX for count in counts)


def _later(earlier: int | None, later: int | None) -> int | None:
    return earlier if later is None else later
