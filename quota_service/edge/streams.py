"""What surrounds a stream: the layers of every call, but for the time limit. A stream lasts as long as its
caller wants, and ends with the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
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
from quota_service.edge.decoding import Method, decoded
from quota_service.edge.traffic import Kind, Traffic, kind_of

WRITE_S = 1.0
"""How long a message that is on its way keeps its stream from being ended."""

StreamFunction = Callable[[Any, Context], AsyncGenerator[Message, None]]
"""A servicer's method that answers with many messages."""

ConversationFunction = Callable[[AsyncIterator[Any], Context], AsyncGenerator[Message, None]]
"""A servicer's method that takes and gives many messages."""


def surrounded(
    method: Method, function: StreamFunction, settings: CallSettings, traffic: Traffic
) -> GrpcMethod:
    """A servicer's method with its layers around it, for gRPC to call before it has read the request."""
    around = tuple(layer for layer in layers(traffic, Kind.LASTS) if layer is not timed)
    return layered(method, _written(function), around, settings)


def conversing(
    method: Method, function: ConversationFunction, settings: CallSettings, traffic: Traffic
) -> GrpcMethod:
    """As `surrounded`, for a method whose caller sends many messages, too."""
    around = tuple(layer for layer in layers(traffic, kind_of(method.name)) if layer is not timed)

    async def converse(call: Call) -> Answer:
        async with aclosing(function(_received(call), call.context)) as messages:
            async for message in messages:
                await _whole(call.context.write(message))
        return None

    return layered(method, converse, around, settings)


async def _received(call: Call) -> AsyncIterator[Message]:
    """Raises InvalidRequest."""
    while isinstance(raw := await call.context.read(), bytes):
        yield decoded(call.method, raw)


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
