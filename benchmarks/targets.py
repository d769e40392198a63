"""What is to be reached, and how a measured figure compares with it.

A figure that misses its target is told as it is. It makes no run fail: what else runs on a machine moves the
figures more than most changes of the code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Bound(StrEnum):
    """How a figure has to compare with its target."""

    AT_LEAST = "≥"
    AT_MOST = "≤"
    BELOW = "<"

    def holds(self, figure: float, target: float) -> bool:
        """Whether the figure reaches the target."""
        return bool(_COMPARES[self](figure, target))


_COMPARES: Mapping[Bound, Callable[[float, float], bool]] = {
    Bound.AT_LEAST: operator.ge,
    Bound.AT_MOST: operator.le,
    Bound.BELOW: operator.lt,
}


class Target(NamedTuple):
    """What is measured, and what it should come to. Without a unit it is a ratio."""

    what: str
    bound: Bound
    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.bound} {self.value:,g}{self.unit and ' ' + self.unit}"


TARGETS: Mapping[str, Target] = {
    "P1": Target("Authorize ÷ trivial, calls a second", Bound.AT_LEAST, 0.6),
    "P2": Target("Commit ÷ trivial, calls a second", Bound.AT_LEAST, 0.5),
    "P3": Target("p99 of Authorize ÷ p99 of trivial", Bound.AT_MOST, 3),
    "P4": Target("CPU of Authorize + Commit ÷ two trivial", Bound.AT_MOST, 2.5),
    "P5": Target("two workers ÷ one, Authorize a second", Bound.AT_LEAST, 1.6),
    "P5 by CPU": Target("two workers ÷ one, CPU a call", Bound.AT_MOST, 1.1),
    "P6": Target("100,000 budgets and keys ÷ 10", Bound.AT_LEAST, 0.85),
    "P7": Target("1,000,000 live holds ÷ 100", Bound.AT_LEAST, 0.85),
    "P8": Target("10,000,000 ledger rows ÷ none, Authorize", Bound.AT_LEAST, 0.85),
    "P8 Commit": Target("10,000,000 ledger rows ÷ none, Commit", Bound.AT_LEAST, 0.85),
    "P9": Target("Valkey's memory, a hold over 4 budgets", Bound.AT_MOST, 1_000, "bytes"),
    "P10": Target("a worker's growth over 1,000,000 calls", Bound.BELOW, 1, "MiB"),
    "P11": Target("p99 of GetBudgetStatus ÷ trivial", Bound.BELOW, 20),
    "P11 ledger": Target("p99 of ListLedgerEntries ÷ trivial", Bound.BELOW, 20),
    "P12": Target("decisions by AuthorizeBatch of 64 ÷ unary", Bound.AT_LEAST, 3),
    "P1 by k6": Target("the same by k6", Bound.AT_LEAST, 0.6),
    "P2 by k6": Target("the same by k6", Bound.AT_LEAST, 0.5),
    "P3 by k6": Target("the same by k6", Bound.AT_MOST, 3),
    "L1": Target("p50 under many limits ÷ under one budget", Bound.AT_MOST, 2),
}
"""By number. Each is a ratio within one run on one machine, but for the bytes. P11 is at 10,000,000 rows."""

FEW_CORES = 4
"""Below so many, two workers have no second core to themselves: P5 is then told by CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured. `value`: the median of `rounds`, `None` where it could not be had, and `note` says
    why; else it says what the figure is made of.
    """

    number: str
    value: float | None
    note: str = ""
    rounds: Sequence[float] = field(default=())

    @property
    def target(self) -> Target:
        return TARGETS[self.number]

    @property
    def is_met(self) -> bool | None:
        """`None`: not measured."""
        return None if self.value is None else self.target.bound.holds(self.value, self.target.value)

    def document(self) -> dict[str, object]:
        """As it is written to a file."""
        return {
            "number": self.number,
            "what": self.target.what,
            "value": self.value,
            "unit": self.target.unit,
            "target": str(self.target),
            "met": self.is_met,
            "note": self.note,
            "rounds": list(self.rounds),
        }

    def line(self) -> str:
        """One line for people and for `grep`, beginning with the number."""
        short = self.number.partition(" ")[0]
        verdict = {True: "met", False: "missed", None: "not measured"}[self.is_met]
        value = "–" if self.value is None else number(self.value)
        return (
            f"{short:4}{self.target.what:43}{value:>7}  {f'(target {self.target})':22}{verdict:14}{self.note}"
        )


def number(value: float) -> str:
    """With as many digits as mean something."""
    if value and abs(value) < 10 and value != int(value):
        return f"{value:.2f}"
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"
