"""Answers to a request for money, and the reasons they give."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from quota_service.domain.amounts import Meter


class Reason(IntEnum):
    """Why a request was denied, or what its caller is warned of. Numbers are those of the contract."""

    BUDGET_EXHAUSTED = 1
    BUDGET_HELD = 2
    NO_BUDGET = 3
    RATE_LIMITED = 4
    MODEL_UNKNOWN = 5
    MODEL_NOT_ALLOWED = 6
    SUBJECT_DISABLED = 7
    API_KEY_REVOKED = 8
    SUBJECT_UNKNOWN = 9
    SUBJECT_CONTRADICTORY = 10
    DIMENSION_REQUIRED = 11
    TOO_MANY_VALUES = 12
    STORE_UNAVAILABLE = 13
    SOFT_LIMIT = 20
    LADDER_STEP = 21
    DOWNGRADED = 22
    PARTIAL_GRANT = 23
    WOULD_DENY = 24


class Violation(NamedTuple):
    """One limit that a request did not fit into. `source` is relative: `budgets/team`.

    Amounts are in the meter's unit; `meter` is `None` where the violation is not about an amount. `retry_ms`:
    how long to wait, `None` where waiting never helps.
    """

    reason: Reason
    message: str
    source: str = ""
    each_value: str = ""
    meter: Meter | None = None
    limit: int = 0
    ceiling: int = 0
    spent: int = 0
    held: int = 0
    requested: int = 0
    holds: int = 0
    reset_ms: int | None = None
    retryable: bool = False
    retry_ms: int | None = None


class Caution(NamedTuple):
    """Something the caller of an allowed request should know."""

    reason: Reason
    message: str
    source: str = ""
    each_value: str = ""


def decisive(violations: tuple[Violation, ...]) -> Violation:
    """The one that stands in the way longest: what a person is told is about it."""
    return max(violations, key=lambda each: (each.retry_ms is None, each.retry_ms or 0))


def retry_after_ms(violations: tuple[Violation, ...]) -> int | None:
    """The longest wait of all violations; `None` where one of them never goes away by waiting."""
    waits = [violation.retry_ms for violation in violations]
    if not waits or None in waits:
        return None
    return max(wait for wait in waits if wait is not None)
