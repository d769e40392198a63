"""The stores on a real Valkey, as the service wires them, and a proxy that loses replies on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import urlsplit

from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.events import ValkeyEventLog
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.runner import Runner
from tests.support.fence import unfenced


class Stores(NamedTuple):
    """What shares one connection."""

    connection: Connection
    keys: Keys
    holds: ValkeyHoldStore
    events: ValkeyEventLog


@contextlib.asynccontextmanager
async def opened(url: str, *, prefix: str = "", timeout_s: float = 10.0) -> AsyncIterator[Stores]:
    """`timeout_s` is generous by default: tests share a busy machine."""
    connection, keys = Connection(url, timeout_s=timeout_s), Keys(prefix)
    try:
        runner = unfenced(Runner(connection, keys))
        yield Stores(connection, keys, ValkeyHoldStore(runner), ValkeyEventLog(runner))
    finally:
        await connection.close()


class Proxy:
    """Stands between a client and Valkey, and can lose replies."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._accepted = 0
        self._muted = 0  # the connections up to this number
        self.sent = b""

    @property
    def url(self) -> str:
        assert self._server is not None
        credentials = self._target.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0.01)

    def mute(self) -> None:
        """Commands still pass; their replies are lost, except on connections made later."""
        self._muted = self._accepted

    def cut(self) -> None:
        """Ends every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._accepted += 1
        self._writers += [writer, ahead]
        with contextlib.suppress(OSError):
            await asyncio.gather(self._commands(reader, ahead), self._replies(behind, writer, self._accepted))

    async def _commands(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await client.read(65536):
            self.sent += data
            server.write(data)
        server.close()

    async def _replies(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, number: int) -> None:
        while data := await server.read(65536):
            if number > self._muted:
                client.write(data)
        client.close()
