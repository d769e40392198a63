"""How the stand-in for a model provider sends an answer: at the pace and with the faults it was asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Iterator

from tests.support.behaviour import Behaviour

_APART_S = 0.02
"""So long after each other two writes arrive as two."""


class Ended(Exception):
    """The connection is to be closed now."""


class Delivery:
    """Sends an answer at the pace, and with the faults, that were asked for."""

    def __init__(self, writer: asyncio.StreamWriter, behaviour: Behaviour) -> None:
        self._writer = writer
        self._behaviour = behaviour
        self._chunked = False

    async def send(self, content_type: str, parts: list[bytes]) -> None:
        behaviour = self._behaviour
        if behaviour.gzip:
            parts = [*_compressed(parts)]
        is_whole = len(parts) == 1
        self._chunked = not is_whole or behaviour.no_length
        self._head(content_type, len(parts[0]))
        if is_whole and (behaviour.delay_ms or behaviour.cut_after >= 0):
            parts = _cut(parts[0], behaviour.pieces)
        for number, part in enumerate(parts):
            if number == behaviour.cut_after:
                await self._break_off()
            await self._part(part)
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        if behaviour.length_off:
            raise Ended

    def _head(self, content_type: str, size: int) -> None:
        length = f"content-length: {size + self._behaviour.length_off}"
        encoding = "content-encoding: gzip\r\n" if self._behaviour.gzip else ""
        framing = "transfer-encoding: chunked" if self._chunked else length
        ending = "connection: close\r\n" if self._behaviour.length_off else ""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{encoding}{ending}{framing}\r\n\r\n"
        self._writer.write(head.encode())

    async def _part(self, part: bytes) -> None:
        if self._behaviour.delay_ms:
            await self._writer.drain()
            await asyncio.sleep(self._behaviour.delay_ms / 1_000)
        for piece in _parted(part) if self._behaviour.split_utf8 else [part]:
            self._writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if self._chunked else piece)
            if self._behaviour.split_utf8:
                await asyncio.sleep(_APART_S)

    async def _break_off(self) -> None:
        await self._writer.drain()
        await asyncio.sleep(_APART_S)  # a reset takes with it what has not been read yet
        if self._behaviour.reset:
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        raise Ended


def _compressed(parts: list[bytes]) -> Iterator[bytes]:
    packing = zlib.compressobj(wbits=31)
    for part in parts[:-1]:
        yield packing.compress(part) + packing.flush(zlib.Z_SYNC_FLUSH)
    yield packing.compress(parts[-1]) + packing.flush()


def _cut(body: bytes, pieces: int) -> list[bytes]:
    size = max(1, -(-len(body) // max(1, pieces)))
    return [body[start : start + size] for start in range(0, len(body), size)]


def _parted(part: bytes) -> list[bytes]:
    """In two: within its first character of several bytes, else in the middle."""
    at = next((place + 1 for place, byte in enumerate(part) if byte >= 0xC0), len(part) // 2)
    return [piece for piece in (part[:at], part[at:]) if piece]
