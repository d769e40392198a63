"""What is asked of the store that decides, and what it answers.

Two stores take these commands: the Lua scripts in Valkey, and `book.Book`, the reference in plain Python.
Every answer carries
`now_ms`, the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.ledger import Entry
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import Gauge, RateTerm
from quota_service.domain.reservation import Hold, Settlement, WindowRef


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

    Only HARD blocks; SOFT and MONITOR count what HARD would have blocked at the ceilings. `max_values` bounds
    how many values of a tag may have a counter in this window; 0 is unbounded. `opening`: the window must be
    opened under this number before anything counts in it, because it begins with something (a rollover, what
    was spent before the budget was made); 0: it begins with nothing. `keep_ms`: how much longer than others
    it is kept after its end.
    """

    window: WindowRef
    limits: Limits
    percent: int
    mode: Mode
    max_values: int = 0
    opening: int = 0
    keep_ms: int = 0

    def limits_with(self, counters: Counters) -> Limits:
        """The window's limits: the budget's, and what the window itself has been given or has lost."""
        return self.limits.changed_by(counters.change)

    def ceilings_with(self, counters: Counters) -> Limits:
        """Where this model is stopped in the window as it stands."""
        return self.limits_with(counters).scaled(self.percent)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """Everything that limits a request for one model. Compared by identity: it is worked out once for a
    stretch of time, and shared by the calls in it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorize:
    """Hold the first of the alternatives that fits, with the largest grant that does, for `ttl_ms`.

    `refused`: the caller denies it anyhow and only wants to know that its configuration is current and the
    key is free.
    `dry_run`: answer as if, write nothing.
    """

    basis: Basis
    alternatives: tuple[Alternative, ...]
    ttl_ms: int
    refused: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Charge `usage` (the total so far) at the hold's rates, or at `rates` where another model answered.

    `own_price_allowed`: whether that other model is caller_priced; `None`: as the hold says. The rest is for
    the ledger.
    """

    organization: str
    reservation: str
    usage: Usage
    content_hash: str
    keep_open: bool = False
    rates: tuple[Rate, ...] | None = None
    own_price_allowed: bool | None = None
    usage_estimated: bool = False
    provider: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Return the whole hold."""

    organization: str
    reservation: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """More time, more tokens, or both. `terms` are those of the hold's windows, in their order, and of its
    rate limits under the current configuration.
    """

    basis: Basis
    reservation: str
    request_id: str
    content_hash: str
    ttl_ms: int = 0
    additional_output_tokens: int = 0
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Charge `charged` to the windows of `hold` without a reservation, once for `key` (a ledger key).
    `terms` are those of the windows.
    """

    basis: Basis
    key: str
    content_hash: str
    hold: Hold
    terms: tuple[Term, ...]
    usage: Usage
    charged: Amounts
    cost_pico: int
    occur_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Read the windows of terms. Like every decision it rests on a basis."""

    basis: Basis
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An entry on its way to the ledger, and its place in the stream."""

    id: str
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Some window or rate limit has no room or (`full`: positions in the terms, budgets before rates) no
    counter left for a new value. Nothing is written. Counters and gauges are those of the first alternative's
    terms.
    """

    now_ms: int
    counters: tuple[Counters, ...]
    gauges: tuple[Gauge, ...] = ()
    full: tuple[int, ...] = ()
    next_expiry_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The amounts are held (`replayed`: were held before). Counters are those of `hold.windows`, afterwards;
    with `dry_run`, before.

    `choice` is the position of the alternative; `passed_over`, where it is not the first, is what stood in
    the first one's way.
    """

    now_ms: int
    hold: Hold
    counters: tuple[Counters, ...]
    choice: int = 0
    passed_over: Denied | None = None
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The caller's own denial stands: its configuration is current and the key is free."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """The caller's configuration is older than `version`."""

    now_ms: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideBasis:
    """A window or a price has ended or not begun at `now_ms`: compute again for that time."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unopened:
    """A window begins with something (see `Term.opening`) and has not been opened yet."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The key, or the reservation, was used before with other content."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The reservation has ended."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """This store does not know the reservation."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """One request would cost more than a request may."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRefused:
    """A caller's own price for a model that the catalogue prices."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A Commit or Release has been done, or (`replayed`) had been. Counters are those of `hold.windows`,
    afterwards.
    """

    now_ms: int
    hold: Hold
    settlement: Settlement
    counters: tuple[Counters, ...]
    late: bool = False
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The charge is made, or (`replayed`) had been."""

    now_ms: int
    counters: tuple[Counters, ...] = ()
    replayed: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Where the windows stand. `counters` in the order of the windows asked for."""

    now_ms: int
    counters: tuple[Counters, ...]


AuthorizeAnswer = Granted | Denied | Refused | Stale | OutsideBasis | Unopened | Conflict | Ended
CommitAnswer = Settled | Unknown | Conflict | TooLarge | PriceRefused
ReleaseAnswer = Settled | Unknown
ExtendAnswer = Granted | Denied | Stale | OutsideBasis | Conflict | Ended | Unknown | TooLarge
RecordAnswer = Recorded | Stale | Unopened | Conflict
InspectAnswer = Inspected | Stale | OutsideBasis | Unopened
