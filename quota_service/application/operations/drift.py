"""What a comparison tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from quota_service.application.operations.comparison import Pair, Quantity
from quota_service.domain.amounts import Meter
from quota_service.domain.reservation import WindowRef


class Missing(IntEnum):
    """Where a hold is missing. The numbers are the contract's."""

    VALKEY = 1
    LEDGER = 2


class Step(IntEnum):
    """What is being done. The numbers are the contract's."""

    READING = 1
    LOOKING_AGAIN = 2
    REPAIRING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a comparison is."""

    step: Step
    windows: int
    holds: int
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDrift:
    """A number of a window that differs."""

    window: WindowRef
    quantity: Quantity
    meter: Meter | None
    numbers: Pair
    after_repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDrift:
    """A hold that one store has and the other has not."""

    reservation: str
    missing_in: Missing
    after_repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The end of a comparison. `undecided`: windows and holds that differed in another way in each look."""

    windows: int
    holds: int
    drifts: int
    undecided: int
    repaired: bool


Told = Progress | WindowDrift | HoldDrift | Summary
