"""Amounts of the three meters. Every amount is an integer: micro-USD, tokens, requests."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

REQUEST_COST_MICROS_MAX = 9_000_000_000
"""What one request may cost: 9·10⁹ micro-USD are 9·10¹⁵ pico-USD, the last power below 2⁵³, so Lua's numbers
stay exact.
"""

WINDOW_LIMIT_MAX = 900_000_000_000_000
"""What a window's limit may be, in its meter's unit (9·10¹⁴)."""

TOKENS_MAX = 1_000_000_000
"""Tokens of one kind in one request."""


class Meter(IntEnum):
    """What is counted. The value is the position in `Amounts` and `Limits`."""

    COST = 0
    TOKENS = 1
    REQUESTS = 2


METERS = tuple(Meter)
"""In their order. Asking the enum itself takes several times as long, which counts on the hot path."""


class Amounts(NamedTuple):
    """An amount in each meter."""

    cost_micros: int = 0
    tokens: int = 0
    requests: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cost_micros + other.cost_micros, self.tokens + other.tokens, self.requests + other.requests
        )

    def minus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cost_micros - other.cost_micros, self.tokens - other.tokens, self.requests - other.requests
        )

    def at_least(self, other: Amounts) -> Amounts:
        """The greater of both, meter by meter."""
        return Amounts(
            max(self.cost_micros, other.cost_micros),
            max(self.tokens, other.tokens),
            max(self.requests, other.requests),
        )

    def beyond(self, other: Amounts) -> Amounts:
        """By how much this is above the other, meter by meter; never negative."""
        return self.minus(other).at_least(NOTHING)


NOTHING = Amounts()


class Limits(NamedTuple):
    """A limit in each meter; `None` is not limited, 0 is nothing."""

    cost_micros: int | None = None
    tokens: int | None = None
    requests: int | None = None

    def overridden_by(self, other: Limits) -> Limits:
        """These limits, with those replaced that the other sets."""
        return Limits(*(mine if theirs is None else theirs for mine, theirs in zip(self, other, strict=True)))

    def scaled(self, percent: int) -> Limits:
        """That percentage of each limit, rounded down."""
        return Limits(*[None if limit is None else limit * percent // 100 for limit in self])

    def changed_by(self, change: Amounts) -> Limits:
        """Each limit raised or lowered by a signed amount, never below 0 nor above what a limit may be."""
        if change == NOTHING:
            return self
        return Limits(
            *(
                None if limit is None else min(WINDOW_LIMIT_MAX, max(0, limit + amount))
                for limit, amount in zip(self, change, strict=True)
            )
        )

    @property
    def meters(self) -> tuple[Meter, ...]:
        return tuple(meter for meter in Meter if self[meter] is not None)


UNLIMITED = Limits()
