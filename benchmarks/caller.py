"""Callers of one server: as many calls in flight as are asked for, or so many a second.

Answers are looked at when the clock has stopped: a caller that shares its machine with the server should be
seen in the figures as little as possible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

from benchmarks import open_loop
from benchmarks.open_loop import Answer, Connection

TICK_S = 0.001
ANSWERED_S_MAX = 60.0


class WrongAnswer(Exception):
    """A call was answered, but not as it must be for the measurement to mean anything."""


class CallsFailed(Exception):
    """Calls failed or were answered wrongly. The text says how many, and what became of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The call that follows another one, made of its answer. `request` may raise WrongAnswer."""

    path: str
    request: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A method's path, and the serialized requests that are sent there. `check` raises WrongAnswer; it sees
    the last answer of each. With `then`, both calls count as one.
    """

    path: str
    requests: Iterator[bytes]
    check: Callable[[bytes], object]
    then: Second | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """What calls came to. Waits run from when a call was due to its answer, or that of the second call.
    `own_cpu_s`: what the caller itself took.
    """

    seconds: float = 0.0
    own_cpu_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def checked(self, check: Callable[[bytes], object]) -> Run:
        """Itself, if every call was answered as it should be. Raises CallsFailed."""
        for answer in self.answers:
            try:
                check(answer)
            except WrongAnswer as error:
                self.failures.append(str(error))
        if self.failures or not self.answers:
            first = self.failures[0] if self.failures else "none was answered"
            raise CallsFailed(f"{len(self.failures)} calls failed: {first}")
        return self


class Caller:
    """Connections to one server, which calls take in turn."""

    def __init__(self, connections: list[Connection], address: str) -> None:
        self._turn = cycle(connections)
        self._address = address

    async def saturate(self, work: Work, *, in_flight: int, seconds: float) -> Run:
        """Each of so many callers sends its next call when it has the answer to its last. Raises
        CallsFailed.
        """
        run, finished, calling = Run(), asyncio.Event(), in_flight
        begun, own = time.perf_counter(), time.process_time()

        def proceed() -> None:
            nonlocal calling
            now = time.perf_counter()
            request = next(work.requests, None) if now - begun < seconds else None
            if request is not None:
                send(request, now, proceed)
                return
            calling -= 1
            if not calling:
                finished.set()

        send = self._sender(work, run)
        for _ in range(in_flight):
            proceed()
        return await self._ended(run, work, finished, begun, own)

    async def paced(self, work: Work, *, per_second: float, seconds: float) -> Run:
        """Sends calls evenly, each when it is due, whether or not earlier ones have been answered. Raises
        CallsFailed.
        """
        run, finished, under_way = Run(), asyncio.Event(), 1
        begun, own = time.perf_counter(), time.process_time()

        def ended() -> None:
            nonlocal under_way
            under_way -= 1
            if not under_way:
                finished.set()

        send, sent = self._sender(work, run), 0
        while (now := time.perf_counter() - begun) < seconds:
            while sent < now * per_second:
                under_way += 1
                send(next(work.requests), begun + sent / per_second, ended)
                sent += 1
            await asyncio.sleep(TICK_S)
        ended()
        return await self._ended(run, work, finished, begun, own)

    def _sender(self, work: Work, run: Run) -> Callable[[bytes, float, Callable[[], None]], None]:
        """What sends one request, books what it comes to, and then calls back."""
        headers = open_loop.headers(work.path, self._address)
        second = work.then
        then_headers = open_loop.headers(second.path, self._address) if second else b""

        def book(answer: Answer, due: float, ended: Callable[[], None]) -> None:
            if answer.status:
                run.failures.append(f"status {answer.status}")
            else:
                run.answers.append(answer.message)
                run.waits_s.append(time.perf_counter() - due)
            ended()

        def send(request: bytes, due: float, ended: Callable[[], None]) -> None:
            next(self._turn).call(headers, request, due, lambda answer: book(answer, due, ended))

        def send_both(request: bytes, due: float, ended: Callable[[], None]) -> None:
            assert second is not None

            def go_on(answer: Answer) -> None:
                try:
                    follows = second.request(answer.message) if not answer.status else None
                except WrongAnswer as error:
                    run.failures.append(str(error))
                    ended()
                    return
                if follows is None:
                    book(answer, due, ended)
                else:
                    next(self._turn).call(then_headers, follows, due, lambda last: book(last, due, ended))

            next(self._turn).call(headers, request, due, go_on)

        return send_both if second else send

    async def _ended(self, run: Run, work: Work, finished: asyncio.Event, begun: float, own_s: float) -> Run:
        try:
            async with asyncio.timeout(ANSWERED_S_MAX):
                await finished.wait()
        except TimeoutError:
            raise CallsFailed(f"calls were not answered within {ANSWERED_S_MAX:g} s") from None
        run.seconds = time.perf_counter() - begun
        run.own_cpu_s = time.process_time() - own_s
        return run.checked(work.check)


@asynccontextmanager
async def connected(address: str, connections: int) -> AsyncIterator[Caller]:
    """A caller of a server, over that many connections."""
    opened = [await open_loop.connect(address) for _ in range(connections)]
    try:
        yield Caller(opened, address)
    finally:
        for connection in opened:
            connection.close()
