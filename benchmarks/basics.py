"""P1 to P4: Authorize, Commit and both, beside the trivial answer to the same request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from statistics import median

from benchmarks import scenario
from benchmarks.laboratory import Laboratory, Round, Server
from benchmarks.outcome import Point, Told
from benchmarks.scenario import NESTED
from benchmarks.targets import Figure

WARM_UP_S = 1.0
HALF = 0.5
"""Of the rate that saturates Authorize: the load under which waits are compared."""

CPU_UNKNOWN = "this system does not tell what processes have used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One round of each kind, one after the other: what slows the machine slows them all."""

    trivial: Round
    authorize: Round
    trivial_commit: Round
    commit: Round
    pair: Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One round of each at the same rate, that does not saturate."""

    trivial: Round
    authorize: Round


async def saturated(laboratory: Laboratory, *, seconds: float) -> Cycle:
    """As many calls as either server can answer. Commits are of what the Authorizes before them held."""
    service, trivial = laboratory.service, laboratory.trivial
    asked = scenario.authorizing(NESTED)
    constant, _ = await trivial.saturated(asked, seconds=seconds)
    authorized, answers = await service.saturated(asked, seconds=seconds)
    commits = scenario.committing(NESTED, answers)
    requests = list(commits.requests)
    constant_commit, _ = await trivial.saturated(replace(commits, requests=cycle(requests)), seconds=seconds)
    committed, _ = await service.saturated(replace(commits, requests=iter(requests)), seconds=seconds)
    paired, _ = await service.saturated(scenario.pairing(NESTED), seconds=seconds)
    return Cycle(
        trivial=constant,
        authorize=authorized,
        trivial_commit=constant_commit,
        commit=committed,
        pair=paired,
    )


async def paced(laboratory: Laboratory, *, per_second: float, seconds: float) -> Pace:
    """So many calls a second to either server."""

    async def measured(server: Server) -> Round:
        work = scenario.authorizing(NESTED)
        return await server.paced(work, per_second=per_second, seconds=seconds)

    return Pace(trivial=await measured(laboratory.trivial), authorize=await measured(laboratory.service))


async def measured(
    laboratory: Laboratory, *, cycles: int, seconds: float, told: Told
) -> tuple[Sequence[Cycle], Sequence[Pace]]:
    """So many cycles, then as many at half the rate. `told` hears how far it is."""
    await saturated(laboratory, seconds=WARM_UP_S)
    saturating = []
    for number in range(cycles):
        told(f"P1, P2, P4: cycle {number + 1} of {cycles}")
        saturating.append(await saturated(laboratory, seconds=seconds))
    rate = HALF * median(each.authorize.per_second for each in saturating)
    pacing = []
    for number in range(cycles):
        told(f"P3: cycle {number + 1} of {cycles}, at {rate:,.0f} calls a second")
        pacing.append(await paced(laboratory, per_second=rate, seconds=seconds))
    return saturating, pacing


def figures(cycles: Sequence[Cycle], paces: Sequence[Pace]) -> list[Figure]:
    """Each the median of the cycles' own ratios, so that a slow second does not count."""
    return [
        ratio(
            "P1",
            [each.authorize.per_second / each.trivial.per_second for each in cycles],
            f"{_rates(cycles, lambda each: each.authorize)} ÷ {_rates(cycles, lambda each: each.trivial)}",
        ),
        ratio(
            "P2",
            [each.commit.per_second / each.trivial_commit.per_second for each in cycles],
            f"{_rates(cycles, lambda each: each.commit)}"
            f" ÷ {_rates(cycles, lambda each: each.trivial_commit)}; all answered LEDGER",
        ),
        ratio(
            "P3",
            [each.authorize.p99_ms / each.trivial.p99_ms for each in paces],
            f"{median(each.authorize.p99_ms for each in paces):.1f}"
            f" ÷ {median(each.trivial.p99_ms for each in paces):.1f} ms"
            f" at {median(each.authorize.per_second for each in paces):,.0f}/s",
        ),
        _cpu(cycles),
    ]


def _cpu(cycles: Sequence[Cycle]) -> Figure:
    """P4."""
    pairs = [each.pair for each in cycles]
    trivial_us = [each.trivial.cpu_us + each.trivial_commit.cpu_us for each in cycles]
    if not all(trivial_us):
        return Figure(number="P4", value=None, note=CPU_UNKNOWN)
    return ratio(
        "P4",
        [pair.cpu_us / other_us for pair, other_us in zip(pairs, trivial_us, strict=True)],
        f"server {median(each.server_cpu_us for each in pairs):.0f}"
        f" + stores {median(each.stores_cpu_us for each in pairs):.0f} ÷ {median(trivial_us):.0f} µs",
    )


def points(cycles: Sequence[Cycle], paces: Sequence[Pace]) -> list[Point]:
    """Every round, as it is written."""
    return [*map(asdict, cycles), *map(asdict, paces)]


def ratio(number: str, rounds: Sequence[float], note: str) -> Figure:
    """The figure of a number that was measured some times over."""
    return Figure(number=number, value=median(rounds), note=note, rounds=rounds)


def _rates(cycles: Sequence[Cycle], kind: Callable[[Cycle], Round]) -> str:
    rounds = [kind(each) for each in cycles]
    per_second = median(each.per_second for each in rounds)
    return f"{per_second:,.0f}/s ({median(each.server_cpu_us for each in rounds):.0f} µs)"
