"""What surrounds a stream: the layers of every call, but for the time limit. A stream lasts as long as its
caller wants, and ends with the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
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
    layered,
    layers,
    received,
    require_still,
    timed,
)
from quota_service.edge.decoding import Method
from quota_service.edge.traffic import Kind, Traffic

WRITE_S = 1.0
"""How long a message that is on its way keeps its stream from being ended."""

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
        request = await received(call)
        async with aclosing(function(request, call.context)) as messages:
            async for message in messages:
                await require_still(call, request)  # who may not call any more is told nothing more
                await _whole(call.context.write(message))
        return None

    return write


async def _whole(work: Awaitable[None]) -> None:
    """Ends what has begun before the stream may be ended: gRPC takes no answer while a message is on
    its way.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=WRITE_S)
        raise
