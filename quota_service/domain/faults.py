"""What is wrong with a value that a caller wants to store, collected before it is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import available_timezones

from quota_service.domain.errors import FieldProblem, InvalidRequest, TimeZoneUnknown

CHOICES_MAX = 5_000
"""How many names a suggestion is looked for in: comparing takes time that other callers wait for."""


class Fault(NamedTuple):
    """A faulty field by its path, what is wrong with it, and the error that says so to callers."""

    field: str
    description: str
    error: type[InvalidRequest] = InvalidRequest


def refuse(faults: Iterable[Fault], prefix: str = "") -> None:
    """Raises the faults' error, or InvalidRequest where they are of several kinds; nothing without faults.

    `prefix` is put before every path, such as `budget.`.
    """
    found = tuple(faults)
    if not found:
        return
    kinds = {fault.error for fault in found}
    error = kinds.pop() if len(kinds) == 1 else InvalidRequest
    raise error(*(FieldProblem(prefix + fault.field, fault.description) for fault in found))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean “…”?` with the closest of the choices, "" where none is close. Case does not matter."""
    by_lower = {choice.lower(): choice for choice in islice(choices, CHOICES_MAX)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean “{by_lower[close[0]]}”?" if close else ""


def time_zone_faults(time_zone: str, field: str) -> tuple[Fault, ...]:
    """Whether the IANA database has the zone."""
    if time_zone in _time_zones():
        return ()
    return (
        Fault(
            field,
            f"there is no time zone “{time_zone}”{did_you_mean(time_zone, _time_zones())}",
            TimeZoneUnknown,
        ),
    )


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
