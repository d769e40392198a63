"""Where Prometheus asks: `GET /metrics`, by HTTP/1.1, one answer for each connection.

It knows no more of HTTP than that takes. Whoever sends too much, too slowly, or beside too many others is cut
off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

from quota_service.addresses import AddressInUse
from quota_service.metrics.readings import Readings
from quota_service.metrics.rendering import rendered

PATH = "/metrics"
HEAD_BYTES_MAX = 16 * 1024
EXCHANGE_S = 5.0
CONNECTIONS_MAX = 32

Collect = Callable[[], Awaitable[Readings]]


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    more: str = ""


@asynccontextmanager
async def answering(address: str, collect: Collect) -> AsyncIterator[None]:
    """Answers on `host:port` until the block ends; an empty address: nowhere. Raises AddressInUse."""
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    endpoint = _Endpoint(collect)
    try:
        server = await asyncio.start_server(
            endpoint.connected, host.strip("[]"), int(port), limit=HEAD_BYTES_MAX
        )
    except OSError as error:
        raise AddressInUse(address) from error
    try:
        yield
    finally:
        server.close()
        await endpoint.close()


class _Endpoint:
    def __init__(self, collect: Collect) -> None:
        self._collect = collect
        self._connections: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._served(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        """Cuts all connections."""
        tasks = [*self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(EXCHANGE_S):
                await self._exchange(reader, writer)
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has gone, or does not come to the point
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer, is_head = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), False
        else:
            answer, is_head = await self._answer(head), head.startswith(b"HEAD ")
        writer.write(_encoded(answer, is_head))
        await writer.drain()

    async def _answer(self, head: bytes) -> _Answer:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(HTTPStatus.BAD_REQUEST)
        if words[1].partition("?")[0] != PATH:
            return _plain(HTTPStatus.NOT_FOUND)
        if words[0] not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body, content_type = rendered(await self._collect(), headers.get("accept", ""))
        return _Answer(HTTPStatus.OK, body, content_type)


def _plain(status: HTTPStatus, more: str = "") -> _Answer:
    return _Answer(status, f"{status.phrase}: metrics are at {PATH}\n".encode(), more=more)


def _encoded(answer: _Answer, is_head: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n{answer.more}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else answer.body)
