"""What a supervisor and its workers tell each other, over a socket that each of them has one end of."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from quota_service.config import Settings
from quota_service.metrics.readings import Readings

_LENGTH_BYTES = 4


class Begin(msgspec.Struct, tag=True, frozen=True):
    """To a worker, first: who it is, and what it is to serve with. So no secret is on a command line."""

    number: int
    settings: Settings


class Demonstrate(msgspec.Struct, tag=True, frozen=True):
    """To a worker: load the demonstration, with these options of the command."""

    options: dict[str, str | int | bool]


class Measure(msgspec.Struct, tag=True, frozen=True):
    """To a worker: tell the readings."""


class Stop(msgspec.Struct, tag=True, frozen=True):
    """To a worker: drain, and end. It also ends where its supervisor has."""


class Answers(msgspec.Struct, tag=True, frozen=True):
    """From a worker: it answers."""


class Demonstrated(msgspec.Struct, tag=True, frozen=True):
    """From a worker: the demonstration is there."""


class Measured(msgspec.Struct, tag=True, frozen=True):
    """From a worker: what it has counted so far."""

    readings: Readings


class Failed(msgspec.Struct, tag=True, frozen=True):
    """From a worker: it cannot do what it was told, and why, in the words of the command."""

    message: str
    code: int
    details: tuple[str, ...] = ()
    hint: str = ""


Message = Begin | Demonstrate | Measure | Stop | Answers | Demonstrated | Measured | Failed


def _of_text(type_: type, text: Any) -> Any:
    return type_(text)


# Paths among the settings go as text.
_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message, dec_hook=_of_text)


class Link:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def tell(self, message: Message) -> None:
        """Whoever has gone is told nothing."""
        if not self._writer.is_closing():
            raw = _encoder.encode(message)
            self._writer.write(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)

    async def told(self) -> None:
        """Waits until what was told has left."""
        with suppress(OSError):  # nobody is there any more
            await self._writer.drain()

    async def hear(self) -> Message | None:
        """The next message; `None` when the other end has gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            return _decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        self._writer.close()
