"""Compares what the clients were told with what the stores hold, and holds both to the guarantees.

Pure: a journal and the evidence in, findings out. It shares no rule with the service.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.evidence import Entry, Evidence, LiveWindow, Window
from tests.chaos.journal import Journal, LimitChange, Settled, id_of
from tests.chaos.overshoot import Overshoot, overshoots
from tests.chaos.scene import NOTHING, BudgetRule, Spent
from tests.chaos.sums import summed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A guarantee that was broken, and what shows it."""

    guarantee: str
    text: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What an audit found. A run is good without findings."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    drift: dict[Window, Spent] = field(default_factory=dict)
    overshoots: list[Overshoot] = field(default_factory=list)

    def found(self, guarantee: str, text: str) -> None:
        self.findings.append(Finding(guarantee=guarantee, text=text))


def audit(journal: Journal, evidence: Evidence, rules: Mapping[str, BudgetRule]) -> Verdict:
    """Everything that must hold once all is healed, quiet, and every hold's time is over."""
    verdict = Verdict()
    _once(evidence, verdict)
    _settlements(journal, evidence, verdict)
    _records(journal, evidence, verdict)
    _money(journal, evidence, verdict)
    _ends(journal, evidence, verdict)
    _balances(evidence, verdict)
    _leaks(evidence, verdict)
    _answers(journal, verdict)
    verdict.overshoots = overshoots(journal, evidence, rules)
    for over in verdict.overshoots:
        if over.unexplained:
            verdict.found("G2", f"{over.title} is over by {over.over}: {over.unexplained} of it unexplained")
    return verdict


def _once(evidence: Evidence, verdict: Verdict) -> None:
    """No key has two entries."""
    for key, times in Counter((entry.organization, entry.key) for entry in evidence.entries).items():
        if times > 1:
            verdict.counts["entries that are there twice"] += 1
            verdict.found("G3", f"the ledger has {times} entries of {' '.join(key)}")


def _settlements(journal: Journal, evidence: Evidence, verdict: Verdict) -> None:
    """What was charged to each reservation is what its Commits were answered, once."""
    charged: dict[str, Spent] = defaultdict(Spent)
    finals: Counter[str] = Counter()
    voids: Counter[str] = Counter()
    for entry in evidence.entries:
        if entry.type == "COMMIT":
            charged[entry.reservation] = charged[entry.reservation].plus(entry.charged)
            finals[entry.reservation] += entry.final and entry.charged != NOTHING
            voids[entry.reservation] += entry.final and entry.charged == NOTHING
    lost = _lost_parts(journal)
    for name, settled in _newest(journal.settled).items():
        found = charged.get(id_of(name), NOTHING)
        # A final Commit may charge nothing: alone, where a part before it has charged as much.
        ends = finals[id_of(name)] or min(1, voids[id_of(name)])
        _settlement(journal, settled, found, ends, lost.get(name, 0), verdict)
    asked = {id_of(name): totals for name, totals in journal.totals_asked.items()}
    forgotten = {id_of(name) for name in lost}
    for reservation, amount in charged.items():
        if amount not in asked.get(reservation, set()) and reservation not in forgotten:
            verdict.counts["charged otherwise than asked"] += 1
            verdict.found("G3", f"{reservation} was charged {amount}, asked were {asked.get(reservation)}")


def _newest(settled: Iterable[Settled]) -> dict[str, Settled]:
    """The last word on each reservation: its final Commit, else the largest part."""
    newest: dict[str, Settled] = {}
    for each in settled:
        known = newest.get(each.reservation)
        if known is None or _weight(each) >= _weight(known):
            newest[each.reservation] = each
    return newest


def _weight(settled: Settled) -> tuple[bool, Spent, bool]:
    return settled.final, settled.total, settled.in_ledger


def _lost_parts(journal: Journal) -> dict[str, int]:
    """Micro-USD that parts which were answered BUFFERED may have taken with them when Valkey lost its data:
    a later Commit charges only what came after them.
    """
    lost: dict[str, int] = {}
    for each in journal.settled:
        if not each.final and not each.in_ledger and journal.may_have_lost(each):
            lost[each.reservation] = max(lost.get(each.reservation, 0), each.total.cost)
    return lost


def _settlement(
    journal: Journal, settled: Settled, charged: Spent, finals: int, lost_parts: int, verdict: Verdict
) -> None:
    durable = "LEDGER" if settled.in_ledger else "BUFFERED"
    verdict.counts[f"commits answered {durable}"] += 1
    if settled.told != settled.total:
        verdict.found("G3", f"{settled.reservation}: told {settled.told}, its usage costs {settled.total}")
    # What came after a part that was answered may be in the ledger too, though nobody was told.
    whole = charged == settled.total and finals == 1 if settled.final else charged.cost >= settled.total.cost
    missing = settled.total.cost - charged.cost
    if whole:
        verdict.counts[f"commits {durable} found in the ledger"] += 1
    elif not settled.in_ledger and journal.may_have_lost(settled):
        verdict.counts["commits BUFFERED that Valkey lost"] += 1
    elif 0 < missing <= lost_parts and finals == settled.final:
        verdict.counts["commits LEDGER after a part that was BUFFERED, which Valkey lost"] += 1
    else:
        verdict.counts["commits lost" if missing > 0 else "commits doubled"] += 1
        verdict.found(
            "G3",
            f"{settled.reservation} was answered {durable} with {settled.total}"
            f"{' in part' * (not settled.final)}{' late' * settled.late};"
            f" the ledger has {charged}, {finals} final",
        )


def _records(journal: Journal, evidence: Evidence, verdict: Verdict) -> None:
    """Every Record that was answered is there, with its amounts."""
    found = {entry.key: entry.charged for entry in evidence.entries if entry.type == "RECORD"}
    for each in journal.recorded:
        charged = found.get(f"rec/{each.key}")
        durable = "LEDGER" if each.in_ledger else "BUFFERED"
        verdict.counts[f"records answered {durable}"] += 1
        if charged == each.charged:
            verdict.counts[f"records {durable} found in the ledger"] += 1
        elif charged is None and not each.in_ledger and journal.may_have_lost(each):
            verdict.counts["records BUFFERED that Valkey lost"] += 1
        else:
            verdict.counts["records lost"] += 1
            verdict.found("G3", f"Record {each.key}, {durable} {each.charged}: the ledger has {charged}")
    for key, charged in found.items():
        if journal.records_asked.get(key.removeprefix("rec/")) != charged:
            verdict.found("G3", f"the ledger has {key} with {charged}, which nobody asked for")


def _money(journal: Journal, evidence: Evidence, verdict: Verdict) -> None:
    """Every change of money that was answered is there, with its amounts; and no other."""
    found = {
        entry.key: _sorted(change for _, change in entry.changes)
        for entry in evidence.entries
        if entry.type in ("ADJUST", "REALLOCATE")
    }
    for each in journal.money:
        verdict.counts["money changes answered"] += 1
        if found.get(f"adj/{each.key}") == _sorted(each.changes):
            verdict.counts["money changes found in the ledger"] += 1
        else:
            verdict.found(
                "G3", f"change {each.key} {each.changes}: the ledger has {found.get(f'adj/{each.key}')}"
            )
    for key, changes in found.items():
        asked = journal.changes_asked.get(key.removeprefix("adj/"))
        if asked is None or _sorted(asked) != changes:
            verdict.found("G3", f"the ledger has {key} with {changes}, which nobody asked for")


def _sorted(changes: Iterable[LimitChange]) -> list[LimitChange]:
    return sorted(
        changes, key=lambda change: (change.organization, change.budget, change.each_value, change.amount)
    )


def _ends(journal: Journal, evidence: Evidence, verdict: Verdict) -> None:
    """Each reservation ended once, and was settled late at most once, after an expiry or a release."""
    of_reservation: dict[str, list[Entry]] = defaultdict(list)
    for entry in evidence.entries:
        if entry.reservation:
            of_reservation[entry.reservation].append(entry)
    for reservation, entries in of_reservation.items():
        finals = [entry for entry in entries if entry.type == "COMMIT" and entry.final]
        counted = _counted(finals, verdict)
        in_time = [entry for entry in counted if not entry.late]
        late = [entry for entry in counted if entry.late]
        void = [entry for entry in entries if entry.type in ("RELEASE", "EXPIRE")]
        has_hold = any(entry.type == "HOLD" for entry in entries)
        types = " ".join(f"{entry.type}{' late' * entry.late}{' final' * entry.final}" for entry in entries)
        if len(in_time) + len(void) > 1 or len(late) > 1 or (in_time and late):
            verdict.counts["reservations ended twice"] += 1
            verdict.found("G5", f"{reservation} ended more than once: {types}")
        if late and not void:
            verdict.counts["late settlements of holds whose expiry has no entry"] += 1
        elif has_hold and not (in_time or void):
            verdict.counts["reservations without an end"] += 1
            verdict.found("G6", f"{reservation} never ended: {types}")
    for released in journal.released:
        known = of_reservation.get(id_of(released.reservation))
        if not known and not journal.lost_between(released.at_s, math.inf):
            verdict.found("G5", f"{released.reservation} was released, and the ledger has nothing of it")


def _counted(finals: list[Entry], verdict: Verdict) -> list[Entry]:
    """Final Commits without those that are void: they charged nothing, because another had come first."""
    counted = [entry for entry in finals if entry.charged != NOTHING]
    if len(finals) > 1 and counted:
        verdict.counts["ends that charged nothing, because another had come first"] += len(finals) - len(
            counted
        )
        return counted
    return finals


def _balances(evidence: Evidence, verdict: Verdict) -> None:
    """The ledger's entries = its balances = what Valkey says is spent."""
    sums = summed(evidence.entries)
    for window in {*sums, *evidence.balances}:
        balance = evidence.balances.get(window)
        kept = (balance.spent, balance.overrun, balance.added.plus(balance.moved)) if balance else None
        if kept != sums.get(window, (NOTHING, NOTHING, NOTHING)) and (kept or sums.get(window)):
            verdict.found(
                "G6", f"{_name(window)}: entries add up to {sums.get(window)}, the balance is {kept}"
            )
    for window, there in evidence.live.items():
        spent, overrun, change = sums.get(window, (NOTHING, NOTHING, NOTHING))
        difference = Spent(*(one - other for one, other in zip(there.spent, spent, strict=True)))
        if difference != NOTHING:
            verdict.drift[window] = difference
            verdict.found(
                "G6", f"{_name(window)}: Valkey has spent {there.spent}, the ledger's sum is {spent}"
            )
        if there.overrun != overrun:
            verdict.found("G6", f"{_name(window)}: Valkey has overrun {there.overrun}, the ledger {overrun}")
        if there.added.plus(there.moved) != change:
            verdict.found(
                "G6", f"{_name(window)}: Valkey's limit differs by {_change(there)}, the ledger's by {change}"
            )


def _leaks(evidence: Evidence, verdict: Verdict) -> None:
    """Nothing is held, and nothing is left to be done."""
    for window, there in evidence.live.items():
        if there.held != NOTHING or there.holds:
            verdict.counts["windows with leaked holds"] += 1
            verdict.found(
                "G6", f"{_name(window)} holds {there.held} in {there.holds} holds though all is over"
            )
    for place, number in evidence.work.items():
        if number:
            verdict.counts[f"left over: {place}"] = number
            verdict.found("G6", f"{number} left over: {place}")


def _answers(journal: Journal, verdict: Verdict) -> None:
    """Repeats were answered alike, nobody was refused without a reason, and everybody was answered."""
    for unlike in journal.unlike:
        if unlike.outage:
            verdict.counts["repeats of a grant answered with a degraded one, or the reverse"] += 1
        elif unlike.verb == "Commit" and _charged(unlike.first) == _charged(unlike.again):
            # Settled in the ledger while Valkey was away, asked of Valkey while the ledger was.
            verdict.counts["settlements in time that were told again as late ones, for as much"] += 1
        elif unlike.excusable and journal.lost_between(unlike.from_s, unlike.at_s):
            verdict.counts["repeats answered otherwise after Valkey lost its data"] += 1
        else:
            verdict.found("G4", f"{unlike.verb} {unlike.key}: first {unlike.first}, again {unlike.again}")
    for refused in journal.refused:
        if refused.excusable and journal.lost_between(refused.from_s, refused.at_s):
            verdict.counts["calls about what Valkey lost, refused"] += 1
        else:
            verdict.found("G4", f"{refused.verb} {refused.key} was refused: {refused.error}")
    for unanswered in journal.unanswered:
        verdict.found("G6", f"{unanswered.verb} {unanswered.key} was never answered: {unanswered.error}")


def _charged(essence: str) -> str:
    """What a Commit has charged, of what is remembered of its answer."""
    return essence.partition(")")[0]


def _change(there: LiveWindow) -> Spent:
    return there.added.plus(there.moved)


def _name(window: Window) -> str:
    return f"{window.organization} {window.budget}[{window.each_value}] of {window.start_ms}"
