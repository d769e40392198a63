"""What clients asked and were told: all that they can hold the service to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quota_service.application.requests import Durability
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.errors import QuotaError


@dataclass(slots=True, kw_only=True)
class Told:
    """One request under its key. `sends`: how often it was sent; a client that gave up was told nothing."""

    verb: str
    key: str
    sends: int = 0
    answers: list[Any] = field(default_factory=list)
    errors: list[QuotaError] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Settling(Told):
    """A Commit. `total` is what its usage costs, worked out apart from the service."""

    total: Amounts
    keep_open: bool

    @property
    def durability(self) -> Durability | None:
        """The safest that was answered."""
        return min((answer.durability for answer in self.answers), default=None)


@dataclass(slots=True, kw_only=True)
class Charging(Told):
    """A Record."""

    total: Amounts

    @property
    def durability(self) -> Durability | None:
        return min((answer.durability for answer in self.answers), default=None)


@dataclass(slots=True)
class Journal:
    """Everything, in the order of asking."""

    authorizes: list[Told] = field(default_factory=list)
    commits: list[Settling] = field(default_factory=list)
    others: list[Told] = field(default_factory=list)
    records: list[Charging] = field(default_factory=list)
    adjustments: list[Told] = field(default_factory=list)

    def commits_of(self, reservation: str) -> list[Settling]:
        return [told for told in self.commits if told.key == reservation]

    def totals_of(self, reservation: str) -> set[Amounts]:
        """What a reservation may have been charged, all in all."""
        return {NOTHING, *(told.total for told in self.commits_of(reservation))}

    def everything(self) -> list[Told]:
        return [*self.authorizes, *self.commits, *self.others, *self.records, *self.adjustments]
