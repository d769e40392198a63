"""A TCP proxy that can be made to do what networks do: be slow, fall silent, lose replies, close halfway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_CHUNK = 65_536


class Mode(StrEnum):
    """What a proxy does with what passes through it."""

    PASS = "pass"
    DELAY = "delay"  # every chunk, in both directions, waits
    BLACKHOLE = "blackhole"  # connections are accepted and nothing is forwarded; it arrives when this is over
    HALF_CLOSE = "half-close"  # clients see the end of what the server says; what they say still arrives
    SWALLOW = "swallow"  # what clients say arrives; the replies are lost
    REFUSE = "refuse"  # no connection can be made, and those there were are gone


@dataclass(slots=True, eq=False)
class _Link:
    """A client's connection and the one to the target behind it. `lossy`: bytes of replies are missing."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    lossy: bool = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.target.transport.abort()


@dataclass(slots=True)
class Proxy:
    """Stands in front of `host:port` on a port of its own, which stays the same in every mode.

    Lives in the event loop that starts it; `lost` counts the chunks of replies that were swallowed.
    """

    host: str
    port: int
    mode: Mode = Mode.PASS
    delay_s: float = 0.0
    lost: int = 0
    _links: set[_Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _place: socket.socket | None = None
    _server: asyncio.Server | None = None

    async def start(self) -> int:
        """Opens a port and returns it."""
        # Bound and never listened on: it keeps the port ours while connections are refused.
        self._place = _bound(0)
        self._flows.set()
        await self._listen()
        return self.listening_on

    @property
    def listening_on(self) -> int:
        """The proxy's own port."""
        assert self._place is not None
        port: int = self._place.getsockname()[1]
        return port

    async def switch(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        """Changes what happens from now on, to connections that exist too.

        A connection whose replies were lost is cut when that is over: what came next would make no sense.
        """
        before, self.mode, self.delay_s = self.mode, mode, delay_s
        if mode is not before:
            for link in [link for link in self._links if link.lossy or mode is Mode.REFUSE]:
                link.abort()
        if mode is Mode.HALF_CLOSE:
            for link in self._links:
                _half_close(link)
        self._flows.clear() if mode is Mode.BLACKHOLE else self._flows.set()
        if mode is Mode.REFUSE:
            self._stop_listening()
        elif self._server is None:
            await self._listen()

    async def close(self) -> None:
        """Ends every connection and gives the port back."""
        self._stop_listening()
        for link in self._links:
            link.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._place is not None:
            self._place.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=_bound(self.listening_on))

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._flows.wait()
            await self._join(reader, writer)
        except (OSError, RuntimeError, asyncio.CancelledError):
            pass  # the target cannot be reached, or this is the end: the client sees a connection that is cut
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection(self.host, self.port)
        link = _Link(writer, ahead)
        self._links.add(link)
        if self.mode is Mode.HALF_CLOSE:
            _half_close(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(link, reader, ahead, replies=False))
                group.create_task(self._carry(link, behind, writer, replies=True))
        except* (OSError, RuntimeError):
            pass  # the connection was cut while something was on its way
        finally:
            link.abort()
            self._links.discard(link)

    async def _carry(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        while data := await source.read(_CHUNK):
            await self._flows.wait()
            if self.mode is Mode.DELAY:
                await asyncio.sleep(self.delay_s)
            if replies and (link.lossy or self.mode is Mode.SWALLOW):
                link.lossy = True
                self.lost += 1
                continue
            sink.write(data)
            await sink.drain()
        if not (replies and link.lossy):
            _end(sink)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of a store, and the store's URL through it; gone afterwards."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy(parts.hostname, parts.port)
    credentials = parts.netloc.rpartition("@")[0]
    at = f"{credentials}@" if credentials else ""
    port = await proxy.start()
    try:
        yield proxy, parts._replace(netloc=f"{at}{HOST}:{port}").geturl()
    finally:
        await proxy.close()


def _half_close(link: _Link) -> None:
    if not link.lossy:
        link.lossy = True
        _end(link.client)


def _end(sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # it has been closed meanwhile
        sink.write_eof()


def _bound(port: int) -> socket.socket:
    """A socket on that port (0: a free one) that others of ours may share."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    bound.setblocking(False)
    return bound
