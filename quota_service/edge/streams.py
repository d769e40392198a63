"""What surrounds a stream: the layers of every call, but for the time limit. A stream lasts as long as its
caller wants, and ends with the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from quota_service.edge.calls import (
    Answer,
    Call,
    CallSettings,
    Context,
    GrpcMethod,
    Handler,
    Layer,
    Method,
    decoded,
    guarded,
    identified,
    layered,
    observed,
    shed,
    translated,
)
from quota_service.edge.errors import ServerStopping

StreamFunction = Callable[[Any, Context], AsyncGenerator[Message, None]]
"""A servicer's method that answers with many messages."""


class Streams:
    """The streams of one server, under way."""

    def __init__(self) -> None:
        self._ends: set[asyncio.Timeout] = set()
        self._ended = False

    def end(self) -> None:
        """Ends all of them, and those to come, as UNAVAILABLE."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for end in self._ends:
            end.reschedule(now)

    def surrounded(self, method: Method, function: StreamFunction, settings: CallSettings) -> GrpcMethod:
        """A servicer's method with all layers around it, for gRPC to call with undecoded requests."""
        layers: tuple[Layer, ...] = (guarded, identified, observed, translated, shed, self._endable)
        bounds = replace(settings, in_flight_max=settings.streams_max)
        return layered(method, _written(function), layers, bounds)

    def _endable(self, handler: Handler, _: CallSettings) -> Handler:
        """Innermost, as the time limit of other calls: only the stream itself lasts."""

        async def run(call: Call) -> Answer:
            if self._ended:
                raise _stopping()
            end = asyncio.timeout(None)
            self._ends.add(end)
            try:
                async with end:
                    return await handler(call)
            except TimeoutError:
                if end.expired():
                    raise _stopping() from None
                raise
            finally:
                self._ends.discard(end)

        return run


def _stopping() -> ServerStopping:
    return ServerStopping("The server stops; begin the stream again.")


def _written(function: StreamFunction) -> Handler:
    async def write(call: Call) -> Answer:
        async with aclosing(function(decoded(call), call.context)) as messages:
            async for message in messages:
                await call.context.write(message)
        return None

    return write
