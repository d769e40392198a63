"""The reference: what the Lua scripts do, in plain Python over dictionaries, with the time passed in.

It is what people read to learn the rules, the oracle that the scripts are tested against, and the store of
simulations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from quota_service.domain import admission, commands, reservation
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Counters, Term
from quota_service.domain.errors import AmountTooLarge, IdempotencyConflict
from quota_service.domain.pricing import charge, cost_pico
from quota_service.domain.reservation import Hold, Move, Settlement, State, WindowRef

OUTLIVE_MS = 48 * 3_600_000
"""How long a window is kept after its end; a charge to it that comes later is the ledger's alone."""

WindowKey = tuple[str, str, int]


@dataclass(slots=True)
class Book:
    """One organization's holds and windows. Every method takes the time and first expires what is due."""

    version: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)
    windows: dict[WindowKey, Counters] = field(default_factory=dict)
    reservations: dict[str, str] = field(default_factory=dict)  # idempotency key → reservation
    extensions: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # (reservation, request id) → content hash
    records: dict[str, str] = field(default_factory=dict)  # ledger key → content hash

    # --- verbs ---

    def authorize(self, command: commands.Authorize, now_ms: int) -> commands.AuthorizeAnswer:
        writes = not (command.refused or command.dry_run)
        if (refusal := self._begin(command.basis, now_ms, writes=writes)) is not None:
            return refusal
        if (known := self._known(command.hold, now_ms)) is not None:
            return known
        if command.refused:
            return commands.Refused(now_ms=now_ms)
        demand = command.hold.held
        counters = self._counters(term.window for term in command.terms)
        full = tuple(position for position, term in enumerate(command.terms) if self._is_full(term))
        if full or admission.shortfalls(command.terms, counters, demand, Mode.HARD):
            return commands.Denied(
                now_ms=now_ms, counters=counters, full=full, next_expiry_ms=self._next_expiry()
            )
        if command.dry_run:
            return commands.Granted(now_ms=now_ms, hold=command.hold, counters=counters)
        windows = tuple(term.window for term in command.terms)
        hold = replace(command.hold, windows=windows, create_ms=now_ms, expire_ms=now_ms + command.ttl_ms)
        self._count_blocked(command.terms, demand)
        self.holds[hold.reservation] = hold
        self.reservations[hold.idempotency_key] = hold.reservation
        self._apply(Move(hold, held=demand, holds=1), now_ms)
        return commands.Granted(now_ms=now_ms, hold=hold, counters=self._counters(windows))

    def commit(self, command: commands.Commit, now_ms: int) -> commands.CommitAnswer:
        self.expire(now_ms)
        hold = self.holds.get(command.reservation)
        if hold is None:
            return commands.Unknown(now_ms=now_ms)
        own_price_allowed = (
            hold.caller_priced if command.own_price_allowed is None else command.own_price_allowed
        )
        rates, usage = hold.rates, command.usage
        if command.rates is not None:
            rates = command.rates
        elif usage.cost_micros is None:
            # Who named a price of their own for the hold and none for the usage is charged that price.
            usage = usage._replace(cost_micros=hold.own_cost_micros)
        try:
            if hold.settlement is not None:
                total, pico = NOTHING, 0
            elif command.usage.cost_micros is not None and not own_price_allowed:
                return commands.PriceRefused(now_ms=now_ms)
            else:
                total, pico = charge(rates, usage), cost_pico(rates, usage)
            move = reservation.commit(
                hold,
                total=total,
                total_pico=pico,
                content_hash=command.content_hash,
                keep_open=command.keep_open,
                now_ms=now_ms,
            )
        except AmountTooLarge:
            return commands.TooLarge(now_ms=now_ms)
        except IdempotencyConflict:
            return commands.Conflict(now_ms=now_ms)
        self._apply(move, now_ms)
        settlement = Settlement(move.spent, move.returned, move.overrun)
        return self._settled(move, move.hold.settlement or settlement, now_ms)

    def release(self, command: commands.Release, now_ms: int) -> commands.ReleaseAnswer:
        self.expire(now_ms)
        hold = self.holds.get(command.reservation)
        if hold is None:
            return commands.Unknown(now_ms=now_ms)
        move = reservation.end(hold, State.RELEASED, now_ms)
        self._apply(move, now_ms)
        return self._settled(move, Settlement(NOTHING, move.returned, NOTHING), now_ms)

    def extend(self, command: commands.Extend, now_ms: int) -> commands.ExtendAnswer:
        if (refusal := self._begin(command.basis, now_ms)) is not None:
            return refusal
        hold = self.holds.get(command.reservation)
        if hold is None:
            return commands.Unknown(now_ms=now_ms)
        if hold.state is not State.HELD:
            return commands.Ended(now_ms=now_ms)
        known = self.extensions.get((hold.reservation, command.request_id)) if command.request_id else None
        if known is not None and known != command.content_hash:
            return commands.Conflict(now_ms=now_ms)
        if known is not None:
            return commands.Granted(
                now_ms=now_ms, hold=hold, counters=self._counters(hold.windows), replayed=True
            )
        return self._extend(command, hold, now_ms)

    def _extend(self, command: commands.Extend, hold: Hold, now_ms: int) -> commands.ExtendAnswer:
        try:
            move = reservation.extend(
                hold,
                ttl_ms=command.ttl_ms,
                additional_output_tokens=command.additional_output_tokens,
                now_ms=now_ms,
            )
        except AmountTooLarge:
            return commands.TooLarge(now_ms=now_ms)
        counters = self._counters(hold.windows)
        if move.held != NOTHING:
            if admission.shortfalls(command.terms, counters, move.held, Mode.HARD):
                return commands.Denied(now_ms=now_ms, counters=counters, next_expiry_ms=self._next_expiry())
            self._count_blocked(command.terms, move.held)
        if command.request_id:
            self.extensions[hold.reservation, command.request_id] = command.content_hash
        self._apply(move, now_ms)
        return commands.Granted(now_ms=now_ms, hold=move.hold, counters=self._counters(hold.windows))

    def record(self, command: commands.Record, now_ms: int) -> commands.RecordAnswer:
        if command.basis.version < self.version:
            return commands.Stale(now_ms=now_ms, version=self.version)
        self.version = command.basis.version
        known = self.records.get(command.key)
        if known is not None:
            same = known == command.content_hash
            return (
                commands.Recorded(now_ms=now_ms, replayed=True) if same else commands.Conflict(now_ms=now_ms)
            )
        self.expire(now_ms)
        self.records[command.key] = command.content_hash
        self._move_windows(command.hold.windows, Move(command.hold, spent=command.charged), now_ms)
        return commands.Recorded(now_ms=now_ms, counters=self._counters(command.hold.windows))

    def inspect(self, command: commands.Inspect, now_ms: int) -> commands.InspectAnswer:
        if (refusal := self._begin(command.basis, now_ms, writes=False)) is not None:
            return refusal
        return commands.Inspected(now_ms=now_ms, counters=self._counters(command.windows))

    def expire(self, now_ms: int) -> None:
        """Retires every due hold. The scripts do it in bounded batches, and ask to be swept before they
        would answer otherwise.
        """
        for hold in [hold for hold in self.holds.values() if hold.due(now_ms)]:
            self._apply(reservation.end(hold, State.EXPIRED, now_ms), now_ms)

    # --- parts ---

    def _begin(
        self, basis: commands.Basis, now_ms: int, *, writes: bool = True
    ) -> commands.Stale | commands.OutsideBasis | None:
        if basis.version < self.version:
            return commands.Stale(now_ms=now_ms, version=self.version)
        if now_ms < basis.from_ms or (basis.until_ms is not None and now_ms >= basis.until_ms):
            return commands.OutsideBasis(now_ms=now_ms)
        if writes:
            self.version = basis.version
        self.expire(now_ms)
        return None

    def _known(
        self, draft: Hold, now_ms: int
    ) -> commands.Granted | commands.Conflict | commands.Ended | None:
        """The answer to a repeated idempotency key."""
        name = self.reservations.get(draft.idempotency_key)
        hold = self.holds.get(name) if name is not None else None
        if hold is None:
            return None
        if hold.state is not State.HELD:
            return commands.Ended(now_ms=now_ms)
        if hold.content_hash != draft.content_hash:
            return commands.Conflict(now_ms=now_ms)
        return commands.Granted(
            now_ms=now_ms, hold=hold, counters=self._counters(hold.windows), replayed=True
        )

    def _settled(self, move: Move, settlement: Settlement, now_ms: int) -> commands.Settled:
        return commands.Settled(
            now_ms=now_ms,
            hold=move.hold,
            settlement=settlement,
            counters=self._counters(move.hold.windows),
            late=move.late,
            replayed=move.replayed,
        )

    def _apply(self, move: Move, now_ms: int) -> None:
        self.holds[move.hold.reservation] = move.hold
        self._move_windows(move.hold.windows, move, now_ms)

    def _move_windows(self, windows: Iterable[WindowRef], move: Move, now_ms: int) -> None:
        for window in windows:
            if window.end_ms is not None and now_ms >= window.end_ms + OUTLIVE_MS:
                continue
            before = self.windows.get(_key(window), Counters())
            self._write(
                window,
                before._replace(
                    spent=before.spent.plus(move.spent),
                    held=before.held.plus(move.held),
                    holds=before.holds + move.holds,
                    overrun=before.overrun.plus(move.overrun),
                ),
            )

    def _count_blocked(self, terms: Iterable[Term], demand: Amounts) -> None:
        for term in terms:
            if term.mode is not Mode.HARD:
                counters = self.windows.get(_key(term.window), Counters())
                short = admission.short_meters(counters, demand, term.ceilings_with(counters))
                if short:
                    self._write(term.window, admission.count_blocked(counters, short, demand))

    def _write(self, window: WindowRef, counters: Counters) -> None:
        """A counter without anything disappears, so that unused values of an `each` cost nothing."""
        empty = counters._replace(blocked=NOTHING, overrun=NOTHING) == Counters()
        if empty:
            self.windows.pop(_key(window), None)
        else:
            self.windows[_key(window)] = counters

    def _is_full(self, term: Term) -> bool:
        if term.mode is not Mode.HARD or not term.max_values or _key(term.window) in self.windows:
            return False
        budget, _, start_ms = _key(term.window)
        return sum(key[0] == budget and key[2] == start_ms for key in self.windows) >= term.max_values

    def _counters(self, windows: Iterable[WindowRef]) -> tuple[Counters, ...]:
        return tuple(self.windows.get(_key(window), Counters()) for window in windows)

    def _next_expiry(self) -> int | None:
        return min((hold.expire_ms for hold in self.holds.values() if hold.state is State.HELD), default=None)


def _key(window: WindowRef) -> WindowKey:
    return window.budget, window.each_value, window.start_ms
