"""What the rounds of a run come to: medians, and ratios to the trivial handler and to one budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.table import Table

from benchmarks.rounds import SCENES, TRIVIAL_OF, Cycle, Kind, Round

MANY_LIMITS_RATIO_MAX = 2.0
"""The target: how much longer than under one budget an Authorize may wait under many limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One kind of call. A ratio is the median of the cycles' own ratios, so that a slow second does not
    count.

    `per_second` and the CPU figures come from many calls in flight, the waits from one; scenes have waits
    alone. CPU is in microseconds a call: the server's, and that of Valkey and PostgreSQL; `None` where it is
    not known. `wait_p50_to_one_budget` is for the scenes that are compared with one budget,
    `wait_p50_to_one_budget_max` its target, if it has one.
    """

    kind: Kind
    calls: int
    per_second: float | None
    per_second_ratio: float | None
    server_cpu_us: float | None
    server_cpu_ratio: float | None
    stores_cpu_us: float | None
    wait_p50_ms: float
    wait_p50_ratio: float
    wait_p99_ms: float
    wait_p50_to_one_budget: float | None
    wait_p50_to_one_budget_max: float | None


def figures(busy: Sequence[Cycle], alone: Sequence[Cycle]) -> list[Figures]:
    """`busy`: cycles with many calls in flight, without the scenes; `alone`: with one."""
    return [_figures(kind, busy, alone) for kind in Kind]


def _figures(kind: Kind, busy: Sequence[Cycle], alone: Sequence[Cycle]) -> Figures:
    waits_s = sorted(wait for cycle in alone for wait in cycle[kind].run.waits_s)
    of_kind = [cycle for cycle in busy if kind in cycle]
    compared = kind in SCENES and kind is not Kind.ONE_BUDGET
    return Figures(
        kind=kind,
        calls=sum(len(cycle[kind].run.waits_s) for cycle in (*of_kind, *alone)),
        per_second=_median(_rate(cycle[kind]) for cycle in of_kind),
        per_second_ratio=_ratio(kind, of_kind, _rate),
        server_cpu_us=_median(_server_cpu_us(cycle[kind]) for cycle in of_kind),
        server_cpu_ratio=_ratio(kind, of_kind, _server_cpu_us),
        stores_cpu_us=_median(_stores_cpu_us(cycle[kind]) for cycle in of_kind),
        wait_p50_ms=median(waits_s) * 1e3,
        wait_p50_ratio=_ratio(kind, alone, _wait_p50_s) or 0.0,
        wait_p99_ms=waits_s[len(waits_s) * 99 // 100] * 1e3,
        wait_p50_to_one_budget=_ratio(kind, alone, _wait_p50_s, to=Kind.ONE_BUDGET) if compared else None,
        wait_p50_to_one_budget_max=MANY_LIMITS_RATIO_MAX if kind is Kind.MANY_LIMITS else None,
    )


def _rate(round_: Round) -> float:
    return round_.run.per_second


def _wait_p50_s(round_: Round) -> float:
    return median(round_.run.waits_s)


def _server_cpu_us(round_: Round) -> float | None:
    return _per_call_us(round_.server_cpu_s, round_)


def _stores_cpu_us(round_: Round) -> float | None:
    return _per_call_us(round_.stores_cpu_s, round_)


def _per_call_us(seconds: float | None, round_: Round) -> float | None:
    return None if seconds is None else seconds * 1e6 / len(round_.run.waits_s)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _ratio(
    kind: Kind, cycles: Sequence[Cycle], figure: Callable[[Round], float | None], to: Kind | None = None
) -> float | None:
    other_kind = to or TRIVIAL_OF.get(kind, Kind.TRIVIAL)
    ratios = []
    for cycle in cycles:
        own, other = figure(cycle[kind]), figure(cycle[other_kind])
        ratios.append(own / other if own is not None and other else None)
    return _median(ratios)


def table(results: Sequence[Figures], in_flight: int) -> Table:
    """The figures for people."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    found.add_column("")
    headings = (
        *(f"per second\n{in_flight} in flight", "÷ trivial"),
        *("server CPU\nµs a call", "÷ trivial", "stores' CPU\nµs a call"),
        *("p50 ms\n1 in flight", "÷ trivial", "p99 ms\n1 in flight", "calls"),
    )
    for heading in headings:
        found.add_column(heading, justify="right")
    for each in results:
        found.add_row(
            each.kind.value,
            _number(each.per_second, 0),
            _number(each.per_second_ratio, 2),
            _number(each.server_cpu_us, 0),
            _number(each.server_cpu_ratio, 2),
            _number(each.stores_cpu_us, 0),
            f"{each.wait_p50_ms:.2f}",
            f"{each.wait_p50_ratio:.2f}",
            f"{each.wait_p99_ms:.2f}",
            f"{each.calls:,}",
        )
    return found


def verdict(results: Sequence[Figures]) -> str:
    """How the scenes compare, in one line for people."""
    ratios = {each.kind: each.wait_p50_to_one_budget for each in results}
    many, diverted = ratios[Kind.MANY_LIMITS], ratios[Kind.DIVERTED]
    return (
        f"p50 ÷ one budget, 1 in flight: many limits {_number(many, 2)} (target: at most "
        f"{MANY_LIMITS_RATIO_MAX:g}), diverted {_number(diverted, 2)}"
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
