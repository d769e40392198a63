"""Server-sent events and the elements of an array, from bytes that are cut anywhere."""

from __future__ import annotations

import tracemalloc

import pytest

from quota_service.edge.dialects.elements import ELEMENT_BYTES_MAX, ElementReader
from quota_service.edge.dialects.events import EVENT_BYTES_MAX, Event, EventReader

STREAM = (
    "\ufeffevent: greeting\r\n: hello\r\ndata: Grüße 👋\r\ndata:zwei\n\rdata\rid: 7\r\r\n:\n\ndata:  last\n\n"
).encode()

EVENTS = [
    Event(b"greeting", "Grüße 👋\nzwei".encode()),
    Event(b"", b""),
    Event(b"", b" last"),
]


def events(*chunks: bytes) -> list[Event]:
    """What is read from chunks."""
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


def test_a_stream_is_read_as_its_standard_says() -> None:
    assert events(STREAM) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_it_does_not_matter_where_a_stream_is_cut(size: int) -> None:
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert events(*chunks) == EVENTS
    assert events(*(part for chunk in chunks for part in (chunk, b""))) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_end_of_a_line_will_do(end: bytes) -> None:
    assert events(b"data: a" + end + b"data: b" + end + end) == [Event(b"", b"a\nb")]


def test_an_event_without_data_is_none() -> None:
    assert events(b"event: ping\n\n: comment\n\nid: 1\nretry: 5\nodd\n\n") == []


def test_the_name_of_an_event_is_its_own() -> None:
    assert events(b"event: a\ndata: 1\n\ndata: 2\n\n") == [Event(b"a", b"1"), Event(b"", b"2")]


def test_an_event_whose_end_has_not_come_can_be_looked_at() -> None:
    reader = EventReader()
    assert reader.unfinished() is None
    assert reader.feed(b"event: end\ndata: on") == []
    assert reader.unfinished() == reader.unfinished() == Event(b"end", b"on")
    assert reader.feed(b"e\nda") == []
    assert reader.unfinished() == Event(b"end", b"one")
    assert reader.feed(b"ta: two\n\n") == [Event(b"end", b"one\ntwo")]
    assert reader.unfinished() is None


@pytest.mark.parametrize("size", [1_000_000, 65_536, 2 * EVENT_BYTES_MAX])
def test_an_event_that_is_too_long_is_dropped_and_the_next_one_is_read(size: int) -> None:
    stream = b"data: 1\n\n" + b"data: " + b"x" * EVENT_BYTES_MAX + b"\ndata: rest\n\n" + b"data: 2\n\n"
    reader = EventReader()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    read = [event for chunk in chunks for event in reader.feed(chunk)]
    assert read == [Event(b"", b"1"), Event(b"", b"2")]
    assert reader.dropped == 1


def test_an_event_of_the_greatest_length_is_read() -> None:
    data = b"x" * (EVENT_BYTES_MAX - len(b"data: "))
    assert events(b"data: " + data + b"\n\n") == [Event(b"", data)]
    assert events(b"data: " + data + b"x\n\n") == []


@pytest.mark.parametrize(
    ("endless", "times"),
    [(b"x" * 1_000, 100), (b"data: xy\n" * 100, 300), (b": comment\n" * 100, 100), (b"xy", 40_000)],
)
def test_what_never_ends_takes_little_memory(
    endless: bytes, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small maximum, as memory is traced slowly: all but the comments would keep too much without."""
    monkeypatch.setattr("quota_service.edge.dialects.events.EVENT_BYTES_MAX", 16_384)
    reader = EventReader()
    tracemalloc.start()
    try:
        for _ in range(times):
            reader.feed(endless)
        assert tracemalloc.get_traced_memory()[1] < 3 * 16_384
    finally:
        tracemalloc.stop()


ARRAY = b'[{"a": "]}\\\\\\"[{", "b": [{}]}\n,\r\n{"c": {}} ,{}]'

ELEMENTS = [b'{"a": "]}\\\\\\"[{", "b": [{}]}', b'{"c": {}}', b"{}"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_the_elements_of_an_array_are_read_wherever_it_is_cut(size: int) -> None:
    reader = ElementReader()
    chunks = [ARRAY[start : start + size] for start in range(0, len(ARRAY), size)]
    assert [element for chunk in chunks for element in reader.feed(chunk)] == ELEMENTS
    assert reader.has_ended
    assert reader.feed(b"[{}]") == []


def test_an_array_without_its_end_has_not_ended() -> None:
    reader = ElementReader()
    assert reader.feed(ARRAY[:-1]) == ELEMENTS
    assert not reader.has_ended


@pytest.mark.parametrize("size", [1_000_000, 2 * ELEMENT_BYTES_MAX])
def test_an_element_that_is_too_long_is_dropped_and_the_next_one_is_read(size: int) -> None:
    array = b'[{"a": "' + b"x" * ELEMENT_BYTES_MAX + b'"}, {"b": 1}]'
    reader = ElementReader()
    chunks = [array[start : start + size] for start in range(0, len(array), size)]
    assert [element for chunk in chunks for element in reader.feed(chunk)] == [b'{"b": 1}']
    assert reader.dropped == 1
