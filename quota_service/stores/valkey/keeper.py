"""Keeps one connection up, and tells callers at once while there is none: a circuit breaker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey.attention import TICK_S, Attention
from quota_service.stores.valkey.dialling import Dialler
from quota_service.stores.valkey.pipeline import Pipeline

PAUSE_S = 0.1
"""Between an attempt to connect that failed and the next; doubled with each."""

PAUSE_MAX_S = 1.0
ATTEMPT_MAX_S = 2.0
"""Whatever the timeout of calls: a server that takes longer to greet is tried anew."""

_UNREACHABLE = "Valkey cannot be reached."

Changed = Callable[[bool, BaseException | None], None]
"""Told when Valkey becomes unavailable (with what was seen, if anything was), and when it is back."""


class Keeper:
    """Connects when first asked, and again, unasked, whenever the connection is lost.

    The first attempt is waited for; while further ones are needed the breaker is open, and nobody waits.
    """

    def __init__(self, dialler: Dialler, *, timeout_s: float, changed: Changed | None) -> None:
        self._dialler = dialler
        self._timeout_s = timeout_s
        self._changed = changed
        self._told = True
        self._waiting: list[tuple[asyncio.Future[Pipeline], float]] = []
        self._work: asyncio.Task[None] | None = None
        self._attempted_s: float | None = None  # when the attempt began that is being made
        self._failure: BaseException | None = None  # of the last attempt: the breaker is open
        self._slow = False  # somebody's patience ended during the attempt
        self._closed = False
        self.attention = Attention(self._look)
        self.pipeline: Pipeline | None = None

    @property
    def available(self) -> bool:
        if self.pipeline is not None:
            return not self.pipeline.late
        return self._failure is None and not self._slow

    async def connected(self, until_s: float) -> Pipeline:
        """The connection; waits for it until then, or for the timeout if that is less. Raises
        StoreUnavailable.
        """
        if self.pipeline is not None:
            return self.pipeline
        if self._failure is not None or self._closed:
            raise StoreUnavailable(_UNREACHABLE) from self._failure
        self._begin()
        now_s = self.attention.now_s
        if self._attempted_s is not None and now_s - self._attempted_s >= until_s - now_s:
            raise StoreUnavailable(_UNREACHABLE)
        reached: asyncio.Future[Pipeline] = asyncio.get_running_loop().create_future()
        self._waiting.append((reached, min(until_s, now_s + self._timeout_s + TICK_S)))
        return await reached

    def end(self, pipeline: Pipeline) -> None:
        """Ends a connection that is of no use any more; another is made."""
        pipeline.close()
        self._lost(pipeline)

    async def close(self) -> None:
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            pipeline.close()
        self._dismiss(None)
        self.attention.stop()

    def _begin(self) -> None:
        if self._closed or (self._work is not None and not self._work.done()):
            return
        self._attempted_s = self.attention.now_s
        self.attention.start()
        self._work = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        pause_s = PAUSE_S
        while not await self._attempt():
            # Not all replicas at the same moment.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _attempt(self) -> bool:
        self._attempted_s = self.attention.now_s
        try:
            async with asyncio.timeout(min(self._timeout_s, ATTEMPT_MAX_S)):
                pipeline = await self._dialler.dial(self._new)
        except Exception as error:  # whatever it is: nobody else would try again
            self._failed(error)
            return False
        finally:
            self._attempted_s = None
        self._reached(pipeline)
        return not pipeline.closed

    def _new(self) -> Pipeline:
        return Pipeline(self.attention, recovered=self._tell, lost=self._lost)

    def _reached(self, pipeline: Pipeline) -> None:
        self._failure, self._slow = None, False
        self.pipeline = pipeline
        for reached, _ in self._waiting:
            if not reached.done():
                reached.set_result(pipeline)
        self._waiting.clear()
        self._tell()

    def _failed(self, error: BaseException) -> None:
        self._failure = error.with_traceback(None)  # kept for long, and its frames would be too
        self._dismiss(error)
        self._tell()

    def _lost(self, pipeline: Pipeline) -> None:
        if pipeline is self.pipeline:
            self.pipeline = None
            self._slow = pipeline.late
            self._begin()

    def _dismiss(self, error: BaseException | None) -> None:
        for reached, _ in self._waiting:
            if not reached.done():
                unreachable = StoreUnavailable(_UNREACHABLE)
                unreachable.__cause__ = error
                reached.set_exception(unreachable)
        self._waiting.clear()

    def _look(self) -> bool:
        pipeline = self.pipeline
        if pipeline is not None and pipeline.oldest_wait_s() > self._timeout_s:
            self.end(pipeline)
        busy = self.pipeline is not None and self.pipeline.expire()
        self._expire_waiting()
        self._tell()
        return busy or self._attempted_s is not None or bool(self._waiting)

    def _expire_waiting(self) -> None:
        now_s = self.attention.now_s
        for reached, until_s in self._waiting:
            if until_s <= now_s and not reached.done():
                self._slow = True
                reached.set_exception(StoreUnavailable(_UNREACHABLE))
        if self._waiting:
            self._waiting = [each for each in self._waiting if not each[0].done()]

    def _tell(self) -> None:
        available = self.available
        if available != self._told:
            self._told = available
            if self._changed is not None:
                self._changed(available, self._failure)
