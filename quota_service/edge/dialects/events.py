"""Server-sent events, read from bytes as they come, however they are cut.

They are split at the ends of lines and nowhere else, so a character of several bytes is always whole. An
event that no blank line ends is told by `unfinished`: some servers just hang up after their last one.
"""

from __future__ import annotations

from typing import NamedTuple

EVENT_BYTES_MAX = 4 * 1024 * 1024
"""Of one event; a longer one is dropped."""

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event. `name`: its type, b"" where it has none. `data`: its lines of data, joined by newlines."""

    name: bytes
    data: bytes


class EventReader:
    """Turns chunks into events. `dropped`: how many were left out because they were too long."""

    __slots__ = (
        "_data",
        "_data_bytes",
        "_ended_in_cr",
        "_has_data",
        "_is_first_line",
        "_is_too_long",
        "_line",
        "_line_bytes",
        "_name",
        "dropped",
    )

    def __init__(self) -> None:
        self.dropped = 0
        self._line = bytearray()  # what has come of a line whose end has not come yet
        self._line_bytes = 0  # the same where it is not kept
        self._data = bytearray()  # of the event, its lines joined
        self._data_bytes = 0  # the lines whole
        self._has_data = False
        self._name = b""
        self._is_too_long = False
        self._is_first_line = True
        self._ended_in_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in the chunk."""
        if self._ended_in_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._ended_in_cr = False
        if not chunk:
            return []
        self._ended_in_cr = chunk[-1:] == b"\r"
        lines = chunk.splitlines()
        rest = b"" if chunk[-1:] in (b"\n", b"\r") else lines.pop()
        events: list[Event] = []
        for line in lines:
            self._end_line(line, events)
        if rest:
            self._begin_line(rest)
        return events

    def unfinished(self) -> Event | None:
        """What has come of an event whose end has not come."""
        if self._is_too_long:
            return None
        name, lines = self._name, [bytes(self._data)] if self._has_data else []
        field, value = _field(self._without_bom(bytes(self._line)))
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
        return Event(name, b"\n".join(lines)) if lines else None

    def _begin_line(self, part: bytes) -> None:
        self._line_bytes += len(part)
        self._check_length(self._line_bytes)
        if not self._is_too_long:
            self._line += part

    def _end_line(self, rest: bytes, events: list[Event]) -> None:
        length = self._line_bytes + len(rest)
        self._check_length(length)
        line = rest
        if self._line_bytes:
            line = bytes(self._line) + rest
            self._line.clear()
            self._line_bytes = 0
        if self._is_first_line:
            line = self._without_bom(line)
            self._is_first_line = False
        if length == 0:
            self._end_event(events)
        elif not self._is_too_long:
            self._take(line, length)

    def _take(self, line: bytes, length: int) -> None:
        field, value = _field(line)
        if field == b"data":
            if self._has_data:
                self._data += b"\n"
            self._data += value
            self._has_data = True
            self._data_bytes += length
        elif field == b"event":
            self._name = value

    def _end_event(self, events: list[Event]) -> None:
        if self._is_too_long:
            self.dropped += 1
        elif self._has_data:
            events.append(Event(self._name, bytes(self._data)))
        self._data.clear()
        self._data_bytes = 0
        self._has_data = False
        self._name = b""
        self._is_too_long = False

    def _check_length(self, line_bytes: int) -> None:
        if self._data_bytes + line_bytes > EVENT_BYTES_MAX:
            self._is_too_long = True
            self._line = bytearray()
            self._data = bytearray()

    def _without_bom(self, line: bytes) -> bytes:
        return line.removeprefix(_BOM) if self._is_first_line else line


def _field(line: bytes) -> tuple[bytes, bytes]:
    """The field of a line and its value; a comment's field is empty."""
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")
