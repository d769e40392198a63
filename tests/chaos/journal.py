"""What the clients of a run have asked, and what they were told: the auditor's one side of the books."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.chaos.scene import Spent

CLOCK_GRAIN_S = 0.1
"""How far apart the clock of a store and ours may be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Authorize was answered ALLOW. Times are seconds since the epoch; `asked_s`: the first attempt."""

    reservation: str
    asked_s: float
    at_s: float
    expire_s: float
    degraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A Commit of `asked_s` was answered. `total`: what its usage costs in all; `told`: what the answer says
    of that.
    """

    reservation: str
    total: Spent
    told: Spent
    final: bool
    late: bool
    in_ledger: bool
    asked_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A Release was answered: the reservation has ended, however."""

    reservation: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A Record was answered."""

    key: str
    charged: Spent
    in_ledger: bool
    asked_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """By how much the limit of one counter was changed, by an adjustment or (`moved`) a reallocation."""

    organization: str
    budget: str
    each_value: str
    amount: Spent
    moved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyChanged:
    """AdjustBudget or ReallocateBudget was answered OK."""

    key: str
    changes: tuple[LimitChange, ...]
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """A repeat of the same request was answered otherwise than the first, which was asked at `from_s`.
    `excusable`: the loss of Valkey's data in between accounts for it. `outage`: one of the two was
    granted while Valkey was away, by somebody who could not know of the other.
    """

    verb: str
    key: str
    first: str
    again: str
    excusable: bool
    outage: bool
    from_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A final error, for something that was granted or asked at `from_s`. `excusable`: as above."""

    verb: str
    key: str
    error: str
    excusable: bool
    from_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """No attempt was answered, also after everything had been healed."""

    verb: str
    key: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """From `began_s` to `ended_s` something took data from Valkey. `since_s`: what was written later is gone
    (0: all).
    """

    fault: str
    since_s: float
    began_s: float
    ended_s: float


Told = Granted | Settled | Released | Recorded | MoneyChanged | Unlike | Refused | Unanswered | Loss


@dataclass(slots=True, kw_only=True)
class Journal:
    """Kept in memory, and line by line in a file where one is given."""

    granted: dict[str, Granted] = field(default_factory=dict)
    settled: list[Settled] = field(default_factory=list)
    last_settled_s: dict[str, float] = field(default_factory=dict)
    released: list[Released] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    money: list[MoneyChanged] = field(default_factory=list)
    unlike: list[Unlike] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    totals_asked: dict[str, set[Spent]] = field(default_factory=lambda: defaultdict(set))
    records_asked: dict[str, Spent] = field(default_factory=dict)
    changes_asked: dict[str, tuple[LimitChange, ...]] = field(default_factory=dict)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    file: TextIO | None = None

    def tell(self, told: Told) -> None:
        """Writes down what a client has been told, or what was done to Valkey."""
        match told:
            case Granted():
                self.granted[id_of(told.reservation)] = told
            case Settled():
                self.settled.append(told)
                self.last_settled_s[id_of(told.reservation)] = told.at_s
            case Released():
                self.released.append(told)
            case Recorded():
                self.recorded.append(told)
            case MoneyChanged():
                self.money.append(told)
            case Unlike():
                self.unlike.append(told)
            case Refused():
                self.refused.append(told)
            case Unanswered():
                self.unanswered.append(told)
            case Loss():
                self.losses.append(told)
        if self.file is not None:
            line = {"what": type(told).__name__, **dataclasses.asdict(told)}
            self.file.write(json.dumps(line) + "\n")

    def lost_between(self, from_s: float, until_s: float, *, told_s: float | None = None) -> bool:
        """Whether Valkey may have forgotten, by `until_s`, what it was told at `from_s` (or at some instant
        from then to `told_s`).
        """
        return any(
            loss.since_s - CLOCK_GRAIN_S <= (from_s if told_s is None else told_s)
            and from_s <= loss.ended_s + CLOCK_GRAIN_S
            and loss.began_s - CLOCK_GRAIN_S <= until_s
            for loss in self.losses
        )

    def may_have_lost(self, answered: Settled | Recorded) -> bool:
        """Whether a charge that was BUFFERED may be gone with Valkey's data, perhaps before its answer."""
        return self.lost_between(answered.asked_s, math.inf, told_s=answered.at_s)

    def granted_as(self, reservation: str) -> Granted | None:
        """What was granted under an id; `None` where no client was told."""
        return self.granted.get(reservation)

    def settled_s(self, reservation: str) -> float:
        """When the last Commit about it was answered; the end of all times where none was."""
        return self.last_settled_s.get(reservation, math.inf)


def id_of(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def open_journal(path: Path | None) -> Journal:
    """A journal, also written to a file where a path is given."""
    return Journal(file=path.open("w", buffering=1) if path is not None else None)
