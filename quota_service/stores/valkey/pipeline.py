"""Commands and replies on one socket: written together, answered in order, each waited for only so long."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, cast

import hiredis

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey.attention import TICK_S, Attention

FOR_EVER = math.inf
Command = tuple[str | bytes | int, ...]
Endpoint = tuple[str, int]
"""A server's host and port."""

_NOT_YET = object()
_packed: Callable[[Command], bytes] = cast(Any, hiredis.pack_command)


_Sent = tuple[asyncio.Future[Any], float, float]
"""An outstanding reply, when its command was sent, and until when it is waited for: seconds of the attention
clock. A plain tuple, because every call makes one.
"""


class Packed(NamedTuple):
    """Commands made ready to be sent together."""

    written: bytes
    commands: int


def pack(commands: Sequence[Command]) -> Packed:
    return Packed(b"".join(map(_packed, commands)), len(commands))


class Pipeline(asyncio.Protocol):
    """Writes what a turn of the loop has gathered; hands replies out in order.

    `late`: somebody's patience ended, and since then no reply came as quickly as that patience asks.
    `recovered` is called when one did; `lost` when the connection has ended, for whatever reason.
    """

    def __init__(
        self, attention: Attention, *, recovered: Callable[[], None], lost: Callable[[Pipeline], None]
    ) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._pending: deque[_Sent] = deque()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._nobody: asyncio.Future[Any] = self._loop.create_future()  # waits for what is dropped
        self._nobody.cancel()
        self._attention = attention
        self._recovered, self._lost = recovered, lost
        self._transport: asyncio.Transport | None = None
        self._first_until_s = FOR_EVER  # not later than the first moment at which a patience ends
        self._lateness_s = 0.0
        self.late = False
        self.closed = False
        self.run_id = ""
        self.endpoint: Endpoint | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, command: Command, until_s: float = FOR_EVER) -> asyncio.Future[Any]:
        """The reply to come. It fails at `until_s`, but the command has been sent and may be carried out.

        Raises StoreUnavailable, and sends nothing, where another has been waiting for longer than this could.
        """
        attention, pending = self._attention, self._pending
        now_s = attention.now_s
        if self.closed:
            raise StoreUnavailable("Valkey closed the connection.")
        if not pending:
            attention.start()
        elif now_s - pending[0][1] >= until_s - now_s:
            raise StoreUnavailable("Valkey is not answering in time.")
        reply: asyncio.Future[Any] = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(_packed(command))
        pending.append((reply, now_s, until_s))
        if until_s < self._first_until_s:
            self._first_until_s = until_s
        return reply

    def send_packed(self, packed: Packed) -> asyncio.Future[Any]:
        """Sends commands at once, one behind the other. The last one's reply to come; the others' are
        dropped. Raises as `send`.
        """
        if self.closed or self._transport is None:
            raise StoreUnavailable("Valkey closed the connection.")
        if not self._pending:
            self._attention.start()
        self._flush()
        self._transport.write(packed.written)
        reply: asyncio.Future[Any] = self._loop.create_future()
        now_s = self._attention.now_s
        self._pending.extend(repeat((self._nobody, now_s, FOR_EVER), packed.commands - 1))
        self._pending.append((reply, now_s, FOR_EVER))
        return reply

    def oldest_wait_s(self) -> float:
        """How long the oldest outstanding reply has been waited for; 0 where there is none."""
        return self._attention.now_s - self._pending[0][1] if self._pending else 0.0

    def expire(self) -> bool:
        """Ends the waits whose time has come; returns whether anything is left to look after."""
        now_s = self._attention.now_s
        if now_s >= self._first_until_s:
            self._give_up(now_s)
        if self.late and not self._pending and not self.closed:
            # Nobody may be asking any more. Not what is replied counts, but how soon.
            self.send(("PING",)).cancel()
        return bool(self._pending)

    def close(self) -> None:
        """Ends the connection at once; outstanding replies fail."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOT_YET:
                waiter, sent_s, _ = self._pending.popleft()
                if not waiter.done():
                    waiter.set_result(reply)
                if self.late:
                    self._judge(sent_s)
        except (hiredis.ProtocolError, IndexError):  # whatever that is, it is not an answer to us
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        for waiter, _, _ in self._pending:
            if not waiter.done():
                waiter.set_exception(StoreUnavailable("Valkey closed the connection before it answered."))
        self._pending.clear()
        self._lost(self)

    def _flush(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _give_up(self, now_s: float) -> None:
        waiting = [sent for sent in self._pending if not sent[0].done()]
        for waiter, sent_s, until_s in waiting:
            if until_s <= now_s:
                self.late, self._lateness_s = True, until_s - sent_s
                waiter.set_exception(StoreUnavailable("Valkey did not answer in time."))
        self._first_until_s = min((sent[2] for sent in waiting if sent[2] > now_s), default=FOR_EVER)

    def _judge(self, sent_s: float) -> None:
        if self._attention.now_s - sent_s <= self._lateness_s + TICK_S:
            self.late = False
            self._recovered()
