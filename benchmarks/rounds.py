"""Rounds of calls, one kind after the other and again: what slows the machine slows them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from itertools import cycle
from typing import NamedTuple, TypeVar

from benchmarks import scenario
from benchmarks.load import Call, Run, Target, drive
from benchmarks.processes import cpu_seconds

SETTLE_S = 0.1
"""After each round, so that what it left to be written to the ledger is not the next one's burden."""


class Kind(StrEnum):
    """What is measured."""

    TRIVIAL = "trivial Authorize"
    AUTHORIZE = "Authorize"
    TRIVIAL_COMMIT = "trivial Commit"
    COMMIT = "Commit"
    TRIVIAL_PAIR = "trivial, both"
    PAIR = "Authorize + Commit"
    ONE_BUDGET = "one budget"
    MANY_LIMITS = "many limits"
    DIVERTED = "diverted"


SCENES = {
    Kind.ONE_BUDGET: scenario.ONE_BUDGET,
    Kind.MANY_LIMITS: scenario.MANY_LIMITS,
    Kind.DIVERTED: scenario.DIVERTED,
}
"""Authorizes that are compared with each other, with one call in flight."""


TRIVIAL_OF = {
    Kind.TRIVIAL_COMMIT: Kind.TRIVIAL_COMMIT,
    Kind.COMMIT: Kind.TRIVIAL_COMMIT,
    Kind.TRIVIAL_PAIR: Kind.TRIVIAL_PAIR,
    Kind.PAIR: Kind.TRIVIAL_PAIR,
}
"""What a kind is compared with: the same request, answered with a constant. All others: TRIVIAL."""


class Pids(NamedTuple):
    """The processes of the service: the server, and its stores."""

    server: int
    stores: tuple[int, ...]


class Round(NamedTuple):
    """One round of one kind. Processor seconds are `None` where the system does not tell."""

    run: Run
    server_cpu_s: float | None
    stores_cpu_s: float | None


Cycle = Mapping[Kind, Round]
Checked = TypeVar("Checked")


class Rounds:
    """Measures a service and a trivial server beside it."""

    def __init__(self, service: Target, trivial: Target, pids: Pids, trivial_pid: int) -> None:
        self._authorize = service.method(scenario.AUTHORIZE)
        self._commit = service.method(scenario.COMMIT)
        self._trivial_authorize = trivial.method(scenario.AUTHORIZE)
        self._trivial_commit = trivial.method(scenario.COMMIT)
        self._pids = pids
        self._trivial_pids = Pids(trivial_pid, ())
        self._requests = scenario.authorize_requests(scenario.NESTED)
        self._scenes = {kind: (scene, scenario.authorize_requests(scene)) for kind, scene in SCENES.items()}

    async def cycle(self, *, in_flight: int, seconds: float) -> Cycle:
        """One round of each kind but the scenes. The Commits are those of what the Authorizes before them
        were granted.
        """

        async def measure(call: Call, requests: Iterator[bytes], pids: Pids = self._pids) -> Round:
            return await _measured(call, requests, pids, in_flight, seconds)

        trivial = await measure(self._trivial_authorize, self._requests, self._trivial_pids)
        authorized = await measure(self._authorize, self._requests)
        commits = [scenario.commit_request(name) for name in _checked(authorized, _granted)]
        trivial_commit = await measure(self._trivial_commit, cycle(commits), self._trivial_pids)
        committed = await measure(self._commit, iter(commits))
        _checked(committed, scenario.in_ledger)
        trivial_pair = await measure(self._trivial_pair, self._requests, self._trivial_pids)
        paired = await measure(self._pair, self._requests)
        _checked(paired, scenario.in_ledger)
        return {
            Kind.TRIVIAL: trivial,
            Kind.AUTHORIZE: authorized,
            Kind.TRIVIAL_COMMIT: trivial_commit,
            Kind.COMMIT: committed,
            Kind.TRIVIAL_PAIR: trivial_pair,
            Kind.PAIR: paired,
        }

    async def scenes(self, *, seconds: float) -> Cycle:
        """One round of each scene, with one call in flight."""
        found = {}
        for kind, (scene, requests) in self._scenes.items():
            found[kind] = await _measured(self._authorize, requests, self._pids, 1, seconds)
            _checked(found[kind], partial(scenario.granted, scene=scene))
        return found

    async def _pair(self, request: bytes) -> bytes:
        reservation = _granted(await self._authorize(request))
        return await self._commit(scenario.commit_request(reservation))

    async def _trivial_pair(self, request: bytes) -> bytes:
        reservation = _granted(await self._trivial_authorize(request))
        return await self._trivial_commit(scenario.commit_request(reservation))


def _granted(answer: bytes) -> str:
    return scenario.granted(answer, scenario.NESTED)


async def _measured(
    call: Call, requests: Iterator[bytes], pids: Pids, in_flight: int, seconds: float
) -> Round:
    server_before, stores_before = cpu_seconds([pids.server]), cpu_seconds(pids.stores)
    run = await drive(call, requests, in_flight=in_flight, seconds=seconds)
    await asyncio.sleep(SETTLE_S)
    return Round(
        run,
        _difference(cpu_seconds([pids.server]), server_before),
        _difference(cpu_seconds(pids.stores), stores_before),
    )


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _checked(round_: Round, check: Callable[[bytes], Checked]) -> list[Checked]:
    """Every answer looked at, which is done after the round, because it takes time."""
    found = []
    for answer in round_.run.answers:
        try:
            found.append(check(answer))
        except scenario.WrongAnswer as error:
            round_.run.failures.append(str(error))
    return found
