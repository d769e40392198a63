"""One pipelined connection to Valkey, shared by every call of a process.

Commands of one turn of the event loop leave in one write, and replies come back in order. Nothing is ever
sent twice by itself: a script whose reply was lost may have run, so only the caller, who has an idempotency
key, may repeat it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, cast

import hiredis
from redis.asyncio.connection import parse_url

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey.scripts import Script

_UNAVAILABLE = (
    "LOADING",
    "BUSY",
    "OOM",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "TRYAGAIN",
)
"""Replies that say: not now. Nothing was done."""


class ReplyError(Exception):
    """Valkey refused a command, which is a mistake of ours."""


class _Protocol(asyncio.Protocol):
    """Writes what a turn of the loop has gathered; hands replies out in order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.run_id = ""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, command: tuple[str | bytes | int, ...]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(hiredis.pack_command(cast(Any, command)))
        self._pending.append((future, self._loop.time()))
        return future

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NOT_YET:
            future, _ = self._pending.popleft()
            if not future.done():
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        while self._pending:
            future, _ = self._pending.popleft()
            if not future.done():
                future.set_exception(StoreUnavailable("Valkey closed the connection before it answered."))

    def oldest_wait_s(self) -> float:
        return self._loop.time() - self._pending[0][1] if self._pending else 0.0

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


_NOT_YET = object()


class Connection:
    """A connection that is made when it is first needed, and again after it was lost.

    `timeout_s`: a reply that takes longer ends the connection, because nothing behind it would be in time
    either; its calls raise StoreUnavailable.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))
        self._timeout_s = timeout_s
        self._protocol: _Protocol | None = None
        self._connecting = asyncio.Lock()
        self._watchdog: asyncio.Task[None] | None = None

    async def call(self, *command: str | bytes | int) -> Any:
        """Sends one command and returns its reply (bytes, int, None or lists of them)."""
        protocol = self._protocol
        if protocol is None or protocol.closed:
            protocol = await self._connect()
        return _checked(await protocol.send(command))

    async def run(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[str | bytes | int, ...]
    ) -> list[Any]:
        """Runs a script; brings its source where this Valkey does not know it yet and so has done nothing."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        try:
            return cast(list[Any], await self.call(*command))
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return cast(list[Any], await self.call("EVAL", script.source, len(keys), *keys, *arguments))

    @property
    def known_run_id(self) -> str:
        """The run id of the server that this is connected to; empty where it is connected to none."""
        protocol = self._protocol
        return "" if protocol is None or protocol.closed else protocol.run_id

    async def run_id(self) -> str:
        """The run id of the server, which is new with each of its starts; connects where need be. Raises
        StoreUnavailable.
        """
        return self.known_run_id or (await self._connect()).run_id

    async def close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
            self._watchdog = None
        if self._protocol is not None:
            self._protocol.close()

    async def _connect(self) -> _Protocol:
        try:
            # The wait for another call's attempt counts too: nobody waits for one attempt after the other.
            async with asyncio.timeout(self._timeout_s), self._connecting:
                if self._protocol is None or self._protocol.closed:
                    self._protocol = await self._greeted()
                if self._watchdog is None:
                    self._watchdog = asyncio.create_task(self._watch())
                return self._protocol
        except (OSError, TimeoutError, ReplyError) as error:
            raise StoreUnavailable("Valkey cannot be reached.") from error

    async def _greeted(self) -> _Protocol:
        protocol = await self._open()
        try:
            await self._greet(protocol)
        except BaseException:
            protocol.close()
            raise
        return protocol

    async def _open(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        if "path" in self._options:
            return (await loop.create_unix_connection(_Protocol, self._options["path"]))[1]
        host, port = self._options.get("host", "localhost"), self._options.get("port", 6379)
        tls = (
            ssl.create_default_context()
            if "SSL" in getattr(self._options.get("connection_class"), "__name__", "")
            else None
        )
        return (await loop.create_connection(_Protocol, host, port, ssl=tls))[1]

    async def _greet(self, protocol: _Protocol) -> None:
        if password := self._options.get("password"):
            user = self._options.get("username") or "default"
            _checked(await protocol.send(("AUTH", user, password)))
        if database := self._options.get("db"):
            _checked(await protocol.send(("SELECT", str(database))))
        _checked(await protocol.send(("PING",)))
        protocol.run_id = _run_id(_checked(await protocol.send(("INFO", "server"))))

    async def _watch(self) -> None:
        """One clock for all calls, in place of a timer a call."""
        while True:
            await asyncio.sleep(self._timeout_s / 8)
            protocol = self._protocol
            if protocol is not None and not protocol.closed and protocol.oldest_wait_s() > self._timeout_s:
                protocol.close()


def _checked(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        if str(reply).startswith(_UNAVAILABLE):
            raise StoreUnavailable("Valkey cannot take the command now.") from reply
        raise ReplyError(str(reply))
    return reply


def _run_id(information: bytes) -> str:
    for line in information.decode().splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:")
    raise ReplyError("The server does not tell its run id.")
