"""The providers' usage blocks, in the words of the domain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.usage import (
    COUNT_MAX,
    MessagesCounts,
    chat_usage,
    generate_usage,
    messages_counts,
    responses_usage,
)
from tests.support.answers import chat_block, responses_block
from tests.support.answers_anthropic import messages_block
from tests.support.answers_gemini import generate_block


def messages_usage(block: bytes) -> Usage | None:
    counts = messages_counts(block)
    return counts.usage() if counts is not None else None


READERS: dict[str, Callable[[bytes], Usage | None]] = {
    "chat": chat_usage,
    "responses": responses_usage,
    "messages": messages_usage,
    "generate": generate_usage,
}

BLOCKS: dict[str, Callable[[Usage], dict[str, Any] | None]] = {
    "chat": chat_block,
    "responses": responses_block,
    "messages": messages_block,
    "generate": generate_block,
}

INPUT = {
    "chat": "prompt_tokens",
    "responses": "input_tokens",
    "messages": "input_tokens",
    "generate": "promptTokenCount",
}

OUTPUT = {
    "chat": "completion_tokens",
    "responses": "output_tokens",
    "messages": "output_tokens",
    "generate": "candidatesTokenCount",
}

CACHED = {
    "chat": ("prompt_tokens_details", "cached_tokens"),
    "responses": ("input_tokens_details", "cached_tokens"),
    "messages": ("cache_read_input_tokens",),
    "generate": ("cachedContentTokenCount",),
}

USAGE = Usage(1_200, 1_000, 0, 340)


def read(shape: str, **changed: Any) -> Usage | None:
    """The usage of a block with other values in some of its fields."""
    block = BLOCKS[shape](USAGE)
    assert block is not None
    return READERS[shape](json.dumps({**block, **changed}).encode())


@pytest.mark.parametrize("shape", READERS)
@pytest.mark.parametrize("usage", [USAGE, Usage(0, 0, 0, 0), Usage(7, 0, 0, 9)])
def test_a_block_is_read_with_what_came_from_the_cache(shape: str, usage: Usage) -> None:
    assert READERS[shape](json.dumps(BLOCKS[shape](usage)).encode()) == usage


@pytest.mark.parametrize("shape", READERS)
@pytest.mark.parametrize("wrong", [-1, 1.5, 1e99, "7", True, COUNT_MAX + 1, 10**30, [], {}])
def test_a_block_with_an_impossible_count_is_none(shape: str, wrong: Any) -> None:
    assert read(shape, **{INPUT[shape]: wrong}) is None
    assert read(shape, **{OUTPUT[shape]: wrong}) is None
    outer, *inner = CACHED[shape]
    assert read(shape, **{outer: {inner[0]: wrong} if inner else wrong}) is None


@pytest.mark.parametrize("shape", READERS)
def test_the_largest_count_is_still_believed(shape: str) -> None:
    read_usage = read(shape, **{OUTPUT[shape]: COUNT_MAX, "total_tokens": None})
    assert read_usage is not None
    assert read_usage.output_tokens == COUNT_MAX


@pytest.mark.parametrize("shape", ["chat", "responses", "generate"])
def test_a_block_with_more_from_the_cache_than_went_in_is_none(shape: str) -> None:
    outer, *inner = CACHED[shape]
    assert read(shape, **{outer: {inner[0]: 1_201} if inner else 1_201}) is None


@pytest.mark.parametrize("shape", READERS)
def test_a_detail_that_is_null_or_absent_is_zero(shape: str) -> None:
    outer = CACHED[shape][0]
    without = {name: value for name, value in (BLOCKS[shape](USAGE) or {}).items() if name != outer}
    absent = READERS[shape](json.dumps(without).encode())
    assert absent is not None
    assert absent.cached_input_tokens == 0
    assert read(shape, **{outer: None}) == absent


@pytest.mark.parametrize("shape", READERS)
@pytest.mark.parametrize(
    "block", [b"", b"null", b"[]", b"{}", b"7", b'"usage"', b'{"trafficType":"ON_DEMAND"}', b"{"]
)
def test_what_is_no_block_tells_nothing(shape: str, block: bytes) -> None:
    assert READERS[shape](block) is None


def test_gemini_counts_thoughts_apart_and_they_are_output() -> None:
    block = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 44,
    }
    assert generate_usage(json.dumps(block).encode()) == Usage(10, 0, 0, 34)


def test_gemini_counts_the_results_of_tools_apart_and_they_are_input() -> None:
    block = {"promptTokenCount": 10, "toolUsePromptTokenCount": 500, "candidatesTokenCount": 4}
    assert generate_usage(json.dumps(block).encode()) == Usage(510, 0, 0, 4)


def test_anthropic_counts_reads_and_writes_of_the_cache_apart_and_they_are_input() -> None:
    block = {
        "input_tokens": 3,
        "cache_read_input_tokens": 2_000,
        "cache_creation_input_tokens": 500,
        "output_tokens": 8,
    }
    assert messages_usage(json.dumps(block).encode()) == Usage(2_503, 2_000, 500, 8)


def test_anthropic_tells_later_only_what_has_changed() -> None:
    start = MessagesCounts(input_tokens=3, cache_read_input_tokens=20, output_tokens=1)
    told = start.then(MessagesCounts(output_tokens=90)).then(MessagesCounts(input_tokens=5, output_tokens=95))
    assert told.usage() == Usage(25, 20, 0, 95)
    assert MessagesCounts(output_tokens=90).usage() is None


def test_openai_includes_reasoning_in_the_output_and_cache_writes_in_the_input() -> None:
    block = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 150,
    }
    assert responses_usage(json.dumps(block).encode()) == Usage(100, 60, 30, 50)


def test_reasoning_that_only_the_total_knows_of_is_output() -> None:
    block = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    assert chat_usage(json.dumps(block).encode()) == Usage(32, 0, 0, 103)


def test_a_total_that_is_too_small_changes_nothing() -> None:
    assert read("chat", total_tokens=0) == USAGE
