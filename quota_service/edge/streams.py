"""What surrounds a stream: the layers of every call, but for the time limit. A stream lasts as long as its
caller wants, and ends with the server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from quota_service.edge.calls import (
    Answer,
    Call,
    CallSettings,
    Context,
    GrpcMethod,
    Handler,
    Method,
    layered,
    layers,
    received,
    timed,
)
from quota_service.edge.traffic import Kind, Traffic

StreamFunction = Callable[[Any, Context], AsyncGenerator[Message, None]]
"""A servicer's method that answers with many messages."""


def surrounded(
    method: Method, function: StreamFunction, settings: CallSettings, traffic: Traffic
) -> GrpcMethod:
    """A servicer's method with its layers around it, for gRPC to call before it has read the request."""
    around = tuple(layer for layer in layers(traffic, Kind.LASTS) if layer is not timed)
    return layered(method, _written(function), around, settings)


def _written(function: StreamFunction) -> Handler:
    async def write(call: Call) -> Answer:
        async with aclosing(function(await received(call), call.context)) as messages:
            async for message in messages:
                await call.context.write(message)
        return None

    return write
