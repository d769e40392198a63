"""The reference: what the Lua scripts do, in plain Python over dictionaries, with the time passed in.

It is what people read to learn the rules, the oracle that the scripts are tested against, and the store of
simulations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from quota_service.domain import admission, commands, ratelimit, reservation, windows
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.errors import AmountTooLarge, IdempotencyConflict
from quota_service.domain.pricing import charge, cost_pico
from quota_service.domain.ratelimit import Gauge, GaugeKey, Mark, RateTerm
from quota_service.domain.reservation import Hold, Move, Settlement, State, WindowRef
from quota_service.domain.terms import Alternative, Basis, Counters, Term
from quota_service.domain.windows import Windows


@dataclass(slots=True)
class Book:
    """One organization's holds and windows. Every method takes the time and first expires what is due."""

    version: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)
    windows: Windows = field(default_factory=dict)
    reservations: dict[str, str] = field(default_factory=dict)  # idempotency key → reservation
    extensions: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # (reservation, request id) → content hash
    records: dict[str, str] = field(default_factory=dict)  # ledger key → content hash
    gauges: dict[GaugeKey, Gauge] = field(default_factory=dict)
    marks: dict[str, tuple[Mark, ...]] = field(default_factory=dict)  # by reservation

    # --- verbs ---

    def authorize(self, command: commands.Authorize, now_ms: int) -> commands.AuthorizeAnswer:
        writes = not (command.refused or command.dry_run)
        if (refusal := self._begin(command.basis, now_ms, writes=writes)) is not None:
            return refusal
        if (known := self._known(command.alternatives[0].hold, now_ms)) is not None:
            return known
        if command.refused:
            return commands.Refused(now_ms=now_ms)
        denied: list[commands.Denied] = []
        for choice, alternative in enumerate(command.alternatives):
            if self._unopened(alternative.terms.budgets):
                return commands.Unopened(now_ms=now_ms)
            weighed = self._weigh(alternative, now_ms)
            if isinstance(weighed, int):
                return self._granted(command, choice, weighed, denied[0] if denied else None, now_ms)
            denied.append(weighed)
        return replace(denied[0], next_expiry_ms=self._next_expiry())

    def _weigh(self, alternative: Alternative, now_ms: int) -> int | commands.Denied:
        """The largest grant of an alternative, or what stands in its way."""
        terms = alternative.terms
        counters = self._counters(term.window for term in terms.budgets)
        gauges = self._gauges(terms.rates, now_ms)
        are_full = (
            *(windows.is_full(self.windows, term) for term in terms.budgets),
            *(self._is_full(rate, now_ms) for rate in terms.rates),
        )
        full = tuple(position for position, is_full in enumerate(are_full) if is_full)
        granted = admission.largest_grant(alternative, counters, gauges, now_ms)
        if granted is None or full:
            return commands.Denied(now_ms=now_ms, counters=counters, gauges=gauges, full=full)
        return granted

    def _granted(
        self,
        command: commands.Authorize,
        choice: int,
        granted: int,
        passed_over: commands.Denied | None,
        now_ms: int,
    ) -> commands.Granted:
        alternative = command.alternatives[choice]
        hold = reservation.grant(alternative.hold, granted)
        terms = alternative.terms
        answer = commands.Granted(
            now_ms=now_ms,
            hold=hold,
            counters=self._counters(hold.windows),
            choice=choice,
            passed_over=passed_over,
        )
        if command.dry_run:
            return answer
        hold = replace(hold, create_ms=now_ms, expire_ms=now_ms + command.ttl_ms)
        windows.count_blocked(self.windows, terms.budgets, hold.held)
        self.holds[hold.reservation] = hold
        self.reservations[hold.idempotency_key] = hold.reservation
        self._apply(Move(hold, held=hold.held, holds=1), now_ms)
        self._take(hold.reservation, terms.rates, hold.held, now_ms)
        return replace(answer, hold=hold, counters=self._counters(hold.windows))

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
        counters, terms = self._counters(hold.windows), command.terms
        if move.held != NOTHING:
            gauges = self._gauges(terms.rates, now_ms)
            if not admission.fits(terms, counters, gauges, move.held, now_ms):
                return commands.Denied(
                    now_ms=now_ms, counters=counters, gauges=gauges, next_expiry_ms=self._next_expiry()
                )
            windows.count_blocked(self.windows, terms.budgets, move.held)
            rates = [rate for rate in terms.rates if move.held[rate.meter]]
            self._take(hold.reservation, rates, move.held, now_ms)
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
        if self._unopened(term for term in command.terms if windows.is_kept(term.window, now_ms)):
            return commands.Unopened(now_ms=now_ms)
        self.records[command.key] = command.content_hash
        windows.move(self.windows, command.hold.windows, Move(command.hold, spent=command.charged), now_ms)
        return commands.Recorded(now_ms=now_ms, counters=self._counters(command.hold.windows))

    def inspect(self, command: commands.Inspect, now_ms: int) -> commands.InspectAnswer:
        if (refusal := self._begin(command.basis, now_ms, writes=False)) is not None:
            return refusal
        if self._unopened(command.terms):
            return commands.Unopened(now_ms=now_ms)
        found = self._counters(term.window for term in command.terms)
        return commands.Inspected(now_ms=now_ms, counters=found)

    def expire(self, now_ms: int) -> None:
        """Retires every due hold. The scripts do it in bounded batches, and ask to be swept before they
        would answer otherwise.
        """
        for hold in [hold for hold in self.holds.values() if hold.due(now_ms)]:
            self._apply(reservation.end(hold, State.EXPIRED, now_ms), now_ms)

    # --- parts ---

    def _begin(
        self, basis: Basis, now_ms: int, *, writes: bool = True
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
        windows.move(self.windows, move.hold.windows, move, now_ms)
        marks = self.marks.get(move.hold.reservation, ())
        # A late Commit uses what returned when the hold ended.
        again = move.spent.minus(move.overrun) if move.late else NOTHING
        unused = move.returned.minus(again)
        self.gauges |= ratelimit.settled(self.gauges, marks, unused, move.overrun, now_ms)

    def _take(self, reservation_: str, rates: Iterable[RateTerm], demand: Amounts, now_ms: int) -> None:
        """Takes a demand from rate limits, and marks what the hold has taken."""
        marks = self.marks.get(reservation_, ())
        for rate in rates:
            amount = demand[rate.meter]
            gauge = ratelimit.taken(rate, self.gauges.get(rate.key, Gauge()), amount, now_ms)
            self.gauges[rate.key] = gauge
            marks = (*ratelimit.drop_drained(marks, rate, now_ms), Mark(rate, amount, gauge))
        self.marks[reservation_] = marks

    def _counters(self, wanted: Iterable[WindowRef]) -> tuple[Counters, ...]:
        return windows.counters(self.windows, wanted)

    def _gauges(self, rates: Iterable[RateTerm], now_ms: int) -> tuple[Gauge, ...]:
        return tuple(ratelimit.current(rate, self.gauges.get(rate.key, Gauge()), now_ms) for rate in rates)

    def _is_full(self, rate: RateTerm, now_ms: int) -> bool:
        """Whether a value that is not in use finds as many others in use as there may be."""
        in_use = {
            key
            for key, gauge in self.gauges.items()
            if ratelimit.is_same_limit(key, rate) and ratelimit.debt_at(rate, gauge, now_ms) > 0
        }
        return 0 < rate.max_values <= len(in_use) and rate.key not in in_use

    def _unopened(self, terms: Iterable[Term]) -> bool:
        return any(windows.is_unopened(self.windows, term) for term in terms)

    def _next_expiry(self) -> int | None:
        return min((hold.expire_ms for hold in self.holds.values() if hold.state is State.HELD), default=None)
