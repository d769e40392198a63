"""Guarantee G2: what a hard budget is over by, cause by cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.evidence import Entry, Evidence, Window
from tests.chaos.journal import Journal
from tests.chaos.scene import BudgetRule, Spent

METERS = ("micros", "tokens", "requests")


class Cause(StrEnum):
    """Why a budget may be exceeded, in the words of the guarantee."""

    OVERRUN = "overruns"
    LATE = "late commits"
    DEGRADED = "degraded grants"
    RECORD = "records"
    CUT = "limit cuts"
    LOST = "grants lost with, or made on, a failed store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overshoot:
    """A hard budget's window that is over in one meter. `items`: what each cause accounts for at most."""

    title: str
    over: int
    items: Mapping[Cause, int]

    @property
    def unexplained(self) -> int:
        return max(0, self.over - sum(self.items.values()))


def overshoots(journal: Journal, evidence: Evidence, rules: Mapping[str, BudgetRule]) -> list[Overshoot]:
    """Every window of a hard budget that has spent more than its limit."""
    return list(_found(journal, evidence, rules))


def _found(journal: Journal, evidence: Evidence, rules: Mapping[str, BudgetRule]) -> Iterator[Overshoot]:
    of_window: dict[Window, list[Entry]] = {}
    for entry in evidence.entries:
        for window in entry.windows:
            of_window.setdefault(window, []).append(entry)
    for window, balance in evidence.balances.items():
        rule = rules[window.budget]
        for meter, limit in enumerate(rule.limits):
            if limit is None or not rule.hard:
                continue
            over = balance.spent[meter] - (limit + balance.added[meter] + balance.moved[meter])
            if over > 0:
                yield Overshoot(
                    title=f"{window.organization} {window.budget}[{window.each_value}] ({METERS[meter]})",
                    over=over,
                    items=_items(journal, of_window.get(window, []), window, meter),
                )


def _items(journal: Journal, entries: list[Entry], window: Window, meter: int) -> dict[Cause, int]:
    items = dict.fromkeys(Cause, 0)
    for entry in entries:
        cause, amount = _cause(journal, entry)
        if cause is not None:
            items[cause] += amount[meter]
        for changed, change in entry.changes:
            if changed == window:
                items[Cause.CUT] -= min(0, change.amount[meter])
    return {cause: amount for cause, amount in items.items() if amount}


def _cause(journal: Journal, entry: Entry) -> tuple[Cause | None, Spent]:
    """Why a charge may be above the limit, and how much of it: one cause each, the widest first."""
    if entry.type == "RECORD":
        return Cause.RECORD, entry.charged
    if entry.type != "COMMIT":
        return None, Spent()
    if entry.late:
        return Cause.LATE, entry.charged
    granted = journal.granted_as(entry.reservation)
    if granted is not None and granted.degraded:
        return Cause.DEGRADED, entry.charged
    if granted is not None and journal.lost_between(granted.asked_s, journal.settled_s(entry.reservation)):
        return Cause.LOST, entry.charged
    return Cause.OVERRUN, entry.overrun
