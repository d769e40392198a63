"""Calls that are sent when they are due, whether or not earlier ones have been answered.

A gRPC client costs as much processor time a call as the server that it measures, and both share the machine
here. This one writes HTTP/2 frames itself: headers that never change are encoded once, and of an answer no
more is read than its status and its message.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_FRAME_HEADER = 9
_WINDOW = 1 << 30
_REFILL = 1 << 20
_STATUS = b"grpc-status"
UNAVAILABLE = 14


class Answer(NamedTuple):
    """How a call ended, and after how long. The time runs from when the call was due, so that waiting for a
    place on the connection counts.
    """

    status: int
    message: bytes
    seconds: float


Done = Callable[[Answer], None]


class _Stream:
    __slots__ = ("body", "done", "due")

    def __init__(self, due: float, done: Done) -> None:
        self.due = due
        self.done = done
        self.body = b""


class Connection(asyncio.Protocol):
    """One connection to a server. Calls never wait for each other, but for the server's flow control."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._received = b""
        self._window = 65_535
        self._unread = 0
        self._waiting: deque[bytes] = deque()
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # No table of headers: each answer can then be read without remembering earlier ones.
        settings = struct.pack("!HIHI", 0x1, 0, 0x4, _WINDOW)
        update = struct.pack("!I", _WINDOW)
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, update)
        )

    def call(self, headers: bytes, message: bytes, due: float, done: Done) -> None:
        """Sends a serialized request; `done` hears how it ended."""
        if self.gone:
            done(Answer(UNAVAILABLE, b"", time.perf_counter() - due))
            return
        number, self._next = self._next, self._next + 2
        self._streams[number] = _Stream(due, done)
        body = b"\0" + len(message).to_bytes(4, "big") + message
        frames = _frame(_HEADERS, _END_HEADERS, number, headers) + _frame(_DATA, _END_STREAM, number, body)
        self._window -= len(body)
        if self._window < 0 or self._waiting:
            self._window += len(body)
            self._waiting.append(frames)
        else:
            self._write(frames)

    @property
    def in_flight(self) -> int:
        return len(self._streams)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at, end = 0, len(received)
        while end - at >= _FRAME_HEADER:
            length = received[at] << 16 | received[at + 1] << 8 | received[at + 2]
            after = at + _FRAME_HEADER + length
            if after > end:
                break
            number = int.from_bytes(received[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._frame(received[at + 3], received[at + 4], number, received[at + 9 : after])
            at = after
        self._received = received[at:]

    def connection_lost(self, exception: Exception | None) -> None:
        self.gone = True
        now = time.perf_counter()
        for stream in self._streams.values():
            stream.done(Answer(UNAVAILABLE, b"", now - stream.due))
        self._streams.clear()

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == _HEADERS:
            if flags & _END_STREAM:
                self._end(number, _status(payload))
        elif kind == _DATA:
            self._read(number, payload)
        elif kind == _RST_STREAM:
            self._end(number, UNAVAILABLE)
        elif kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE and number == 0:
            self._window += int.from_bytes(payload, "big")
            self._resume()

    def _read(self, number: int, payload: bytes) -> None:
        if number in self._streams:
            self._streams[number].body += payload
        self._unread += len(payload)
        if self._unread >= _REFILL:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack("!I", self._unread)))
            self._unread = 0

    def _end(self, number: int, status: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.done(Answer(status, stream.body[5:], time.perf_counter() - stream.due))

    def _resume(self) -> None:
        while self._waiting and self._window > 0:
            frames = self._waiting.popleft()
            self._window -= len(frames)
            self._write(frames)

    def _write(self, frames: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frames)


async def connect(address: str) -> Connection:
    """A connection to `host:port`."""
    host, _, port = address.rpartition(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    return connection


def headers(path: str, authority: str) -> bytes:
    """The headers of every call of a method, encoded."""
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(value: str) -> bytes:
    raw = value.encode()
    assert len(raw) < 127, "longer texts need more than one byte of length"
    return bytes((len(raw),)) + raw


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


def _status(trailers: bytes) -> int:
    at = trailers.index(_STATUS) + len(_STATUS)
    return int(trailers[at + 1 : at + 1 + trailers[at]])
