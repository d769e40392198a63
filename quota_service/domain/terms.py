"""What a decision rests on: where windows stand, what limits a request there, and the ways to grant it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import Hold, WindowRef


class Counters(NamedTuple):
    """Where one window stands. `blocked_requests` and `blocked`: what HARD would have blocked, meter by
    meter.

    `added` (adjustments and rollover) and `moved` (net, by reallocations) are signed and change the window's
    limit. `opened` says for which `Term.opening` the window was opened; 0: it never had to be.
    """

    spent: Amounts = NOTHING
    held: Amounts = NOTHING
    holds: int = 0
    overrun: Amounts = NOTHING
    blocked_requests: Amounts = NOTHING
    blocked: Amounts = NOTHING
    added: Amounts = NOTHING
    moved: Amounts = NOTHING
    opened: int = 0

    @property
    def change(self) -> Amounts:
        """By how much the window's limit differs from the budget's."""
        return self.added.plus(self.moved)


class Keeping(NamedTuple):
    """How a budget's window is kept, whoever asks.

    `max_values` bounds how many values of a tag may have a counter in it; 0 is unbounded. `opening`: it must
    be opened under this number before anything counts in it, because it begins with something (a rollover,
    what was spent before the budget was made); 0: it begins with nothing. `keep_ms`: how much longer than
    others it is kept after its end.
    """

    max_values: int = 0
    opening: int = 0
    keep_ms: int = 0


class Term(NamedTuple):
    """One matching budget as the caller understands it: its window, the limits that the window begins with,
    and the percentage of them at which this model is stopped.

    Only HARD blocks; SOFT and MONITOR count what HARD would have blocked at the ceilings. The rest is
    `Keeping`.
    """

    window: WindowRef
    limits: Limits
    percent: int
    mode: Mode
    max_values: int = 0
    opening: int = 0
    keep_ms: int = 0

    @property
    def keeping(self) -> Keeping:
        return Keeping(self.max_values, self.opening, self.keep_ms)

    def limits_with(self, counters: Counters) -> Limits:
        """The window's limits: the budget's, and what the window itself has been given or has lost."""
        return self.limits.changed_by(counters.change)

    def ceilings_with(self, counters: Counters) -> Limits:
        """Where this model is stopped in the window as it stands."""
        return self.limits_with(counters).scaled(self.percent)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Terms:
    """Everything that limits a request for one model. Compared by identity: it is worked out once for a
    stretch of time, and shared by the calls in it; what a store makes of it lives as long.
    """

    budgets: tuple[Term, ...] = ()
    rates: tuple[RateTerm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One way to grant a request: the hold as it would be with the most output tokens, what limits it, and
    the least output tokens that are of use.
    """

    hold: Hold
    terms: Terms
    least: int

    @property
    def most(self) -> int:
        return self.hold.granted_output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a decision rests on: the configuration's version, and the time `[from_ms, until_ms)` in which
    windows and prices hold.
    """

    organization: str
    version: int
    from_ms: int = 0
    until_ms: int | None = None
