"""The proxy does to a connection what it says, and nothing when it is told to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.proxy import HOST, Mode, Proxy

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that answers every line with itself, and remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            async with self._news:
                self.heard.append(line)
                self._news.notify_all()
        writer.close()

    async def has_heard(self, line: bytes) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: line in self.heard)


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    proxy = Proxy(HOST, server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        yield echo, proxy
    finally:
        await proxy.close()
        server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection(HOST, proxy.listening_on)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer(ends: Ends, line: bytes, timeout_s: float = 5.0) -> bytes:
    reader, writer = ends
    writer.write(line)
    async with asyncio.timeout(timeout_s):
        return await reader.readline()


async def test_it_passes_and_delays() -> None:
    async with proxied() as (_, proxy), connected(proxy) as ends:
        assert await answer(ends, b"one\n") == b"one\n"
        await proxy.switch(Mode.DELAY, delay_s=0.1)
        began_s = time.monotonic()
        assert await answer(ends, b"two\n") == b"two\n"
        assert time.monotonic() - began_s >= 0.2  # there and back


async def test_a_swallowed_reply_was_to_something_that_happened_and_the_connection_is_cut_later() -> None:
    async with proxied() as (echo, proxy), connected(proxy) as ends:
        await proxy.switch(Mode.SWALLOW)
        with pytest.raises(TimeoutError):
            await answer(ends, b"one\n", timeout_s=0.2)
        await echo.has_heard(b"one\n")
        assert proxy.lost == 1
        await proxy.switch(Mode.PASS)
        with pytest.raises(ConnectionResetError):
            await answer(ends, b"two\n")
        async with connected(proxy) as new:
            assert await answer(new, b"three\n") == b"three\n"


async def test_what_a_black_hole_took_arrives_when_it_is_over() -> None:
    async with proxied() as (echo, proxy), connected(proxy) as ends:
        await proxy.switch(Mode.BLACKHOLE)
        with pytest.raises(TimeoutError):
            await answer(ends, b"one\n", timeout_s=0.2)
        assert echo.heard == []
        await proxy.switch(Mode.PASS)
        assert await ends[0].readline() == b"one\n"


async def test_a_half_closed_connection_still_carries_what_the_client_says() -> None:
    async with proxied() as (echo, proxy), connected(proxy) as ends:
        assert await answer(ends, b"one\n") == b"one\n"
        await proxy.switch(Mode.HALF_CLOSE)
        assert await answer(ends, b"two\n") == b""
        await echo.has_heard(b"two\n")


async def test_a_refusing_proxy_cuts_what_is_there_and_keeps_its_port() -> None:
    async with proxied() as (_, proxy):
        port = proxy.listening_on
        async with connected(proxy) as ends:
            assert await answer(ends, b"one\n") == b"one\n"
            await proxy.switch(Mode.REFUSE)
            with pytest.raises(ConnectionResetError):
                await answer(ends, b"two\n")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        await proxy.switch(Mode.PASS)
        async with connected(proxy) as ends:
            assert await answer(ends, b"three\n") == b"three\n"
        assert proxy.listening_on == port
