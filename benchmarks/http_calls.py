"""Calls over HTTP/1.1 on connections that stay, with as little work as possible around them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class CallFailed(Exception):
    """An answer that is none. The text is how it begins."""


class Wait(NamedTuple):
    """How long a call took until the first byte of its body, and until the last one; seconds."""

    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A POST as it is sent. `is_chunked`: its answer comes in chunks."""

    raw: bytes
    is_chunked: bool

    @classmethod
    def of(cls, path: str, headers: Mapping[str, str], body: Any, *, is_chunked: bool = False) -> HttpRequest:
        encoded = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: gateway", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, f"content-length: {len(encoded)}", "", ""])
        return cls(raw=head.encode() + encoded, is_chunked=is_chunked)


async def repeated(
    address: str, request: HttpRequest, seconds: float, connections: int, pause_s: float
) -> Sequence[Wait]:
    """The waits of calls made one after the other, with a pause between them, on each of so many connections.
    Raises CallFailed.
    """
    until_s = time.perf_counter() + seconds
    runs = await asyncio.gather(*(_repeated(address, request, until_s, pause_s) for _ in range(connections)))
    return [wait for run in runs for wait in run]


async def _repeated(address: str, request: HttpRequest, until_s: float, pause_s: float) -> list[Wait]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    waits = []
    try:
        while time.perf_counter() < until_s:
            waits.append(await _called(reader, writer, request))
            await asyncio.sleep(pause_s)
    finally:
        writer.close()
    return waits


async def _called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: HttpRequest) -> Wait:
    begun_s = time.perf_counter()
    writer.write(request.raw)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise CallFailed((head + await reader.read(500)).decode(errors="replace"))
    first_s = 0.0
    if request.is_chunked:
        while (size := int(await reader.readline(), 16)) > 0:
            await reader.readexactly(size + 2)
            first_s = first_s or time.perf_counter()
        await reader.readline()
    else:
        await reader.readexactly(_length(head))
    ended_s = time.perf_counter()
    return Wait((first_s or ended_s) - begun_s, ended_s - begun_s)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise CallFailed(head.decode(errors="replace"))
