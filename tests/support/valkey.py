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
        yield Stores(connection, keys, ValkeyHoldStore(connection, keys), ValkeyEventLog(connection, keys))
    finally:
        await connection.close()


class Proxy:
    """Stands between a client and Valkey. `mute`: commands pass, replies are lost."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.mute = False
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

    def cut(self) -> None:
        """Ends every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers += [writer, ahead]
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, ahead, True), self._pump(behind, writer, False))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, to_server: bool) -> None:
        while data := await source.read(65536):
            if to_server:
                self.sent += data
            elif self.mute:
                continue
            sink.write(data)
        sink.close()
