"""What is asked of the store that decides, and what it answers.

Two stores take these commands: the Lua scripts in Valkey, and `book.Book`, the reference in plain Python.
Every answer carries
`now_ms`, the store's clock.
"""

from __future__ import annotations

from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import Gauge
from quota_service.domain.reservation import Hold, Settlement
from quota_service.domain.terms import Alternative, Basis, Counters, Term, Terms
from quota_service.domain.values import value


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
class Release:
    """Return the whole hold."""

    organization: str
    reservation: str
    reason: str = ""


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Read the windows of terms. Like every decision it rests on a basis."""

    basis: Basis
    terms: tuple[Term, ...] = ()


@value(frozen=True, slots=True, kw_only=True)
class Event:
    """An entry on its way to the ledger, its place in the stream, and how many bytes it takes there."""

    id: str
    entry: Entry
    bytes: int = 0


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
class Refused:
    """The caller's own denial stands: its configuration is current and the key is free."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class Stale:
    """The caller's configuration is older than `version`."""

    now_ms: int
    version: int


@value(frozen=True, slots=True, kw_only=True)
class OutsideBasis:
    """A window or a price has ended or not begun at `now_ms`: compute again for that time."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class Unopened:
    """A window begins with something (see `Term.opening`) and has not been opened yet."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The key, or the reservation, was used before with other content."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class Ended:
    """The reservation has ended."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class Unknown:
    """This store does not know the reservation."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """One request would cost more than a request may."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
class PriceRefused:
    """A caller's own price for a model that the catalogue prices."""

    now_ms: int


@value(frozen=True, slots=True, kw_only=True)
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


@value(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The charge is made, or (`replayed`) had been."""

    now_ms: int
    counters: tuple[Counters, ...] = ()
    replayed: bool = False
    event: Event | None = None


@value(frozen=True, slots=True, kw_only=True)
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
