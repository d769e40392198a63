"""A reservation's life: held, then ended once by Commit, Release or expiry; then one late settlement.

Pure functions from a hold and a request to the new hold and what it moves. The Lua scripts do the same in
Valkey; the tests prove it.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.errors import IdempotencyConflict, ReservationEnded
from quota_service.domain.pricing import Rate, Usage, charge
from quota_service.domain.subject import Subject
from quota_service.domain.values import value

LIFETIME_MS_MAX = 86_400_000
"""No hold lives longer than 24 h from its creation."""

DEFAULT_TTL_MS = 120_000


class State(StrEnum):
    """Where a reservation is in its life."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


class WindowRef(NamedTuple):
    """One counter: a budget's window `[start_ms, end_ms)` for one value of its `each` dimension.

    `end_ms` `None`: no end.
    """

    budget: str
    each_value: str
    start_ms: int
    end_ms: int | None


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


class Settlement(NamedTuple):
    """What a Commit did."""

    charged: Amounts
    returned: Amounts
    overrun: Amounts


@value(frozen=True, slots=True, kw_only=True)
class Hold:
    """A reservation as the stores keep it.

    Fixed at Authorize: who, what (`downgraded`: not the model that was asked for; `degraded`: granted while
    a store was down, so that `held` is nothing), `rates` (pico-USD per token), `windows` and how each is kept
    (`keepings`, none where that is not known). Moving: `state`,
    `held` (what Authorize and Extend took), `charged` (what Commits have charged so far), `parts` and
    `late_parts` (Commits that left it open), and, once settled, the final Commit's content hash and result.
    Times are milliseconds by the store's clock; `end_ms` is 0 while held.
    """

    organization: str
    reservation: str
    idempotency_key: str = ""
    content_hash: str = ""
    subject: Subject
    provider: str
    model: str
    requested_model: str
    downgraded: bool = False
    degraded: bool = False
    rates: tuple[Rate, ...]
    caller_priced: bool = False
    input_tokens: int = 0
    own_cost_micros: int | None = None
    windows: tuple[WindowRef, ...] = ()
    keepings: tuple[Keeping, ...] = ()
    granted_output_tokens: int = 0
    held: Amounts = NOTHING
    state: State = State.HELD
    charged: Amounts = NOTHING
    charged_pico: int = 0
    parts: int = 0
    late_parts: int = 0
    create_ms: int = 0
    expire_ms: int = 0
    end_ms: int = 0
    settle_hash: str = ""
    settlement: Settlement | None = None

    @property
    def remaining(self) -> Amounts:
        """What it still holds in each of its windows."""
        return self.held.beyond(self.charged) if self.state is State.HELD else NOTHING

    def due(self, now_ms: int) -> bool:
        """Whether its time is over: at or after `expire_ms` it counts nowhere."""
        return self.state is State.HELD and now_ms >= self.expire_ms


class Move(NamedTuple):
    """What a step of a reservation does to each of its windows, and to itself."""

    hold: Hold
    spent: Amounts = NOTHING
    held: Amounts = NOTHING  # signed: negative returns
    holds: int = 0
    overrun: Amounts = NOTHING
    returned: Amounts = NOTHING
    charged_pico: int = 0
    late: bool = False
    replayed: bool = False


def commit(
    hold: Hold, *, total: Amounts, total_pico: int, content_hash: str, keep_open: bool, now_ms: int
) -> Move:
    """Charges the total so far and, unless `keep_open`, ends the hold; after an expiry or release it is late.

    Raises IdempotencyConflict where it was settled with other content.
    """
    if hold.settlement is not None:
        return _repeated_commit(hold, content_hash, keep_open)
    late = hold.state is not State.HELD
    charged = hold.charged.at_least(total)
    pico = max(hold.charged_pico, total_pico)
    settlement = Settlement(
        charged=charged.minus(hold.charged),
        returned=NOTHING if late or keep_open else hold.held.beyond(charged),
        overrun=charged.beyond(hold.held).minus(hold.charged.beyond(hold.held)),
    )
    if keep_open and settlement.charged == NOTHING:
        return Move(hold, late=late, replayed=True)
    after = replace(hold, charged=charged, charged_pico=pico)
    if keep_open:
        after = _one_part_more(after, late)
    else:
        after = replace(after, settle_hash=content_hash, settlement=settlement)
        after = after if late else replace(after, state=State.COMMITTED, end_ms=now_ms)
    return Move(
        after,
        spent=settlement.charged,
        held=after.remaining.minus(hold.remaining),
        holds=0 if late or keep_open else -1,
        overrun=settlement.overrun,
        returned=settlement.returned,
        charged_pico=pico - hold.charged_pico,
        late=late,
    )


def _one_part_more(hold: Hold, late: bool) -> Hold:
    return replace(hold, late_parts=hold.late_parts + 1) if late else replace(hold, parts=hold.parts + 1)


def _repeated_commit(hold: Hold, content_hash: str, keep_open: bool) -> Move:
    if not keep_open and content_hash != hold.settle_hash:
        raise IdempotencyConflict("The reservation was committed before with other content.")
    return Move(hold, late=hold.state is not State.COMMITTED, replayed=True)


def end(hold: Hold, state: State, now_ms: int) -> Move:
    """Release or expiry: the rest of the hold returns. An ended reservation stays as it is."""
    if hold.state is not State.HELD:
        return Move(hold, replayed=True)
    after = replace(hold, state=state, end_ms=now_ms)
    return Move(after, held=after.remaining.minus(hold.remaining), holds=-1, returned=hold.remaining)


def extend(hold: Hold, *, ttl_ms: int, additional_output_tokens: int, now_ms: int) -> Move:
    """More time, more output tokens, or both; the caller checks that the additional amounts fit.

    Raises ReservationEnded, or AmountTooLarge where the whole would cost more than a request may.
    """
    if hold.state is not State.HELD:
        raise ReservationEnded("The reservation has ended.")
    granted = hold.granted_output_tokens + additional_output_tokens
    held = demand(hold.rates, hold.input_tokens, granted, hold.own_cost_micros)
    expire_ms = hold.expire_ms
    if ttl_ms:
        expire_ms = min(hold.create_ms + LIFETIME_MS_MAX, max(hold.expire_ms, now_ms + ttl_ms))
    after = replace(hold, granted_output_tokens=granted, held=held, expire_ms=expire_ms)
    return Move(after, held=after.remaining.minus(hold.remaining))


def recorded(draft: Hold, *, charged: Amounts, charged_pico: int, at_ms: int, content_hash: str) -> Hold:
    """What a Record leaves of its draft: no hold, only what was charged."""
    return replace(
        draft,
        state=State.COMMITTED,
        granted_output_tokens=0,
        held=NOTHING,
        charged=charged,
        charged_pico=charged_pico,
        create_ms=at_ms,
        expire_ms=at_ms,
        end_ms=at_ms,
        settle_hash=content_hash,
        settlement=Settlement(charged, NOTHING, NOTHING),
    )


def grant(draft: Hold, output_tokens: int) -> Hold:
    """The hold that a draft becomes with so many output tokens; the draft itself where it asks for those."""
    if output_tokens == draft.granted_output_tokens:
        return draft
    held = demand(draft.rates, draft.input_tokens, output_tokens, draft.own_cost_micros)
    return replace(draft, granted_output_tokens=output_tokens, held=held)


def demand(
    rates: tuple[Rate, ...], input_tokens: int, output_tokens: int, own_cost_micros: int | None
) -> Amounts:
    """What a request may use at most, in every meter. Raises AmountTooLarge."""
    return charge(
        rates, Usage(input_tokens=input_tokens, output_tokens=output_tokens, cost_micros=own_cost_micros)
    )
