"""Takes several calls of a method from gRPC at a time.

grpc.aio asks its core for one call of a method, and for the next one some five turns of the event loop later.
Under load a turn takes milliseconds; calls then wait in the core, where nobody counts or refuses them, and
beyond a thousand it answers them CANCELLED. Each lane is one more request for a call.

This reaches into grpc.aio, which has no other way. Where its inside is not as known, there are no lanes: all
works, and only refusals take longer.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

LANES = 64

_KNOWN = {
    "_handle_rpc": (
        "method_name",
        "method_resolver",
        "interceptors",
        "rpc_state",
        "loop",
        "concurrency_exceeded",
    ),
    "_schedule_rpc_coro": ("rpc_coro", "rpc_state", "loop", "method_name"),
}

log = structlog.get_logger(__name__)


def known() -> bool:
    """Whether the inside of grpc.aio is as this module knows it."""
    try:
        return hasattr(cygrpc.AioServer, "_request_registered_call") and all(
            tuple(inspect.signature(getattr(cygrpc, name)).parameters) == parameters
            for name, parameters in _KNOWN.items()
        )
    except (AttributeError, TypeError, ValueError):
        return False


class Lanes:
    """The lanes of one started server, until it stops."""

    def __init__(
        self, server: grpc.aio.Server, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """`handlers` by path, such as `/quota.v1.QuotaService/Commit`: all of them registered methods."""
        self._server = server._server  # type: ignore[attr-defined]
        self._resolver = cygrpc._MethodResolver([], dict(handlers)) if known() else None
        self._paths = list(handlers)
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """To be called when the server has started."""
        if self._resolver is None:
            log.warning("one lane", grpcio=grpc.__version__)
            return
        for path in self._paths:
            for _ in range(LANES):
                self._keep(self._serve(path))

    async def _serve(self, path: str) -> None:
        raw, loop = path.encode(), asyncio.get_running_loop()
        while True:
            try:
                state = await self._server._request_registered_call(raw)
            except cygrpc._RequestCallError:
                return  # the server stops
            work = cygrpc._handle_rpc(path, self._resolver, (), state, loop, False)
            self._keep(cygrpc._schedule_rpc_coro(work, state, loop, path))

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
