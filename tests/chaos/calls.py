"""Calls as a careful client makes them: repeated with the same key until somebody answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import Message

from quota.client import ApiError, Connection
from tests.chaos.journal import Journal, Unanswered

_RETRYABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_PAUSE_S = (0.02, 0.3)
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),  # also how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


class Answer(NamedTuple):
    """What a call came to: a message, or an error that no repeat will change. Seconds since the epoch."""

    asked_s: float
    at_s: float
    message: Any = None
    error: ApiError | None = None

    @property
    def error_text(self) -> str:
        return "" if self.error is None else f"{self.error.code.name}/{self.error.reason}: {self.error}"


class Caller:
    """Asks any of the servers. `patience_s`: how long it goes on after the run is over."""

    def __init__(
        self, servers: Sequence[Connection], journal: Journal, random: Random, *, patience_s: float = 45.0
    ) -> None:
        self._servers = servers
        self._journal = journal
        self._random = random
        self._patience_s = patience_s
        self._over_s: float | None = None

    def over(self) -> None:
        """Everything is healed: from now on calls get answers, or never will."""
        self._over_s = time.monotonic()

    async def ask(
        self,
        verb: str,
        key: str,
        method: Callable[[Connection], Any],
        request: Message,
        *,
        timeout_s: float,
        attempts: int | None = None,
    ) -> Answer | None:
        """The final answer, after as many attempts as it takes; `None` where there was none."""
        asked_s = time.time()
        left = attempts
        while True:
            answer, failure = await self._attempt(verb, method, request, timeout_s, asked_s)
            if answer is not None:
                return answer
            left = None if left is None else left - 1
            if left == 0:
                self._journal.answers[verb, "given up"] += 1
                return None
            if self._over_s is not None and time.monotonic() > self._over_s + self._patience_s:
                self._journal.tell(Unanswered(verb=verb, key=key, error=failure))
                return None
            await asyncio.sleep(self._random.uniform(*_PAUSE_S))

    async def _attempt(
        self,
        verb: str,
        method: Callable[[Connection], Any],
        request: Message,
        timeout_s: float,
        asked_s: float,
    ) -> tuple[Answer | None, str]:
        self._journal.attempts[verb] += 1
        server = self._random.choice(self._servers)
        try:
            message = await method(server)(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as failed:
            error = ApiError.of(failed)
            self._journal.answers[verb, f"{error.code.name} {error.reason}".strip()] += 1
            if _may_be_repeated(error):
                return None, f"{error.code.name}/{error.reason}: {error}"
            return Answer(asked_s, time.time(), error=error), ""
        return Answer(asked_s, time.time(), message=message), ""


def _may_be_repeated(error: ApiError) -> bool:
    """A connection that is cut in the middle may be anything to the transport, but then no server spoke."""
    return error.code in _RETRYABLE or (
        not error.reason and error.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    )


@asynccontextmanager
async def connections(ports: Sequence[int]) -> AsyncIterator[list[Connection]]:
    """One connection to each local port, made again whenever it is lost."""
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", _OPTIONS))
            for port in ports
        ]
        yield [Connection(channel) for channel in channels]
