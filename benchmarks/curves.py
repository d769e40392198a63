"""Throughput against concurrency, and latency against rate: what charts are drawn of. They have no target."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks import basics, scenario
from benchmarks.laboratory import Laboratory, Round, laboratory
from benchmarks.outcome import Outcome, Point, Told
from benchmarks.scenario import NESTED

IN_FLIGHT = (1, 4, 16, 50, 100, 200)
SHARES = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9)
"""Of the rate that saturates Authorize."""

CYCLES, ROUND_S = 3, 0.7
PACED_S = 1.5


async def measured(told: Told) -> Outcome:
    """Both curves, of one service."""
    async with laboratory() as started:
        await basics.saturated(started, seconds=basics.WARM_UP_S)
        throughput = await _throughput(started, told)
        saturating = max(point["authorize_per_second"] for point in throughput)
        return Outcome(figures=[], points=[*throughput, *await _latency(started, saturating, told)])


async def _throughput(started: Laboratory, told: Told) -> list[Point]:
    found: list[Point] = []
    for in_flight in IN_FLIGHT:
        told(f"curve: {in_flight} calls in flight")
        rounds = [await _all(started, in_flight) for _ in range(CYCLES)]
        kinds = zip(("trivial", "authorize", "commit"), zip(*rounds, strict=True), strict=True)
        rates = {f"{kind}_per_second": median(each.per_second for each in of) for kind, of in kinds}
        found.append({"in_flight": in_flight, **rates})
    return found


async def _all(started: Laboratory, in_flight: int) -> Sequence[Round]:
    asked = scenario.authorizing(NESTED)
    trivial, _ = await started.trivial.saturated(asked, seconds=ROUND_S, in_flight=in_flight)
    authorized, answers = await started.service.saturated(asked, seconds=ROUND_S, in_flight=in_flight)
    committing = scenario.committing(NESTED, answers)
    committed, _ = await started.service.saturated(committing, seconds=ROUND_S, in_flight=in_flight)
    return trivial, authorized, committed


async def _latency(started: Laboratory, saturating: float, told: Told) -> list[Point]:
    found: list[Point] = []
    for share in SHARES:
        rate = share * saturating
        told(f"curve: {rate:,.0f} calls a second")
        paces = [await basics.paced(started, per_second=rate, seconds=PACED_S) for _ in range(CYCLES)]
        found.append(
            {
                "per_second": rate,
                "share": share,
                "trivial_p50_ms": median(each.trivial.p50_ms for each in paces),
                "trivial_p99_ms": median(each.trivial.p99_ms for each in paces),
                "authorize_p50_ms": median(each.authorize.p50_ms for each in paces),
                "authorize_p99_ms": median(each.authorize.p99_ms for each in paces),
            }
        )
    return found
