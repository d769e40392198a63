"""The largest grant of output tokens, and what rate limits let pass, against brute force."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quota_service.domain import admission, ratelimit
from quota_service.domain.amounts import NOTHING, Amounts, Limits, Meter
from quota_service.domain.budget import Mode
from quota_service.domain.pricing import Rate
from quota_service.domain.ratelimit import Gauge, Mark, RateLimit
from quota_service.domain.reservation import demand, grant
from quota_service.domain.terms import Counters, Term, Terms
from tests.support.commands import alternative, draft, window

MOST = 60
NOW_MS = 1_000_000

_amount = st.integers(0, 80)
_amounts = st.builds(Amounts, _amount, _amount, st.integers(0, 3))
_limits = st.builds(
    Limits,
    st.one_of(st.none(), _amount),
    st.one_of(st.none(), _amount),
    st.one_of(st.none(), st.integers(0, 4)),
)
_counters = st.builds(Counters, spent=_amounts, held=_amounts, added=_amounts)
_budgets = st.lists(
    st.tuples(
        st.builds(
            Term, st.just(window()), _limits, st.sampled_from((50, 100, 120, 333)), st.sampled_from(Mode)
        ),
        _counters,
    ),
    max_size=3,
)
_rate_limits = st.builds(
    RateLimit,
    id=st.just("limit"),
    meter=st.sampled_from((Meter.TOKENS, Meter.REQUESTS)),
    limit=st.integers(1, 100),
    interval_ms=st.integers(1, 5_000),
    burst=st.integers(0, 90),
)
_gauges = st.builds(Gauge, st.integers(0, 200_000), st.integers(NOW_MS - 2_000, NOW_MS))
_pico = st.sampled_from((0, 1, 333_333, 999_999, 1_000_000, 1_000_001, 7_654_321))
_rates = st.builds(lambda input_pico, output_pico: (Rate(0, input_pico, 0, 0, output_pico),), _pico, _pico)


@settings(max_examples=600)
@given(
    budgets=_budgets,
    limits=st.lists(st.tuples(_rate_limits, _gauges), max_size=2),
    rates=_rates,
    input_tokens=st.integers(0, 30),
    most=st.integers(0, MOST),
    least=st.integers(0, MOST),
)
def test_the_grant_is_the_largest_that_fits_everywhere(
    budgets: list[tuple[Term, Counters]],
    limits: list[tuple[RateLimit, Gauge]],
    rates: tuple[Rate, ...],
    input_tokens: int,
    most: int,
    least: int,
) -> None:
    least = min(least, most)
    terms = Terms(
        budgets=tuple(term for term, _ in budgets),
        rates=tuple(ratelimit.term_of(limit, "") for limit, _ in limits),
    )
    counters, gauges = tuple(state for _, state in budgets), tuple(gauge for _, gauge in limits)
    hold = draft("org", "r", rates=rates, input_tokens=input_tokens, output_tokens=most)
    asked = replace(alternative(hold, least=least), terms=terms)

    def fits(granted: int) -> bool:
        needed = demand(rates, input_tokens, granted, None)
        return admission.fits(terms, counters, gauges, needed, NOW_MS)

    fitting = [granted for granted in range(least, most + 1) if fits(granted)]
    found = admission.largest_grant(asked, counters, gauges, NOW_MS)
    assert found == max(fitting, default=None)
    if found is not None:
        assert grant(hold, found).held == demand(rates, input_tokens, found, None)


@given(limit=_rate_limits, gauge=_gauges, amount=st.integers(1, 100))
def test_after_the_wait_an_amount_fits_and_a_millisecond_before_it_does_not(
    limit: RateLimit, gauge: Gauge, amount: int
) -> None:
    term = ratelimit.term_of(limit, "")
    wait_ms = ratelimit.wait_ms(term, gauge, amount, NOW_MS)
    if wait_ms is None:
        assert amount > term.burst
        assert ratelimit.room(term, Gauge(), NOW_MS) == term.burst
        return
    assert ratelimit.room(term, gauge, NOW_MS + wait_ms) >= amount
    if wait_ms:
        assert ratelimit.room(term, gauge, NOW_MS + wait_ms - 1) < amount


@given(
    limit=_rate_limits,
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 50)), max_size=40),
)
def test_no_more_passes_in_any_time_than_the_burst_and_what_the_rate_gives(
    limit: RateLimit, steps: list[tuple[int, int]]
) -> None:
    term, gauge, now_ms = ratelimit.term_of(limit, ""), Gauge(), NOW_MS
    passed: list[tuple[int, int]] = []
    for pause_ms, amount in steps:
        now_ms += pause_ms
        if ratelimit.wait_ms(term, gauge, amount, now_ms) == 0:
            gauge = ratelimit.taken(term, gauge, amount, now_ms)
            passed.append((now_ms, amount))
    for first, (start_ms, _) in enumerate(passed):
        total = 0
        for at_ms, amount in passed[first:]:
            total += amount
            assert total * limit.interval_ms <= (
                term.burst * limit.interval_ms + limit.limit * (at_ms - start_ms)
            )


@given(
    limit=_rate_limits, amount=st.integers(1, 90), unused=st.integers(0, 90), pause_ms=st.integers(0, 5_000)
)
def test_what_returns_is_never_more_than_was_taken_and_has_not_drained(
    limit: RateLimit, amount: int, unused: int, pause_ms: int
) -> None:
    term = ratelimit.term_of(limit, "")
    own = ratelimit.taken(term, Gauge(), amount, NOW_MS)
    later_ms = NOW_MS + pause_ms
    marks, used = (Mark(term, amount, own),), Amounts(0, unused, unused)
    settled = ratelimit.settled({term.key: own}, marks, used, NOTHING, later_ms)[term.key]
    untouched = ratelimit.debt_at(term, own, later_ms)
    assert 0 <= settled.debt <= untouched
    assert untouched - settled.debt == min(untouched, min(unused, amount) * term.scale)
