"""Hypothesis strategies for everything that a hold store may be asked, at ordinary and at extreme amounts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from quota_service.domain import ratelimit
from quota_service.domain.amounts import (
    REQUEST_COST_MICROS_MAX,
    TOKENS_MAX,
    WINDOW_LIMIT_MAX,
    Limits,
    Meter,
)
from quota_service.domain.budget import Mode
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import RateLimit, RateTerm
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Subject
from quota_service.domain.terms import Alternative, Basis, Term, Terms

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

KEYS = ("key", "a key", "ключ", "{brace}/slash", "line\nbreak", "nul\0", '"quoted\\"', "%s %d")
EACH_VALUES = ("", "a", "b", "ü/{x}", "two words", "\x00\x01", "'; DROP", "🜁")
CONTENT_HASHES = ("one", "other")
REQUEST_IDS = ("", "more", "wîth spaces {}")
BUDGETS = {"hourly": HOUR_MS, "daily": DAY_MS, "for-good": 0, "each-tag": HOUR_MS, "each-user": 0}
COUNTED = frozenset({"each-tag"})
TTLS_MS = (1_000, 1_500, 60_000, HOUR_MS, DAY_MS)
STEPS_MS = (1, 1, 1, 500, 500, 1_000, 59_999, HOUR_MS, 72 * HOUR_MS)

_tokens = st.one_of(
    st.integers(0, 1_000), st.integers(0, TOKENS_MAX), st.sampled_from((0, 1, 999, 1_000, 1_001, TOKENS_MAX))
)
_pico = st.one_of(
    st.sampled_from((0, 1, 999_999, 1_000_000, 1_000_001, 2_500_000, 8_999_999, 9_000_000, 9_000_001)),
    st.integers(0, 10_000_000),
)
_own_cost = st.one_of(
    st.none(),
    st.none(),
    st.integers(0, 1_000),
    st.sampled_from((REQUEST_COST_MICROS_MAX - 1, REQUEST_COST_MICROS_MAX, REQUEST_COST_MICROS_MAX + 1)),
)
small_tokens = st.integers(0, 1_000)


@st.composite
def _rates(draw: st.DrawFn) -> tuple[Rate, ...]:
    thresholds = draw(st.sampled_from(((0,), (0, 1_000), (0, 200, 100_000))))
    return tuple(Rate(above, *(draw(_pico) for _ in range(4))) for above in thresholds)


rates: SearchStrategy[tuple[Rate, ...]] = _rates()


@st.composite
def usages(
    draw: st.DrawFn,
    tokens: SearchStrategy[int] = _tokens,
    own_cost: SearchStrategy[int | None] = _own_cost,
) -> Usage:
    input_tokens = draw(tokens)
    cached = draw(st.integers(0, input_tokens))
    written = draw(st.integers(0, input_tokens - cached))
    return Usage(input_tokens, cached, written, draw(tokens), draw(own_cost))


any_tokens = st.one_of(small_tokens, small_tokens, _tokens)
own_costs = _own_cost
any_usages = st.one_of(usages(small_tokens, st.none()), usages(small_tokens), usages())

_ceiling = st.one_of(
    st.none(),
    st.integers(0, 5),
    st.integers(0, 5_000),
    st.sampled_from((0, TOKENS_MAX, REQUEST_COST_MICROS_MAX, WINDOW_LIMIT_MAX)),
)
_roomy = Limits(WINDOW_LIMIT_MAX, WINDOW_LIMIT_MAX, WINDOW_LIMIT_MAX)
percents: SearchStrategy[int] = st.sampled_from((100, 100, 100, 1, 99, 333, 1_000))
room: SearchStrategy[Limits] = st.sampled_from((_roomy, Limits()))
ceilings: SearchStrategy[Limits] = st.one_of(room, st.builds(Limits, _ceiling, _ceiling, _ceiling))


def window_at(budget: str, each_value: str, now_ms: int) -> WindowRef:
    """The budget's window at an instant."""
    length = BUDGETS[budget]
    if not length:
        return WindowRef(budget, each_value, 0, None)
    start_ms = now_ms - now_ms % length
    return WindowRef(budget, each_value, start_ms, start_ms + length)


@st.composite
def terms(draw: st.DrawFn, now_ms: int, limits: SearchStrategy[Limits] = ceilings) -> tuple[Term, ...]:
    """The matching budgets of one request, each at most once."""
    chosen = draw(st.lists(st.sampled_from(sorted(BUDGETS)), unique=True, max_size=3))
    return tuple([draw(_term(budget, now_ms, limits)) for budget in chosen])


@st.composite
def _term(draw: st.DrawFn, budget: str, now_ms: int, any_limits: SearchStrategy[Limits]) -> Term:
    each_value = draw(st.sampled_from(EACH_VALUES)) if budget.startswith("each") else ""
    limits = draw(any_limits)
    max_values = draw(st.integers(1, 4)) if budget in COUNTED else 0
    window = window_at(budget, each_value, now_ms)
    return Term(window, limits, draw(percents), draw(st.sampled_from(Mode)), max_values)


RATE_LIMITS = {
    "rpm": RateLimit(id="rpm", meter=Meter.REQUESTS, limit=7, interval_ms=60_000, burst=3),
    "tpm": RateLimit(id="tpm", meter=Meter.TOKENS, limit=90_000, interval_ms=60_000, burst=2_500),
    "tps": RateLimit(id="tps", meter=Meter.TOKENS, limit=1_001, interval_ms=1_000),
    "few": RateLimit(
        id="few",
        scope=Scope(each=Each(dimension=Dimension.TAG, tag="run", max_values=2)),
        meter=Meter.REQUESTS,
        limit=1,
        interval_ms=500,
    ),
    "huge": RateLimit(id="huge", meter=Meter.TOKENS, limit=900_000_000, interval_ms=999_983, burst=1_000_003),
}


@st.composite
def rate_terms(draw: st.DrawFn) -> tuple[RateTerm, ...]:
    """The matching rate limits of one request, mostly none."""
    chosen = draw(st.one_of(st.just([]), st.lists(st.sampled_from(sorted(RATE_LIMITS)), unique=True)))
    return tuple(
        ratelimit.term_of(RATE_LIMITS[limit], draw(st.sampled_from(EACH_VALUES))) for limit in chosen
    )


@st.composite
def alternatives(
    draw: st.DrawFn, now_ms: int, hold: Hold, limits: SearchStrategy[Limits] = ceilings
) -> Alternative:
    """A way to grant what a hold asks for, or part of its output tokens."""
    budgets = draw(terms(now_ms, limits))
    most = hold.granted_output_tokens
    return Alternative(
        hold=replace(hold, windows=tuple(term.window for term in budgets)),
        terms=Terms(budgets=budgets, rates=draw(rate_terms())),
        least=draw(st.one_of(st.just(most), st.integers(0, most))),
    )


@st.composite
def bases(draw: st.DrawFn, organization: str, version: int, now_ms: int) -> Basis:
    """Mostly current; now and then of another version, or of a time that is over or to come."""
    from_ms, until_ms = draw(
        st.sampled_from(
            (
                *[(0, None)] * 6,
                (now_ms, now_ms + 1),
                (now_ms - 10, None),
                (now_ms + 1, None),
                (now_ms - 10, now_ms),
            )
        )
    )
    change = draw(st.sampled_from((*[0] * 8, -1, 1)))
    return Basis(
        organization=organization, version=max(0, version + change), from_ms=from_ms, until_ms=until_ms
    )


@st.composite
def subjects(draw: st.DrawFn, organization: str) -> Subject:
    tags = draw(st.sampled_from(((), (("env", "prod"),), (("a", '"\\\n'), ("b", "ü\x00")))))
    return Subject(organization=organization, team=draw(st.sampled_from(("", "research"))), tags=tags)


@st.composite
def terms_in(draw: st.DrawFn, windows: tuple[WindowRef, ...]) -> tuple[Term, ...]:
    """A hold's windows under whatever the configuration says by now."""
    found = []
    for window in windows:
        limits = draw(ceilings)
        found.append(Term(window, limits, draw(percents), draw(st.sampled_from(Mode))))
    return tuple(found)
