"""However an answer is cut into pieces, the same is known of it; and no bytes do any harm."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quota_service.edge.dialects import answers, elements, events, tally
from quota_service.edge.dialects.answers import AnswerReader, answer_reader
from quota_service.edge.dialects.calls import Kind
from tests.support.answer_records import EVENTS, JSON, RECORDS

records = st.sampled_from(sorted(RECORDS))
kinds = st.sampled_from(Kind)
content_types = st.sampled_from((EVENTS, JSON, "text/plain"))

FRAGMENTS = [
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"data: ",
        b"event: error\n",
        b"data",
        b": ",
        b"[DONE]",
        b"\xef\xbb\xbf",
        b"\xf0\x9f",
    ),
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"-1", b"1e999", b'"\\ud800"', b"x" * 9_000),
    *(b'"usage":', b'"usageMetadata":', b'"error":', b'"choices":', b'"delta":', b'"type":', b'"content":'),
    b'data: {"choices":[{"delta":{"content":"text"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n',
    b'{"candidates":[{"content":{"parts":[{"text":"text"}]}}],"usageMetadata":{"promptTokenCount":3}}',
    b'data: {"type":"content_block_delta","index":[],"delta":{"text":[]}}\n\n',
]
nasty = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=9), max_size=30).map(b"".join)


KEPT_BYTES = 32 * 1024
UNRELATED_BYTES = 128 * 1024
"""May be kept by others meanwhile, such as caches and Hypothesis itself."""


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body, cut at those places."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(places)]


def fed(kind: Kind, content_type: str, chunks: list[bytes]) -> AnswerReader:
    reader = answer_reader(kind, content_type, len)
    for chunk in chunks:
        reader.feed(chunk)
    return reader


@given(records, st.lists(st.integers(0, 100_000), max_size=40))
def test_an_answer_is_known_whatever_its_pieces(name: str, cuts: list[int]) -> None:
    record = RECORDS[name]
    assert fed(record.kind, record.content_type, pieces(record.body, cuts)).answer() == record.known


@given(records, st.sampled_from((b"\n", b"\r")), st.lists(st.integers(0, 100_000), max_size=20))
def test_an_answer_is_known_whatever_ends_its_lines(name: str, end: bytes, cuts: list[int]) -> None:
    record = RECORDS[name]
    body = record.body.replace(b"\r\n", b"\n").replace(b"\n", end)
    assert fed(record.kind, record.content_type, pieces(body, cuts)).answer() == record.known


@given(records, st.integers(0, 100_000))
def test_of_any_beginning_no_more_is_known_than_of_all(name: str, end: int) -> None:
    record = RECORDS[name]
    part = fed(record.kind, record.content_type, [record.body[: end % len(record.body)]]).answer()
    assert part.model in ("", record.known.model)
    assert not (part.has_ended and part.is_error) or record.known.is_error
    if record.known.usage is None:
        assert part.usage is None
        assert part.output_tokens <= record.known.output_tokens


@given(kinds, content_types, nasty, st.lists(st.integers(0, 100_000), max_size=10))
@example(Kind.CHAT, JSON, b'{"choices":[{"index":1e999}],"usage":{"prompt_tokens":1}}', [3])
@example(Kind.RESPONSES, EVENTS, b'data: {"type":["response.completed"],"response":{}}\n\n', [])
@example(Kind.MESSAGES, EVENTS, b'data: {"type":{},"delta":{"text":7}}\n\n', [])
def test_no_bytes_do_any_harm(kind: Kind, content_type: str, body: bytes, cuts: list[int]) -> None:
    answer = fed(kind, content_type, pieces(body, cuts)).answer()
    assert answer == fed(kind, content_type, [body]).answer()
    assert answer.output_tokens >= 0


@settings(max_examples=20)
@given(kinds, st.sampled_from((EVENTS, JSON)), nasty.filter(bool))
@example(Kind.CHAT, EVENTS, b"x")
@example(Kind.CHAT, EVENTS, b"data: " + b"x" * 100 + b"\n")
@example(Kind.CHAT, EVENTS, b'data: {"choices":[{"delta":{"content":"text"}}]}\n\n')
@example(Kind.CHAT, JSON, b"{")
@example(Kind.GENERATE, JSON, b'[{"' + b"x" * 100)
def test_no_bytes_take_much_memory_however_many_come(kind: Kind, content_type: str, fragment: bytes) -> None:
    """With small maxima, as memory is traced slowly. Without them, each example would keep too much."""
    reader = answer_reader(kind, content_type, len)
    chunk = fragment * (10_000 // len(fragment) + 1)
    tracemalloc.start()
    try:
        with maxima_of(KEPT_BYTES):
            for _ in range(25):
                reader.feed(chunk)
            reader.answer()
        assert tracemalloc.get_traced_memory()[0] < KEPT_BYTES + UNRELATED_BYTES
    finally:
        tracemalloc.stop()


@contextmanager
def maxima_of(size: int) -> Iterator[None]:
    """What is kept of an answer that has no end is at most so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "EVENT_BYTES_MAX", size)
        patch.setattr(elements, "ELEMENT_BYTES_MAX", size)
        patch.setattr(answers, "WHOLE_BYTES_MAX", size // 2)
        patch.setattr(answers, "TAIL_BYTES", size // 4)
        patch.setattr(tally, "PIECE_CHARACTERS", size // 64)  # short texts weigh much more than their bytes
        yield
