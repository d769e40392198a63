"""The rule of admission: a demand fits if spent + held + demand ≤ ceiling in every meter of every matching
budget that blocks, and every matching rate limit has room for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quota_service.domain import ratelimit
from quota_service.domain.amounts import METERS, REQUEST_COST_MICROS_MAX, Amounts, Limits, Meter
from quota_service.domain.budget import Mode
from quota_service.domain.pricing import PICO_PER_MICRO, rate_for
from quota_service.domain.ratelimit import Gauge, RateTerm
from quota_service.domain.reservation import Hold
from quota_service.domain.terms import Alternative, Counters, Term, Terms


class Shortfall(NamedTuple):
    """One meter of one budget in which a demand does not fit. `position` is that of the term.

    `only_held`: it would fit without the live holds.
    """

    position: int
    meter: Meter
    only_held: bool


class Excess(NamedTuple):
    """A rate limit that has no room for an amount. `wait_ms`: how long until it has; `None`: never."""

    term: RateTerm
    amount: int
    room: int
    wait_ms: int | None


def largest_grant(
    alternative: Alternative, counters: Sequence[Counters], gauges: Sequence[Gauge], now_ms: int
) -> int | None:
    """The most output tokens with which the alternative fits; `None` where that is less than is of use."""
    hold, terms = alternative.hold, alternative.terms
    rooms = [
        (meter, ceiling - state.spent[meter] - state.held[meter])
        for term, state in zip(terms.budgets, counters, strict=True)
        if term.mode is Mode.HARD
        for meter, ceiling in enumerate(term.ceilings_with(state))
        if ceiling is not None
    ]
    rooms += [
        (rate.meter, ratelimit.room(rate, gauge, now_ms))
        for rate, gauge in zip(terms.rates, gauges, strict=True)
    ]
    most = min((_tokens_in(hold, Meter(meter), room) for meter, room in rooms), default=alternative.most)
    granted = min(most, alternative.most)
    return granted if granted >= alternative.least else None


def _tokens_in(hold: Hold, meter: Meter, room: int) -> int:
    """How many output tokens fit into room in a meter, at most those asked for; negative where not even the
    rest of the request does.
    """
    most = hold.granted_output_tokens
    if room < 0:
        return -1
    match meter:
        case Meter.TOKENS:
            return min(most, room - hold.input_tokens)
        case Meter.REQUESTS:
            return most if room >= 1 else -1
        case Meter.COST:
            fixed, per_token = output_prices(hold)
            pico = min(room, REQUEST_COST_MICROS_MAX) * PICO_PER_MICRO - fixed
            if pico < 0:
                return -1
            return min(most, pico // per_token) if per_token else most


def output_prices(hold: Hold) -> tuple[int, int]:
    """What a request costs without output, and for each output token, in pico-USD."""
    if hold.own_cost_micros is not None:
        return hold.own_cost_micros * PICO_PER_MICRO, 0
    rate = rate_for(hold.rates, hold.input_tokens)
    return hold.input_tokens * rate.input_pico, rate.output_pico


def short_meters(counters: Counters, demand: Amounts, ceilings: Limits) -> tuple[Meter, ...]:
    """The meters in which the demand does not fit under the ceilings."""
    meters = zip(METERS, counters.spent, counters.held, demand, ceilings, strict=True)
    return tuple(
        [
            meter
            for meter, spent, held, needed, ceiling in meters
            if ceiling is not None and spent + held + needed > ceiling
        ]
    )


def shortfalls(
    terms: Sequence[Term], counters: Sequence[Counters], demand: Amounts, mode: Mode
) -> tuple[Shortfall, ...]:
    """Where a demand does not fit, among the budgets of a mode. With HARD: why it is denied."""
    return tuple(
        Shortfall(position, meter, _only_held(state, demand, ceilings, meter))
        for position, (term, state) in enumerate(zip(terms, counters, strict=True))
        if term.mode is mode
        for ceilings in (term.ceilings_with(state),)
        for meter in short_meters(state, demand, ceilings)
    )


def _only_held(counters: Counters, demand: Amounts, ceilings: Limits, meter: Meter) -> bool:
    ceiling = ceilings[meter]
    return ceiling is not None and counters.spent[meter] + demand[meter] <= ceiling


def excesses(
    terms: Sequence[RateTerm], gauges: Sequence[Gauge], demand: Amounts, now_ms: int
) -> tuple[Excess, ...]:
    """The rate limits that have no room for a demand. One that demands nothing of a limit needs no room."""
    return tuple(
        Excess(term, demand[term.meter], ratelimit.room(term, gauge, now_ms), wait_ms)
        for term, gauge in zip(terms, gauges, strict=True)
        if demand[term.meter] > 0
        and (wait_ms := ratelimit.wait_ms(term, gauge, demand[term.meter], now_ms)) != 0
    )


def fits(
    terms: Terms, counters: Sequence[Counters], gauges: Sequence[Gauge], demand: Amounts, now_ms: int
) -> bool:
    """Whether a demand fits everywhere."""
    return not (
        shortfalls(terms.budgets, counters, demand, Mode.HARD)
        or excesses(terms.rates, gauges, demand, now_ms)
    )


def count_blocked(counters: Counters, short: Sequence[Meter], demand: Amounts) -> Counters:
    """The counters of a budget that does not block, with what a hard one would have blocked added."""
    requests = Amounts(*(1 if meter in short else 0 for meter in Meter))
    amounts = Amounts(*(demand[meter] if meter in short else 0 for meter in Meter))
    return counters._replace(
        blocked_requests=counters.blocked_requests.plus(requests), blocked=counters.blocked.plus(amounts)
    )
