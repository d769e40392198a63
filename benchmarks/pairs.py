"""Pairs of Authorize and Commit, sent over connections that wait for nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

from benchmarks import open_loop, scenario
from benchmarks.open_loop import Answer, Connection
from quota.v1 import quota_pb2, types_pb2

OK, RESOURCE_EXHAUSTED = 0, 8
TICK_S = 0.001
SETTLE_S = 1.0
QUIET_S = 60


@dataclass(slots=True, kw_only=True)
class Phase:
    """What calls at one rate came to. Waits run from when a call was due to its answer. `denied`: Authorizes
    that were answered, but granted nothing. `wrong`: answers that there must not be.
    """

    name: str
    offered: int = 0
    seconds: float = 0.0
    server_cpu_s: float = 0.0
    stolen_percent: float = 0.0
    memory_bytes: list[int] = field(default_factory=list)
    admitted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    committed_s: list[float] = field(default_factory=list)
    commits_refused: int = 0
    denied: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def growth_percent(self) -> float:
        """From the memory in use a tenth into the phase, when what the rate needs is there, to its end."""
        settled = self.memory_bytes[len(self.memory_bytes) // 10]
        return 100 * (self.memory_bytes[-1] - settled) / settled if settled else 0.0


class Pairs:
    """Sends pairs, and books what they come to."""

    def __init__(self, connections: list[Connection], address: str) -> None:
        self._connections = connections
        self._turn = cycle(connections)
        self._requests = scenario.authorize_requests(scenario.NESTED)
        self._authorize = open_loop.headers(scenario.AUTHORIZE, address)
        self._commit = open_loop.headers(scenario.COMMIT, address)

    async def closed(self, phase: Phase, seconds: float, callers: int) -> None:
        """Each caller begins its next pair when its last has ended."""
        begun = time.perf_counter()
        free = asyncio.Semaphore(callers)
        while time.perf_counter() - begun < seconds:
            await free.acquire()
            self._begin(phase, time.perf_counter(), free.release)
        phase.seconds = time.perf_counter() - begun
        await self._quiet()

    async def open(self, phase: Phase, seconds: float, rate: float) -> None:
        """So many pairs a second, evenly."""
        begun, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - begun) < seconds:
            while sent < now * rate:
                self._begin(phase, begun + sent / rate, lambda: None)
                sent += 1
            await asyncio.sleep(TICK_S)
        phase.seconds = time.perf_counter() - begun
        await self._quiet()

    def _begin(self, phase: Phase, due: float, ended: Callable[[], None]) -> None:
        phase.offered += 1

        def authorized(answer: Answer) -> None:
            name = _granted(phase, answer)
            if name:
                self._settle(phase, name, ended)
            else:
                ended()

        next(self._turn).call(self._authorize, next(self._requests), due, authorized)

    def _settle(self, phase: Phase, name: str, ended: Callable[[], None]) -> None:
        def committed(answer: Answer) -> None:
            if answer.status == OK:
                phase.committed_s.append(answer.seconds)
            elif answer.status == RESOURCE_EXHAUSTED:
                phase.commits_refused += 1
            else:
                phase.wrong[f"Commit ended with status {answer.status}"] += 1
            ended()

        request = scenario.commit_request(name)
        next(self._turn).call(self._commit, request, time.perf_counter(), committed)

    async def _quiet(self) -> None:
        until = time.perf_counter() + QUIET_S
        while any(connection.in_flight for connection in self._connections):
            if time.perf_counter() > until:
                raise TimeoutError(f"calls were not answered within {QUIET_S} s")
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE_S)


def _granted(phase: Phase, answer: Answer) -> str:
    """The reservation, "" where there is none."""
    if answer.status == RESOURCE_EXHAUSTED:
        phase.refused_s.append(answer.seconds)
    elif answer.status != OK:
        phase.wrong[f"Authorize ended with status {answer.status}"] += 1
    else:
        response = quota_pb2.AuthorizeResponse.FromString(answer.message)
        if response.decision == types_pb2.DECISION_ALLOW:
            phase.admitted_s.append(answer.seconds)
            return response.reservation.name
        phase.denied += 1
    return ""


def quantile_ms(waits_s: list[float], part: float) -> float:
    """A quantile in milliseconds; NaN of nothing."""
    if not waits_s:
        return float("nan")
    return sorted(waits_s)[min(len(waits_s) - 1, int(len(waits_s) * part))] * 1_000
