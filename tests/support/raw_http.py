"""HTTP/1.1 by hand: requests such as no client library would send, and answers by a script."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h11

from tests.support.model_provider import Script

JSON, EVENTS = "application/json", "text/event-stream"
ANSWER_S = 20.0
_APART_S = 0.01
"""So long after each other two writes arrive as two."""

Headers = Iterable[tuple[str, str]]


class Reply(NamedTuple):
    """What has come of an answer. `headers`: their names in lower case. `is_whole`: its end has come, too."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """What the body says of an error, in any dialect."""
        return self.json["error"]


class Connection:
    """One request to a server, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.CLIENT)
        # What is sent is none of its business: it is to be ready for the answer.
        self._state.send(h11.Request(method="POST", target="/", headers=[("host", "-")]))
        self._state.send(h11.EndOfMessage())
        self._reply = Reply(0, {}, b"", False)

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def reply(self, *, until: bytes | None = None) -> Reply:
        """The answer: all of it, or what has come when its body has `until`, or when it is cut off."""
        async with asyncio.timeout(ANSWER_S):
            while not self._reply.is_whole and (until is None or until not in self._reply.body):
                event = self._state.next_event()
                if event is h11.NEED_DATA:
                    if not await self._receive():
                        break
                else:
                    self._take(event)
        return self._reply

    async def asked_to_go_on(self) -> int:
        """Waits for a status that comes before the answer, such as 100."""
        async with asyncio.timeout(ANSWER_S):
            while (event := self._state.next_event()) is h11.NEED_DATA:
                assert await self._receive()
        assert isinstance(event, h11.InformationalResponse)
        return event.status_code

    async def _receive(self) -> bool:
        try:
            data = await self._reader.read(65_536)
            self._state.receive_data(data)
            return bool(data)
        except (ConnectionResetError, h11.RemoteProtocolError):
            return False

    def _take(self, event: Any) -> None:
        match event:
            case h11.Response():
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                self._reply = self._reply._replace(status=event.status_code, headers=headers)
            case h11.Data():
                self._reply = self._reply._replace(body=self._reply.body + bytes(event.data))
            case h11.EndOfMessage():
                self._reply = self._reply._replace(is_whole=True)


@asynccontextmanager
async def connection(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
    """`address`: `host:port`. At its end the caller is gone."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def ask(address: str, *parts: bytes, tls: ssl.SSLContext | None = None) -> Reply:
    """Sends these bytes and waits for the answer."""
    async with connection(address, tls) as there:
        await there.send(*parts)
        return await there.reply()


def head(path: str, *headers: tuple[str, str], method: str = "POST") -> bytes:
    """The beginning of a request, as it is given."""
    lines = [f"{method} {path} HTTP/1.1", "host: gateway", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *headers: tuple[str, str], chunks: int = 0) -> bytes:
    """A request with those headers, in that order, and the right length. `chunks`: in so many, of no told
    length.
    """
    if not chunks:
        return head(path, *headers, ("content-length", str(len(body)))) + body
    size = -(-len(body) // chunks)
    pieces = [chunk(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join([head(path, *headers, ("transfer-encoding", "chunked")), *pieces, LAST_CHUNK])


def script(
    *parts: bytes,
    kind: str = JSON,
    status: str = "200 OK",
    headers: Headers = (),
    length: int | None = None,
    apart: bool = False,
) -> Script:
    """An answer, for a stand-in. `kind`: its content-type; "": none. `length`: what content-length says;
    `None`: it is chunked. `apart`: every part arrives alone. It tells that the connection ends with it: else
    a proxy would send its next request there, and lose it.
    """
    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
    named = [*([("content-type", kind)] if kind else []), framing, ("connection", "close"), *headers]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named), "", ""]

    async def played() -> AsyncIterator[bytes]:
        yield "\r\n".join(lines).encode()
        for part in parts:
            if part:
                yield chunk(part) if length is None else part
            if apart:
                await asyncio.sleep(_APART_S)
        if length is None:
            yield LAST_CHUNK

    return played


def chunk(part: bytes) -> bytes:
    """A piece of a body in HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(part), part)


LAST_CHUNK = b"0\r\n\r\n"
