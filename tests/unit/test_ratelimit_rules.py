"""What a rate limit must be to be accepted: each rule once, and the field it names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Meter
from quota_service.domain.ratelimit import DEBT_MAX, RateLimit, term_of
from quota_service.domain.ratelimit_rules import INTERVAL_MS_MAX, INTERVAL_MS_MIN, faults, references
from quota_service.domain.scope import Each, Scope
from quota_service.domain.scope_rules import Reference
from quota_service.domain.subject import Dimension

GOOD = RateLimit(id="r", meter=Meter.REQUESTS, limit=60, burst=10)
MONTH_MS = 30 * 86_400_000


@pytest.mark.parametrize(
    "limit",
    [
        GOOD,
        replace(GOOD, meter=Meter.TOKENS, limit=90_000, burst=0),
        replace(GOOD, burst=1),  # less than one request of tokens may need: such requests never pass
        replace(GOOD, burst=1_000),  # more than the limit: saved up in a long pause
        replace(GOOD, limit=1, interval_ms=INTERVAL_MS_MAX),
        replace(GOOD, limit=WINDOW_LIMIT_MAX, interval_ms=1_000, burst=0),
        replace(GOOD, limit=5_000_000, interval_ms=MONTH_MS, burst=0),
        replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TAG, tag="run", max_values=10))),
    ],
)
def test_a_sound_rate_limit_has_no_faults(limit: RateLimit) -> None:
    assert faults(limit) == ()


@pytest.mark.parametrize(
    ("limit", "field"),
    [
        (replace(GOOD, meter=Meter.COST), "meter"),
        (replace(GOOD, limit=0), "limit"),
        (replace(GOOD, limit=-1), "limit"),
        (replace(GOOD, limit=WINDOW_LIMIT_MAX + 1), "limit"),
        (replace(GOOD, burst=-1), "burst"),
        (replace(GOOD, burst=WINDOW_LIMIT_MAX + 1), "burst"),
        (replace(GOOD, interval_ms=999), "interval"),
        (replace(GOOD, interval_ms=1_500), "interval"),
        (replace(GOOD, interval_ms=INTERVAL_MS_MAX + 1), "interval"),
        (replace(GOOD, limit=5_000_003, interval_ms=MONTH_MS, burst=0), "limit"),
        (replace(GOOD, limit=7, interval_ms=MONTH_MS, burst=10**9), "burst"),
        (replace(GOOD, scope=Scope(each=Each(dimension=Dimension.TAG, tag="run"))), "scope.each.max_values"),
        (replace(GOOD, scope=Scope(tier=1001)), "scope.tier"),
    ],
)
def test_every_rule_names_the_field_that_breaks_it(limit: RateLimit, field: str) -> None:
    assert [fault.field for fault in faults(limit)] == [field]


def test_a_limit_of_money_is_told_to_be_a_budget() -> None:
    (fault,) = faults(replace(GOOD, meter=Meter.COST))
    assert "limit money with a budget" in fault.description


def test_what_cannot_be_counted_exactly_comes_with_a_number_that_can() -> None:
    (fault,) = faults(replace(GOOD, limit=5_000_003, interval_ms=MONTH_MS, burst=0))
    assert "take a rounder number: 5000000, say" in fault.description
    (fault,) = faults(replace(GOOD, limit=7, interval_ms=MONTH_MS, burst=10**9))
    most = int(fault.description.split("at most ")[1].split()[0])
    assert faults(replace(GOOD, limit=7, interval_ms=MONTH_MS, burst=most)) == ()
    assert faults(replace(GOOD, limit=7, interval_ms=MONTH_MS, burst=most + 1)) != ()


@example(limit=100, interval_ms=1_000, burst=450_000_000_000_000)
@example(limit=100, interval_ms=1_000, burst=450_000_000_000_001)
@given(
    limit=st.integers(1, WINDOW_LIMIT_MAX),
    interval_ms=st.integers(INTERVAL_MS_MIN // 1_000, INTERVAL_MS_MAX // 1_000).map(lambda s: s * 1_000),
    burst=st.integers(0, WINDOW_LIMIT_MAX),
)
def test_what_is_accepted_can_be_counted_exactly(limit: int, interval_ms: int, burst: int) -> None:
    value = RateLimit(id="r", limit=limit, interval_ms=interval_ms, burst=burst)
    term = term_of(value, "")
    assert (faults(value) == ()) == (2 * term.burst * term.scale <= DEBT_MAX)


def test_a_rate_limit_refers_to_all_that_its_scope_names() -> None:
    limit = replace(GOOD, scope=Scope(team="core", provider="openai", model="gpt-4o"))
    assert references(limit) == (
        Reference("scope.team", Dimension.TEAM, "core"),
        Reference("scope.provider", Dimension.PROVIDER, "openai"),
        Reference("scope.model", Dimension.MODEL, "gpt-4o", "openai"),
    )
