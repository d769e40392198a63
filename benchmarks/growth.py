"""P6 to P8 and P11: what a service that has much answers, beside one that has little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import filling, looking, scenario
from benchmarks.basics import ratio
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import (
    KEY_PREFIX,
    Laboratory,
    Server,
    first_answers,
    laboratory,
    seed,
    served,
    stores,
)
from benchmarks.outcome import Outcome, Told
from benchmarks.scenario import NESTED
from quota.v1 import quota_pb2
from quota_service.embedded import EmbeddedStores
from quota_service.stores.valkey.keys import Keys

CYCLES, LAST_CYCLES, ROUND_S = 5, 15, 0.7
"""The last step is compared with the target, the others are for the chart."""
READY_S_MAX = 300.0
POLL_S = 0.5

BUDGETS = (10, 10_000, 100_000)
HOLDS = (100, 100_000, 1_000_000)
ROWS = (0, 1_000_000, 10_000_000)
"""How much there is, step by step. What has little has the first of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What everything is cloned from: a hold that has been settled, and one that is open. Ids, not names."""

    settled: str
    open: str
    open_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How much there was, calls a second of much ÷ of little, one ratio a cycle, and how long the first
    answer took after the service was started on it.
    """

    size: int
    authorize: Sequence[float]
    commit: Sequence[float]
    ready_s: float

    def point(self) -> dict[str, object]:
        """As it is written."""
        return {
            "size": self.size,
            "authorize": list(self.authorize),
            "commit": list(self.commit),
            "ready_s": self.ready_s,
        }


Grow = Callable[[EmbeddedStores, Source, int, int], Awaitable[None]]
"""Makes everything from one number up to another one."""

Prove = Callable[[EmbeddedStores, Server, int], Awaitable[None]]
"""Raises CallsFailed where the service has less than that much."""

Beside = Callable[[Server, Laboratory], Awaitable[None]]
"""Looks at the service that has the most, and at the one that has little."""


async def budgets(told: Told) -> Outcome:
    """P6: API keys, each with a budget of its own."""

    async def grow(on: EmbeddedStores, _: Source, first: int, last: int) -> None:
        key = NESTED.subject.api_key
        await filling.budgets_and_keys(on, NESTED.organization, key, first, last)

    async def prove(_: EmbeddedStores, service: Server, size: int) -> None:
        await _granted_with(service, filling.KEYS.format(size))

    steps = await _grown("P6: budgets and keys", BUDGETS, grow, prove, told)
    note = f"loaded in {steps[-1].ready_s:.1f} s at the start"
    return Outcome(figures=[ratio("P6", steps[-1].authorize, note)], points=[step.point() for step in steps])


async def holds(told: Told) -> Outcome:
    """P7: live holds of one organization."""

    async def grow(on: EmbeddedStores, source: Source, first: int, last: int) -> None:
        await filling.holds(on, source.open, source.open_key, first, last)

    async def prove(on: EmbeddedStores, _: Server, size: int) -> None:
        await _live_at_least(on, size)

    steps = await _grown("P7: live holds", HOLDS, grow, prove, told)
    note = f"made anew in an empty Valkey in {steps[-1].ready_s:.1f} s at the start"
    return Outcome(figures=[ratio("P7", steps[-1].authorize, note)], points=[step.point() for step in steps])


async def ledger(told: Told) -> Outcome:
    """P8: rows of one organization; P11: looks at it."""
    looked: list[looking.Cycle] = []

    async def grow(on: EmbeddedStores, source: Source, first: int, last: int) -> None:
        await filling.ledger_rows(on, NESTED.organization, source.settled, first // 2 + 1, last // 2)

    async def prove(on: EmbeddedStores, _: Server, size: int) -> None:
        async with filling.connected(on) as connection:
            found = await connection.fetchval("SELECT count(*) FROM ledger_keys")
        if found < size:
            raise CallsFailed(f"the ledger has {found:,} rows in place of {size:,}")

    async def look(service: Server, little: Laboratory) -> None:
        told("P11: looks at the ledger and at a budget")
        looked.extend(await looking.measured(service, little.trivial))

    steps = await _grown("P8: ledger rows", ROWS, grow, prove, told, look)
    figures = [
        ratio("P8", steps[-1].authorize, "rows of holds and of their Commits, in two months"),
        ratio("P8 Commit", steps[-1].commit, "the same"),
        *looking.figures(looked),
    ]
    return Outcome(figures=figures, points=[step.point() for step in steps])


async def _grown(
    what: str, sizes: Sequence[int], grow: Grow, prove: Prove, told: Told, beside: Beside | None = None
) -> Sequence[Step]:
    async with laboratory() as little, stores() as much:
        source, there = await _source(much), 0
        found = [Step(size=sizes[0], authorize=[1.0], commit=[1.0], ready_s=0.0)]
        for size in sizes[1:]:
            told(f"{what}: making {size:,}")
            await grow(much, source, there + 1, size)
            there = size
            async with served(much) as service:
                ready_s = await _ready(service)
                await prove(much, service, size)
                for each in (much, little.stores):
                    await _quiet(each)
                told(f"{what}: {size:,} are there, first answer after {ready_s:.1f} s")
                count = LAST_CYCLES if size == sizes[-1] else CYCLES
                cycles = [await _cycle(service, little.service, number) for number in range(count + 1)][1:]
                found.append(_step(size, cycles, ready_s))
                if beside is not None and size == sizes[-1]:
                    await beside(service, little)
        return found


async def _source(on: EmbeddedStores) -> Source:
    """Founds the organization. When the service has stopped, all is in the ledger."""
    key = f"open-{0:012}"
    request = quota_pb2.AuthorizeRequest.FromString(next(scenario.authorize_requests(NESTED)))
    request.idempotency_key = key
    request.ttl.seconds = 12 * 3_600
    async with served(on) as service:
        await seed(service, [NESTED])
        settled, _ = await first_answers(service, NESTED)
        lasting = replace(scenario.authorizing(NESTED), requests=iter([request.SerializeToString()]))
        _, opened = await service.saturated(lasting, seconds=10, in_flight=1)
    return Source(settled=_id(settled), open=_id(opened[0]), open_key=key)


def _id(authorized: bytes) -> str:
    return scenario.granted(authorized, NESTED).rpartition("/")[2]


async def _ready(service: Server) -> float:
    """How long it takes until a call is granted: the service may have much to load. Raises CallsFailed."""
    begun = time.monotonic()
    while True:
        try:
            await first_answers(service, NESTED)
            return time.monotonic() - begun
        except CallsFailed:
            if time.monotonic() - begun > READY_S_MAX:
                raise
            await asyncio.sleep(POLL_S)


async def _quiet(on: EmbeddedStores) -> None:
    """Has the stores do now what they would do sooner or later: Valkey rewrites its file when it has been
    given much at once, PostgreSQL clears up what changes often and brings its log to the tables.
    """
    async with filling.connected(on) as connection:
        await connection.execute("VACUUM open_holds, window_balances")
        await connection.execute("CHECKPOINT")
    async with filling.valkey(on) as valkey:
        while b"aof_rewrite_in_progress:1" in await valkey.call("INFO", "persistence"):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def _granted_with(service: Server, api_key: str) -> None:
    """Raises CallsFailed where a call with this key is not granted under all four budgets."""
    request = quota_pb2.AuthorizeRequest.FromString(next(scenario.authorize_requests(NESTED)))
    request.subject.api_key = api_key
    work = replace(scenario.authorizing(NESTED), requests=iter([request.SerializeToString()]))
    await service.saturated(work, seconds=10, in_flight=1)


async def _live_at_least(on: EmbeddedStores, holds: int) -> None:
    """Raises CallsFailed where Valkey has fewer live holds."""
    async with filling.valkey(on) as valkey:
        found = await valkey.call("ZCARD", Keys(KEY_PREFIX).holds(NESTED.organization))
    if found < holds:
        raise CallsFailed(f"Valkey has {found:,} live holds in place of {holds:,}")


async def _cycle(much: Server, little: Server, number: int) -> tuple[float, float]:
    """Of one cycle: Authorize, then the Commits of all that it held, so that holds do not become more. The
    two begin in turn.
    """
    rates = {}
    for service in (little, much) if number % 2 else (much, little):
        authorized, answers = await service.saturated(scenario.authorizing(NESTED), seconds=ROUND_S)
        committed, _ = await service.saturated(scenario.committing(NESTED, answers), seconds=60)
        rates[service.address] = (authorized.per_second, committed.per_second)
    (authorize, commit), (little_authorize, little_commit) = rates[much.address], rates[little.address]
    return authorize / little_authorize, commit / little_commit


def _step(size: int, cycles: Sequence[tuple[float, float]], ready_s: float) -> Step:
    authorize, commit = zip(*cycles, strict=True)
    return Step(size=size, authorize=authorize, commit=commit, ready_s=ready_s)
