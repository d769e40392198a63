"""P5 and P12: two workers beside one, and many requests in one call beside one in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from statistics import median

from benchmarks import scenario
from benchmarks.basics import CPU_UNKNOWN, ratio
from benchmarks.caller import Work, WrongAnswer
from benchmarks.laboratory import Round, Server, seed, served, stores
from benchmarks.outcome import Outcome, Told
from benchmarks.scenario import NESTED
from benchmarks.targets import FEW_CORES, Figure
from quota.v1 import quota_pb2

CYCLES, ROUND_S = 7, 1.0
CONNECTIONS = 32
"""So many that either worker gets its part: the kernel gives connections to workers, not calls."""

BATCH, BATCHES_IN_FLIGHT = 64, 8


async def workers(told: Told) -> Outcome:
    """P5. Both services are on the same stores."""
    number = "P5" if (os.cpu_count() or 1) >= FEW_CORES else "P5 by CPU"
    async with (
        stores() as started,
        served(started, workers=1, connections=CONNECTIONS) as one,
        served(started, workers=2, connections=CONNECTIONS) as two,
    ):
        await seed(one, [NESTED])
        pairs = []
        for cycle in range(CYCLES + 1):
            told(f"P5: cycle {cycle} of {CYCLES}")
            pairs.append((await _unary(one), await _unary(two)))
    return Outcome(figures=[workers_figure(number, pairs[1:])])  # the first one was to warm up


def workers_figure(number: str, pairs: list[tuple[Round, Round]]) -> Figure:
    """Of one worker and two, in each cycle."""
    one, two = zip(*pairs, strict=True)
    note = (
        f"{median(each.per_second for each in two):,.0f} ÷ {median(each.per_second for each in one):,.0f}/s;"
        f" CPU {median(each.cpu_us for each in two):.0f} ÷ {median(each.cpu_us for each in one):.0f} µs"
        f"; {os.cpu_count()} cores"
    )
    if number == "P5":
        return ratio(number, [after.per_second / before.per_second for before, after in pairs], note)
    if not all(each.cpu_us for each in one):
        return Figure(number=number, value=None, note=CPU_UNKNOWN)
    return ratio(number, [after.cpu_us / before.cpu_us for before, after in pairs], note)


async def batches(told: Told) -> Outcome:
    """P12."""
    async with stores() as started, served(started) as service:
        await seed(service, [NESTED])
        pairs = []
        for cycle in range(CYCLES + 1):
            told(f"P12: cycle {cycle} of {CYCLES}")
            batched, _ = await service.saturated(batching(), seconds=ROUND_S, in_flight=BATCHES_IN_FLIGHT)
            pairs.append((await _unary(service), batched))
    return Outcome(figures=[batches_figure(pairs[1:])])


def batches_figure(pairs: list[tuple[Round, Round]]) -> Figure:
    """Of unary calls and batches, in each cycle."""
    unary = median(each.per_second for each, _ in pairs)
    batched = median(each.per_second * BATCH for _, each in pairs)
    return ratio(
        "P12",
        [many.per_second * BATCH / one.per_second for one, many in pairs],
        f"{batched:,.0f} ÷ {unary:,.0f}/s; CPU {median(each.cpu_us / BATCH for _, each in pairs):.0f}"
        f" ÷ {median(each.cpu_us for each, _ in pairs):.0f} µs a decision",
    )


def batching() -> Work:
    """Authorizes, so many in each call."""
    path = "/quota.v1.QuotaService/AuthorizeBatch"
    return Work(path=path, requests=_batches(scenario.authorize_requests(NESTED)), check=_all_granted)


def _batches(requests: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        each = [quota_pb2.AuthorizeRequest.FromString(raw) for raw in islice(requests, BATCH)]
        yield quota_pb2.AuthorizeBatchRequest(requests=each).SerializeToString()


def _all_granted(answer: bytes) -> None:
    results = quota_pb2.AuthorizeBatchResponse.FromString(answer).results
    if len(results) != BATCH:
        raise WrongAnswer(f"AuthorizeBatch answered {len(results)} requests")
    for result in results:
        if not result.HasField("response"):
            raise WrongAnswer(f"AuthorizeBatch answered {result.error.message!r}")
        scenario.granted(result.response.SerializeToString(), NESTED)


async def _unary(service: Server) -> Round:
    found, _ = await service.saturated(scenario.authorizing(NESTED), seconds=ROUND_S)
    return found
