"""What is known of an answer while it goes by, and at its end."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.answers import TAIL_BYTES, WHOLE_BYTES_MAX, Answer, answer_reader
from quota_service.edge.dialects.calls import Kind
from tests.support.answer_records import EVENTS, JSON, PIECES, RECORDS, TEXT, USAGE
from tests.support.answers import body, chat_events, chat_json, embeddings_json, event
from tests.support.answers_anthropic import messages_events, messages_json
from tests.support.answers_gemini import generate_array, generate_events


def known(kind: Kind, content_type: str, *chunks: bytes) -> Answer:
    """What is known after those chunks."""
    reader = answer_reader(kind, content_type, len)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.answer()


@pytest.mark.parametrize("name", RECORDS)
def test_all_of_an_answer_is_known_at_its_end(name: str) -> None:
    record = RECORDS[name]
    assert known(record.kind, record.content_type, *record.chunks) == record.known
    assert known(record.kind, record.content_type, record.body) == record.known


@pytest.mark.parametrize("name", RECORDS)
def test_asking_on_the_way_changes_nothing(name: str) -> None:
    record = RECORDS[name]
    reader = answer_reader(record.kind, record.content_type, len)
    for start in range(0, len(record.body), 7):
        reader.feed(record.body[start : start + 7])
        assert reader.answer() == reader.answer()
    assert reader.answer() == record.known


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (Kind.CHAT, chat_events(PIECES, USAGE)[:4]),
        (Kind.MESSAGES, messages_events(PIECES, USAGE)[:6]),
        (Kind.GENERATE, generate_events(PIECES, USAGE)[:3]),
    ],
)
def test_of_a_stream_that_breaks_off_is_known_what_has_come(kind: Kind, events: list[bytes]) -> None:
    answer = known(kind, EVENTS, *events)
    assert answer.output_tokens == len("".join(PIECES[:3]))
    assert answer.model
    assert (answer.has_ended, answer.is_error, answer.is_readable) == (False, False, True)


def test_of_an_array_that_breaks_off_is_known_what_has_come() -> None:
    answer = known(Kind.GENERATE, JSON, *generate_array(PIECES, USAGE)[:3], b'\n,\r\n{"candidates": [{"con')
    assert answer.output_tokens == len("".join(PIECES[:3]))
    assert (answer.has_ended, answer.is_readable) == (False, True)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_the_last_event_counts_without_a_blank_line_after_it(end: bytes) -> None:
    body = b"".join(chat_events(PIECES, USAGE)).removesuffix(b"\n\n")
    assert known(Kind.CHAT, EVENTS, body + end) == RECORDS["chat events"].known


@pytest.mark.parametrize(
    "content_type", ["", "text/html", "application/octet-stream", "application/x-ndjson"]
)
def test_of_another_type_nothing_is_known(content_type: str) -> None:
    assert known(Kind.CHAT, content_type, chat_json(TEXT, USAGE)) == Answer()


@pytest.mark.parametrize(
    "content_type", ["Application/JSON", "application/json;charset=UTF-8", "application/x+json"]
)
def test_types_are_known_however_they_are_written(content_type: str) -> None:
    assert known(Kind.CHAT, content_type, chat_json(TEXT, USAGE)).usage == USAGE


@pytest.mark.parametrize(
    "bytes_", [b"<html>", b"\x1f\x8b\x08\x00\x00", b"null", b"7", b'{"a":', b"{oops}", b"[7", b""]
)
def test_of_what_is_not_json_nothing_is_known(bytes_: bytes) -> None:
    for kind in Kind:
        assert known(kind, JSON, bytes_) == Answer()


@pytest.mark.parametrize("bytes_", [b"<html>", b"\x1f\x8b\x08\x00\ndata", b'{"usage":{}}', b"data: oops\n\n"])
def test_of_what_is_no_event_nothing_is_known(bytes_: bytes) -> None:
    for kind in Kind:
        assert known(kind, EVENTS, bytes_) == Answer()


def test_of_a_stream_that_only_keeps_the_connection_open_it_is_known_that_nothing_came() -> None:
    nothing = Answer(is_readable=True)
    assert known(Kind.CHAT, EVENTS) == known(Kind.CHAT, EVENTS, b": wait\n\n", b": wait") == nothing


def test_the_last_valid_usage_counts() -> None:
    def chunk(usage: Any) -> bytes:
        return event({"choices": [], "usage": usage})

    good = {"prompt_tokens": 5, "completion_tokens": 6}
    better = {"prompt_tokens": 5, "completion_tokens": 7}
    bad = {"prompt_tokens": 5, "completion_tokens": -7}
    assert known(Kind.CHAT, EVENTS, chunk(good), chunk(bad), chunk(None)).usage == Usage(5, 0, 0, 6)
    assert known(Kind.CHAT, EVENTS, chunk(good), chunk(better), chunk(bad)).usage == Usage(5, 0, 0, 7)


def test_a_bad_block_of_anthropic_leaves_the_ones_before_it() -> None:
    events = messages_events(PIECES, Usage(50, 0, 0, 9))
    delta = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 12, "input_tokens": -3}}
    assert known(Kind.MESSAGES, EVENTS, *events[:-1], event(delta)).usage == Usage(50, 0, 0, 9)


def test_an_event_that_is_no_json_is_passed_over() -> None:
    events = chat_events(PIECES, USAGE)
    spoilt = [*events[:3], b"data: {oops\n\n", b"data: 7\n\n", b"data: \xff\xfe\n\n", *events[3:]]
    assert known(Kind.CHAT, EVENTS, *spoilt) == RECORDS["chat events"].known


def test_half_a_character_does_not_hide_the_usage() -> None:
    broken = {"role": "assistant", "content": "half \ud83d"}
    document = json.loads(chat_json(TEXT, USAGE))
    document["choices"][0]["message"] = broken
    assert known(Kind.CHAT, JSON, json.dumps(document).encode()).usage == USAGE
    assert known(Kind.CHAT, JSON, chat_json("?").replace(b"?", b"\xf0\x9f")).output_tokens == 1


def test_texts_of_an_unknown_shape_do_not_hide_the_usage() -> None:
    for text in (7, [{"type": "thinking", "thinking": []}], {"a": 1}):
        document = json.loads(chat_json("", USAGE))
        document["choices"][0]["message"]["content"] = text
        assert known(Kind.CHAT, JSON, body(document)).usage == USAGE
        del document["usage"]
        assert not known(Kind.CHAT, JSON, body(document)).is_readable


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.has_output])
def test_a_document_that_is_no_answer_does_not_say_that_nothing_came(kind: Kind) -> None:
    assert not known(kind, JSON, b'{"ok": true, "model": "m"}').is_readable


def test_json_that_is_nested_without_end_does_no_harm() -> None:
    for kind in Kind:
        for nested in (b'{"x":' * 100_000, b'{"usage":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
            assert known(kind, JSON, nested).usage is None
            assert known(kind, EVENTS, b"data: ", nested, b"\n\n").usage is None


@pytest.mark.parametrize("model", ["", " ", "a b", "a\nb", "ä", "x" * 257, None, 7, ["m"], {"m": 1}])
def test_a_model_without_a_sane_name_is_unknown(model: Any) -> None:
    document = {**json.loads(chat_json(TEXT, USAGE)), "model": model}
    answer = known(Kind.CHAT, JSON, body(document))
    assert (answer.model, answer.usage) == ("", USAGE)


def test_the_end_of_a_long_answer_is_enough() -> None:
    long = embeddings_json(2_000, Usage(8_000), dimensions=200)
    assert len(long) > WHOLE_BYTES_MAX
    answer = known(Kind.EMBEDDINGS, JSON, *(long[at : at + 16_384] for at in range(0, len(long), 16_384)))
    assert answer == Answer(Usage(8_000), "text-embedding-3-small", 0, True, False, True)
    assert known(Kind.EMBEDDINGS, JSON, long[:-1]) == Answer()
    assert not known(Kind.EMBEDDINGS, JSON, embeddings_json(2_000, None, dimensions=200)).is_readable


FORGED = {
    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 0, "output_tokens": 0},
    "model": "m",
}


@pytest.mark.parametrize(
    "before", [0, 1_000, TAIL_BYTES - 700, TAIL_BYTES - 500, TAIL_BYTES - 300, TAIL_BYTES]
)
@pytest.mark.parametrize(
    "forged", [body(FORGED).decode(), json.dumps(body(FORGED).decode()), "\\" * 9 + '"usage": {']
)
def test_no_text_of_a_model_can_forge_the_usage_of_a_long_answer(before: int, forged: str) -> None:
    text = "x" * WHOLE_BYTES_MAX + forged + "x" * before + forged
    assert known(Kind.MESSAGES, JSON, messages_json(text, USAGE)).usage == USAGE
    assert known(Kind.CHAT, JSON, chat_json(text, USAGE)).usage == USAGE
    assert known(Kind.CHAT, JSON, chat_json(text, None)).usage is None


def test_no_object_of_a_model_can_forge_the_usage_of_a_long_answer() -> None:
    """Anthropic's tools are called with objects whose keys the model chooses."""
    long = {"text": "x" * WHOLE_BYTES_MAX, 'a"usage': FORGED["usage"], **FORGED, "more": [FORGED]}
    tool = {"type": "tool_use", "id": "1", "name": "f", "input": long}
    message = {"model": "claude", "content": [tool]}
    told = {"input_tokens": 5, "output_tokens": 6}
    assert known(Kind.MESSAGES, JSON, body({"usage": told, **message})) == Answer()
    answer = known(Kind.MESSAGES, JSON, body({**message, "usage": told, "then": FORGED}))
    assert answer.usage == Usage(5, 0, 0, 6)
    cut = body({**message, "usage": told})
    for end in range(len(cut) - 300, len(cut)):
        usage = known(Kind.MESSAGES, JSON, cut[:end]).usage
        assert usage is None or cut[end - 1 : end] == b"}"


def test_texts_are_counted_in_pieces_and_not_kept() -> None:
    lengths: list[int] = []

    def count(text: str) -> int:
        lengths.append(len(text))
        return len(text)

    reader = answer_reader(Kind.CHAT, EVENTS, count)
    for chunk in chat_events(["word "] * 4_000 + ["x" * 50_000]):
        reader.feed(chunk)
    assert reader.answer().output_tokens == 70_000
    assert max(lengths) <= 8_192
    assert 70_000 <= sum(lengths) <= 80_000


def test_a_usage_spares_counting() -> None:
    def count(text: str) -> int:
        raise AssertionError(text)

    for record in (RECORDS["chat"], RECORDS["chat events"], RECORDS["generate"], RECORDS["messages"]):
        reader = answer_reader(record.kind, record.content_type, count)
        reader.feed(record.body)
        assert reader.answer() == record.known


@pytest.mark.parametrize("name", ["chat events", "responses events", "messages events", "generate events"])
def test_a_piece_of_a_stream_takes_microseconds(name: str) -> None:
    record = RECORDS[name]
    reader = answer_reader(record.kind, record.content_type, len)
    piece = record.chunks[len(record.chunks) // 2]
    begun = time.process_time()
    for _ in range(2_000):
        reader.feed(piece)
    assert (time.process_time() - begun) / 2_000 < 0.000_2  # measured: 4 to 8 µs


def test_whole_json_is_read_anew_when_more_comes() -> None:
    reader = answer_reader(Kind.CHAT, JSON, len)
    for chunk in (chat_json(TEXT), b" ", b"\n"):
        reader.feed(chunk)
        assert reader.answer().output_tokens == len(TEXT)


def test_sound_is_not_text_but_its_transcript_is() -> None:
    sound = event({"type": "response.audio.delta", "delta": "c291bmQ=" * 9})
    spoken = event({"type": "response.audio.transcript.delta", "delta": "Good morning."})
    assert known(Kind.RESPONSES, EVENTS, sound, spoken).output_tokens == len("Good morning.")
    delta = {"audio": {"data": "c291bmQ=" * 9, "transcript": "Good morning."}}
    chunk = event({"choices": [{"index": 0, "delta": delta}]})
    assert known(Kind.CHAT, EVENTS, chunk).output_tokens == len("Good morning.")


def test_a_response_that_failed_is_an_error_without_saying_which() -> None:
    document: dict[str, Any] = {"model": "m", "status": "failed", "error": None, "output": []}
    assert known(Kind.RESPONSES, JSON, body(document)).is_error


def test_embeddings_have_no_output() -> None:
    document: dict[str, Any] = {
        "data": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9},
    }
    assert known(Kind.EMBEDDINGS, JSON, body(document)).usage == Usage(5)


def test_the_texts_of_several_choices_are_counted_apart() -> None:
    reader = answer_reader(Kind.CHAT, EVENTS, lambda text: len(text.split()))
    for chunk in chat_events(["to", "geth", "er"], choices=2):
        reader.feed(chunk)
    assert reader.answer().output_tokens == 2


def test_tools_are_counted_as_the_model_wrote_them() -> None:
    content = [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": [1, 2]}}]
    for indent in (None, 4):
        message = json.dumps({"model": "claude", "content": content}, indent=indent).encode()
        assert known(Kind.MESSAGES, JSON, message).output_tokens == len("f" + '{"a":[1,2]}')


def test_the_model_is_who_answers() -> None:
    assert known(Kind.CHAT, EVENTS, *chat_events(PIECES, model="gpt-4o-mini")).model == "gpt-4o-mini"


@pytest.mark.parametrize("is_array", [False, True])
def test_an_event_too_long_to_be_read_may_have_had_the_usage(is_array: bool) -> None:
    image = b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"%s"}}]}}],"usageMetadata":{}}' % (
        b"A" * 5 * 1024 * 1024
    )
    small = b'{"candidates":[{"content":{"parts":[{"text":"Here it is."}]}}]}'
    if is_array:
        reader = answer_reader(Kind.GENERATE, "application/json", len)
        reader.feed(b"[" + small + b"," + image + b"]")
    else:
        reader = answer_reader(Kind.GENERATE, "text/event-stream", len)
        reader.feed(b"data: " + small + b"\n\ndata: " + image + b"\n\n")
    assert not reader.answer().is_readable
