"""Rate limits: how much of a meter may be used in an interval, by the generic cell rate algorithm.

A limit is kept as a debt that drains at a steady rate: a demand fits if the debt with it is at most the
burst. All numbers are integers: debts are in units of 1/`scale` of a token or request, of which `leak` drain
in a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import NamedTuple

from quota_service.domain.amounts import Amounts, Meter
from quota_service.domain.scope import Scope

DEBT_MAX = 9_000_000_000_000_000
"""No debt is above it, so that Lua's numbers stay exact."""


GaugeKey = tuple[str, str, Meter, int, int]
"""A limit, a value, a meter, and the rate: leak and scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `limit` of a meter (TOKENS or REQUESTS) in `interval_ms`, of which `burst` may be used at once.

    `burst` 0: as much as the limit.
    """

    id: str
    display_name: str = ""
    scope: Scope = field(default_factory=Scope)
    meter: Meter = Meter.REQUESTS
    limit: int = 0
    interval_ms: int = 60_000
    burst: int = 0
    disabled: bool = False


class RateTerm(NamedTuple):
    """One matching rate limit as the caller understands it, for one value of its `each` dimension.

    `max_values` bounds how many values of a tag may be in use at a time; 0 is unbounded.
    """

    limit: str
    each_value: str
    meter: Meter
    leak: int
    scale: int
    burst: int  # in tokens or requests
    max_values: int = 0

    @property
    def key(self) -> GaugeKey:
        """Which gauge it reads. With another meter or rate it is another one: its debt has another unit."""
        return self.limit, self.each_value, self.meter, self.leak, self.scale


def is_same_limit(key: GaugeKey, term: RateTerm) -> bool:
    """Whether a gauge is of the term's limit, for whatever value."""
    return (key[0], *key[2:]) == (term.limit, term.meter, term.leak, term.scale)


class Gauge(NamedTuple):
    """Where a rate limit stands: its debt at an instant."""

    debt: int = 0
    at_ms: int = 0


class Mark(NamedTuple):
    """What a hold has taken at once from a rate limit, and the gauge as it was then: the hold's own."""

    term: RateTerm
    amount: int
    own: Gauge


def term_of(limit: RateLimit, each_value: str) -> RateTerm:
    """The limit's term for a value."""
    divisor = gcd(limit.limit, limit.interval_ms)
    return RateTerm(
        limit.id,
        each_value,
        limit.meter,
        leak=limit.limit // divisor,
        scale=limit.interval_ms // divisor,
        burst=limit.burst or limit.limit,
        max_values=limit.scope.each.max_values if limit.scope.each is not None else 0,
    )


def debt_at(term: RateTerm, gauge: Gauge, now_ms: int) -> int:
    """What is left of the debt."""
    return max(0, gauge.debt - term.leak * (now_ms - gauge.at_ms))


def current(term: RateTerm, gauge: Gauge, now_ms: int) -> Gauge:
    """The gauge as it is now."""
    return Gauge(debt_at(term, gauge, now_ms), now_ms)


def room(term: RateTerm, gauge: Gauge, now_ms: int) -> int:
    """How many tokens or requests fit now."""
    return max(0, term.burst * term.scale - debt_at(term, gauge, now_ms)) // term.scale


def taken(term: RateTerm, gauge: Gauge, amount: int, now_ms: int) -> Gauge:
    """The gauge with an amount used. What would not fit is used all the same: whether it may is not asked."""
    return Gauge(min(DEBT_MAX, debt_at(term, gauge, now_ms) + amount * term.scale), now_ms)


def drop_drained(marks: Iterable[Mark], term: RateTerm, now_ms: int) -> tuple[Mark, ...]:
    """The marks without those of the term's gauge of which nothing can return any more."""
    return tuple(mark for mark in marks if mark.term.key != term.key or debt_at(term, mark.own, now_ms) > 0)


def settled(
    gauges: Mapping[GaugeKey, Gauge], marks: Sequence[Mark], unused: Amounts, overrun: Amounts, now_ms: int
) -> dict[GaugeKey, Gauge]:
    """The gauges corrected by what a hold did use: an overrun is taken; what was not used returns, the latest
    taken first. `unused` is negative where what had returned was used after all: it is taken again.
    """
    corrected: dict[GaugeKey, Gauge] = {}
    left: dict[GaugeKey, int] = {}
    for mark in reversed(marks):
        term = mark.term
        if term.key not in left:
            left[term.key] = unused[term.meter]
            gauge = gauges.get(term.key, Gauge())
            corrected[term.key] = taken(term, gauge, overrun[term.meter], now_ms)
        part = max(-mark.amount, min(mark.amount, left[term.key]))
        left[term.key] -= part
        corrected[term.key] = _returned(mark, corrected[term.key], part, now_ms)
    return corrected


def _returned(mark: Mark, gauge: Gauge, amount: int, now_ms: int) -> Gauge:
    """The gauge with an amount returned, or taken again, as far as time has not given it back already: only
    what has not drained of the hold's own gauge counts.
    """
    own = debt_at(mark.term, mark.own, now_ms)
    back = max(-own, min(own, amount * mark.term.scale))
    return Gauge(min(DEBT_MAX, max(0, gauge.debt - back)), now_ms)


def wait_ms(term: RateTerm, gauge: Gauge, amount: int, now_ms: int) -> int | None:
    """How long until the amount fits, exactly: 0 where it does now, `None` where it never will."""
    if amount > term.burst:
        return None
    above = debt_at(term, gauge, now_ms) + (amount - term.burst) * term.scale
    return max(0, -(-above // term.leak))
