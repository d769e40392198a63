"""Holds the service to its guarantees, by what clients were told and by what the stores hold in the end.

It shares no rule with the service: prices, sums and ceilings are worked out here.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from quota_service.application.requests import Durability
from quota_service.domain import commands
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.budget import Mode
from quota_service.domain.reservation import Hold
from quota_service.domain.terms import Counters, Term
from tests.simulation import scene
from tests.simulation.evidence import Evidence, Place, Sums, Written
from tests.simulation.journal import Charging, Journal, Settling, Told
from tests.simulation.keys import Keys
from tests.simulation.network import World


class Auditor:
    """Of one run. `lost_ms`: when the deciding store lost anything, or began anew."""

    def __init__(self, world: World, journal: Journal) -> None:
        self._world = world
        self._journal = journal

    # --- while it runs: G1 ---

    def granted(self, keys: Keys, command: Any, answer: Any) -> None:
        """Looks at the state in which something was held, at the point where it was."""
        if not isinstance(answer, commands.Granted) or answer.replayed:
            return
        if isinstance(command, commands.Authorize) and not command.dry_run:
            self._within(keys, command.alternatives[answer.choice].terms.budgets, answer.hold)
        elif isinstance(command, commands.Extend) and command.additional_output_tokens:
            self._within(keys, command.terms.budgets, answer.hold)

    def _within(self, keys: Keys, terms: tuple[Term, ...], hold: Hold) -> None:
        for term in terms:
            budget, each_value, start_ms, _ = term.window
            counters = keys.book.windows.get((budget, each_value, start_ms), Counters())
            if term.mode is Mode.HARD and hold.remaining != NOTHING:
                self._below_limit(budget, counters)
            held = _held(keys, Place(budget, each_value, start_ms))
            if counters.held != held:
                self._found("G1", f"{budget} says that {counters.held} is held, and live holds hold {held}")

    def _below_limit(self, budget: str, counters: Counters) -> None:
        limits = zip(scene.HARD_LIMITS[budget], counters.added.plus(counters.moved), strict=True)
        for meter, (limit, change) in enumerate(limits):
            used = counters.spent[meter] + counters.held[meter]
            if limit is not None and used > max(0, limit + change):
                self._found("G1", f"a grant takes {budget} to {used} of {limit}{change:+}")

    # --- in the end ---

    def audit(self, evidence: Evidence) -> None:
        """Everything that must hold once all is healed, quiet, and every hold's time is over."""
        self._once(evidence)
        for told in self._journal.commits:
            self._committed(told, evidence)
        self._charges(evidence)
        for record in self._journal.records:
            self._recorded(record, evidence)
        self._adjusted(evidence)
        self._ended_once(evidence)
        self._same_answers()
        self._settled_down(evidence)
        self._windows(evidence)
        self._itemised(evidence)

    def _once(self, evidence: Evidence) -> None:
        for key, times in Counter(entry.key for entry in evidence.entries).items():
            if times > 1:
                self._found("G3", f"the ledger has {times} entries of {key}")

    def _committed(self, told: Settling, evidence: Evidence) -> None:
        if not told.answers or not self._is_promised(told.durability):
            return
        entries = [entry for entry in evidence.of_reservation(told.key) if entry.type == "COMMIT"]
        charged = _sum(entries)
        if self._has_lost_parts(told.key):
            return
        if told.keep_open and charged.at_least(told.total) != charged:
            self._found("G3", f"{told.key} was charged {charged}, of which {told.total} was answered")
        elif not told.keep_open and charged != told.total:
            self._found("G3", f"{told.key} was charged {charged}, and {told.total} was answered")

    def _charges(self, evidence: Evidence) -> None:
        """No reservation is charged what nobody has asked for."""
        charged: dict[str, Amounts] = defaultdict(Amounts)
        for entry in evidence.entries:
            if entry.type == "COMMIT":
                charged[entry.reservation] = charged[entry.reservation].plus(entry.charged)
        for reservation, amounts in charged.items():
            asked = self._journal.totals_of(reservation)
            is_asked = amounts in asked
            if self._has_lost_parts(reservation):
                is_asked = any(amounts.beyond(total) == NOTHING for total in asked)
            if not is_asked:
                self._found("G3", f"{reservation} was charged {amounts}, asked was {sorted(asked)}")

    def _has_lost_parts(self, reservation: str) -> bool:
        """Whether a part of its charges may have been lost with Valkey's data: nobody was promised more."""
        told = self._journal.commits_of(reservation)
        return self._world.lost_data and any(each.durability is not Durability.LEDGER for each in told)

    def _recorded(self, told: Charging, evidence: Evidence) -> None:
        entries = [entry for entry in evidence.entries if entry.key == f"rec/{told.key}"]
        if told.answers and self._is_promised(told.durability) and len(entries) != 1:
            self._found("G3", f"the Record {told.key} has {len(entries)} entries")
        if entries and (_sum(entries) != told.total or not told.sends):
            self._found("G3", f"the Record {told.key} of {told.total} was charged {_sum(entries)}")

    def _is_promised(self, durability: Durability | None) -> bool:
        """BUFFERED survives processes, not the loss of Valkey's data."""
        return durability is Durability.LEDGER or not self._world.lost_data

    def _adjusted(self, evidence: Evidence) -> None:
        for told in self._journal.adjustments:
            times = sum(entry.key == f"adj/{told.key}" for entry in evidence.entries)
            if told.answers and times != 1:
                self._found("G3", f"the adjustment {told.key} has {times} entries")
        moved = _total(sums.moved for sums in evidence.sums.values())
        if moved != NOTHING:
            self._found("G3", f"what was moved adds up to {moved}")

    def _ended_once(self, evidence: Evidence) -> None:
        """A Commit that came by two ways ends a reservation once: the second of them charges nothing."""
        ends: Counter[tuple[str, str]] = Counter()
        for entry in evidence.entries:
            if entry.type in ("RELEASE", "EXPIRE"):
                ends[entry.reservation, "returned"] += 1
            elif entry.type == "COMMIT" and entry.final and entry.charged != NOTHING:
                ends[entry.reservation, "was settled"] += 1
        for (reservation, how), times in ends.items():
            if times > 1:
                self._found("G5", f"{reservation} {how} {times} times")
        ended = {entry.reservation for entry in evidence.entries if entry.final and entry.type != "RECORD"}
        for reservation in {entry.reservation for entry in evidence.entries if entry.type == "HOLD"} - ended:
            self._found("G6", f"{reservation} never ended")

    def _same_answers(self) -> None:
        for told in (*self._journal.authorizes, *self._journal.records, *self._journal.adjustments):
            if told.sends == 1 and any(answer.replayed for answer in told.answers):
                self._found("G4", f"{told.verb} {told.key} was asked once and answered as a repeat")
        if self._world.lost_data:
            return
        for told in self._journal.authorizes:
            self._one_reservation(told)
        for settling in self._journal.commits:
            totals = {answer.hold.charged for answer in settling.answers if not settling.keep_open}
            if len(totals) > 1:
                self._found("G4", f"the Commit of {settling.key} was answered with totals of {totals}")

    def _one_reservation(self, told: Told) -> None:
        holds = [answer.hold for answer in told.answers if answer.hold is not None]
        if len({hold.reservation for hold in holds if not hold.degraded}) > 1:
            self._found("G4", f"{told.key} was granted {[hold.reservation for hold in holds]}")

    # --- G6: nothing is left, and all three agree ---

    def _settled_down(self, evidence: Evidence) -> None:
        for what, left in (
            ("live holds", evidence.live_holds),
            ("open holds", evidence.open_holds),
            ("events", evidence.waiting_events),
            ("pending entries", evidence.pending),
        ):
            if left:
                self._found("G6", f"there are {what} when all is over: {left}")
        if evidence.broken:
            self._found("G6", "the keys are broken when all is over")

    def _windows(self, evidence: Evidence) -> None:
        ledger = evidence.sums
        # Of an overrun both may think differently: one knew of an extension, the other not yet.
        extended = {place for entry in evidence.entries if entry.type == "EXTEND" for place in entry.places}
        for place in sorted({*ledger, *evidence.balances, *evidence.live}):
            expected = ledger.get(place, Sums())
            if evidence.balances.get(place, Sums()) != expected:
                self._found("G6", f"{place}: entries say {expected}, balances {evidence.balances.get(place)}")
            live = evidence.live.get(place, Counters())
            overrun = expected.overrun if place in extended else live.overrun
            is_same = Sums(live.spent, overrun, live.added, live.moved) == expected
            if not is_same:
                self._found("G6", f"{place}: the ledger says {expected}, Valkey {live}")
            if live.held != NOTHING or live.holds:
                self._found("G6", f"{place} leaks: {live}")

    # --- G2: what a hard budget is over by ---

    def _itemised(self, evidence: Evidence) -> None:
        for place, (spent, _, added, moved) in evidence.sums.items():
            for meter, limit in enumerate(scene.HARD_LIMITS.get(place.budget, ())):
                over = spent[meter] - (limit + added[meter] + moved[meter]) if limit is not None else 0
                excused = self._excused(evidence, place)[meter] if over > 0 else 0
                if over > excused:
                    self._found("G2", f"{place} is over by {over}, {excused} of it explained")

    def _excused(self, evidence: Evidence, place: Place) -> Amounts:
        """Overruns, late commits, degraded grants, Records, cuts, and what a failing store had to do with."""
        sums = NOTHING
        for entry in evidence.entries:
            for own, added in zip(entry.places, entry.added, strict=True):
                if own == place:
                    sums = sums.plus(NOTHING.minus(added).at_least(NOTHING)).plus(self._excuse(entry))
        return sums

    def _excuse(self, entry: Written) -> Amounts:
        is_outside = entry.late or entry.degraded or entry.type == "RECORD" or not entry.ran
        lost = any(entry.create_ms <= lost_ms <= entry.at_ms for lost_ms in self._world.losses_ms)
        return entry.charged if is_outside or lost else entry.overrun

    def _found(self, guarantee: str, text: str) -> None:
        self._world.found(guarantee, text)


def _held(keys: Keys, place: Place) -> Amounts:
    """What live holds hold in a window, added up here."""
    sums = NOTHING
    for hold in keys.book.holds.values():
        if not hold.end_ms and any(Place(*window[:3]) == place for window in hold.windows):
            sums = sums.plus(hold.held.minus(hold.charged).at_least(NOTHING))
    return sums


def _sum(entries: list[Written]) -> Amounts:
    return _total(entry.charged for entry in entries)


def _total(amounts: Iterable[Amounts]) -> Amounts:
    return functools.reduce(Amounts.plus, amounts, NOTHING)
