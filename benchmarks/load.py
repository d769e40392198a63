"""Callers that never pause: each sends its next call when it has the answer to the last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import NamedTuple

import grpc.aio

from benchmarks.scenario import WrongAnswer

_Method = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

CALL_TIMEOUT_S = 10

Call = Callable[[bytes], Awaitable[bytes]]
"""What a caller does once: serialized request in, serialized response out."""


class Run(NamedTuple):
    """What one round came to. `failures`: what became of every call that failed; its caller stops."""

    seconds: float
    waits_s: list[float]
    answers: list[bytes]
    failures: list[str]

    @property
    def per_second(self) -> float:
        return len(self.waits_s) / self.seconds


class Target:
    """A server, reached over several connections: one alone would bound what can be in flight."""

    def __init__(self, channels: list[grpc.aio.Channel]) -> None:
        self._channels = channels

    def method(self, path: str) -> Call:
        """The method, its calls spread over the connections. Bytes pass untouched: the caller is no part of
        what is measured.
        """
        calls: cycle[_Method] = cycle([channel.unary_unary(path) for channel in self._channels])

        async def call(request: bytes) -> bytes:
            return await next(calls)(request, timeout=CALL_TIMEOUT_S)

        return call


@asynccontextmanager
async def connected(address: str, connections: int) -> AsyncIterator[Target]:
    """A server, over that many connections."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]  # else all would share one
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(connections)
        ]
        yield Target(channels)


async def drive(call: Call, requests: Iterator[bytes], *, in_flight: int, seconds: float) -> Run:
    """Sends requests until they are used up or the time is over."""
    run = Run(0.0, [], [], [])
    begun = time.perf_counter()
    deadline = begun + seconds

    async def caller() -> None:
        for request in requests:
            sent = time.perf_counter()
            if sent >= deadline:
                return
            try:
                answer = await call(request)
            except grpc.aio.AioRpcError as error:
                run.failures.append(f"{error.code().name}: {error.details()}")
                return
            except WrongAnswer as error:
                run.failures.append(str(error))
                return
            run.answers.append(answer)
            run.waits_s.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return run._replace(seconds=time.perf_counter() - begun)
