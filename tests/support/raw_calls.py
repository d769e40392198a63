"""Calls to a gateway as bytes on a connection: nothing is added to what a test sends."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterable
from typing import Any, NamedTuple

ANSWER_S = 30


class Answered(NamedTuple):
    """`headers`: names in lower case; the last of a name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    address: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    chunks: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Answered:
    """POSTs with those headers, in that order, `host` and the body's length. `chunks`: in so many, of no told
    length. The answer must end with its connection.
    """
    host, _, port = address.rpartition(":")
    length = ("transfer-encoding", "chunked") if chunks else ("content-length", str(len(body)))
    lines = [("host", "gateway"), *headers, length, ("connection", "close")]
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(head.encode("latin-1") + (_chunked(body, chunks) if chunks else body))
            return _parsed(await reader.read())
    finally:
        writer.close()


def _chunked(body: bytes, chunks: int) -> bytes:
    size = -(-len(body) // chunks)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def _parsed(answer: bytes) -> Answered:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    split = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in split}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answered(int(first.split()[1]), headers, body)


def _joined(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole
