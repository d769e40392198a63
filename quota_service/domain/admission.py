"""The rule of admission: a demand fits if spent + held + demand ≤ ceiling, in every meter of every matching
budget that blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quota_service.domain.amounts import Amounts, Limits, Meter
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Counters, Term


class Shortfall(NamedTuple):
    """One meter of one budget in which a demand does not fit. `position` is that of the term.

    `only_held`: it would fit without the live holds.
    """

    position: int
    meter: Meter
    only_held: bool


def short_meters(counters: Counters, demand: Amounts, ceilings: Limits) -> tuple[Meter, ...]:
    """The meters in which the demand does not fit under the ceilings."""
    return tuple(
        meter
        for meter in Meter
        if (ceiling := ceilings[meter]) is not None
        and counters.spent[meter] + counters.held[meter] + demand[meter] > ceiling
    )


def shortfalls(
    terms: Sequence[Term], counters: Sequence[Counters], demand: Amounts, mode: Mode
) -> tuple[Shortfall, ...]:
    """Where a demand does not fit, among the budgets of a mode. With HARD: why it is denied."""
    return tuple(
        Shortfall(position, meter, _only_held(state, demand, term.ceilings_with(state), meter))
        for position, (term, state) in enumerate(zip(terms, counters, strict=True))
        if term.mode is mode
        for meter in short_meters(state, demand, term.ceilings_with(state))
    )


def _only_held(counters: Counters, demand: Amounts, ceilings: Limits, meter: Meter) -> bool:
    ceiling = ceilings[meter]
    return ceiling is not None and counters.spent[meter] + demand[meter] <= ceiling


def count_blocked(counters: Counters, short: Sequence[Meter], demand: Amounts) -> Counters:
    """The counters of a budget that does not block, with what a hard one would have blocked added."""
    requests = Amounts(*(1 if meter in short else 0 for meter in Meter))
    amounts = Amounts(*(demand[meter] if meter in short else 0 for meter in Meter))
    return counters._replace(
        blocked_requests=counters.blocked_requests.plus(requests), blocked=counters.blocked.plus(amounts)
    )
