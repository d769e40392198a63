"""What a decision rests on: where windows stand, what limits a request there, and the ways to grant it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import Hold, Keeping, WindowRef
from quota_service.domain.values import value


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
    """Everything that limits a request for one model; the budgets' `windows`, and how each is kept.

    Compared by identity: it is worked out once for a stretch of time, and shared by the calls in it; what a
    store makes of it lives as long.
    """

    budgets: tuple[Term, ...] = ()
    rates: tuple[RateTerm, ...] = ()
    windows: tuple[WindowRef, ...] = field(init=False)
    keepings: tuple[Keeping, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", tuple([term.window for term in self.budgets]))
        object.__setattr__(self, "keepings", tuple([term.keeping for term in self.budgets]))


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a decision rests on: the configuration's version, and the time `[from_ms, until_ms)` in which
    windows and prices hold.
    """

    organization: str
    version: int
    from_ms: int = 0
    until_ms: int | None = None
