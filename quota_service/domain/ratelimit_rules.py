"""What must hold for a rate limit, and what it refers to. Field paths are relative to the rate limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Meter
from quota_service.domain.faults import Fault
from quota_service.domain.ratelimit import DEBT_MAX, RateLimit, term_of
from quota_service.domain.scope_rules import Reference, scope_faults, scope_references

INTERVAL_MS_MIN = 1_000
INTERVAL_MS_MAX = 31 * 86_400_000

BURST_DEBT_MAX = DEBT_MAX // 2
"""A full burst, in units of debt: as much again can be used beyond it before the debt is capped."""


def faults(limit: RateLimit) -> tuple[Fault, ...]:
    """Everything that is wrong with the rate limit by itself, without looking at what it refers to."""
    alone = (*_amount_faults(limit), *_interval_faults(limit.interval_ms))
    # Whether it can be counted exactly is known only of amounts that are sound.
    counted = () if alone else _exactness_faults(limit)
    return (*_meter_faults(limit.meter), *alone, *counted, *scope_faults(limit.scope))


def references(limit: RateLimit) -> tuple[Reference, ...]:
    """Everything that must exist for the rate limit to make sense."""
    return scope_references(limit.scope)


def _meter_faults(meter: Meter) -> Iterator[Fault]:
    if meter is Meter.COST:
        yield Fault(
            "meter", "must be tokens or requests: limit money with a budget, which can be a daily one"
        )


def _amount_faults(limit: RateLimit) -> Iterator[Fault]:
    if not 1 <= limit.limit <= WINDOW_LIMIT_MAX:
        yield Fault(
            "limit", f"must be 1–{WINDOW_LIMIT_MAX}; to let nothing pass, use a budget with a limit of 0"
        )
    if not 0 <= limit.burst <= WINDOW_LIMIT_MAX:
        yield Fault("burst", f"must be 0–{WINDOW_LIMIT_MAX}")


def _interval_faults(interval_ms: int) -> Iterator[Fault]:
    if not INTERVAL_MS_MIN <= interval_ms <= INTERVAL_MS_MAX:
        yield Fault("interval", "must be 1 s to 31 days")
    elif interval_ms % 1_000:
        yield Fault("interval", "must be whole seconds")


def _exactness_faults(limit: RateLimit) -> Iterator[Fault]:
    if _is_exact(limit):
        return
    if limit.burst and _is_exact(replace(limit, burst=0)):
        most = BURST_DEBT_MAX // term_of(limit, "").scale
        yield Fault(
            "burst", f"is too large to be counted exactly: at most {most} with this limit and interval"
        )
        return
    rounder = next(
        (f": {number}, say" for number in _rounder(limit.limit) if _is_exact_at(limit, number)), ""
    )
    yield Fault(
        "limit",
        f"{limit.limit} in {limit.interval_ms} ms cannot be counted exactly; take a rounder number{rounder}, "
        "or a shorter interval",
    )


def _is_exact(limit: RateLimit) -> bool:
    term = term_of(limit, "")
    return term.burst * term.scale <= BURST_DEBT_MAX


def _is_exact_at(limit: RateLimit, number: int) -> bool:
    return _is_exact(replace(limit, limit=number, burst=min(limit.burst, number)))


def _rounder(number: int) -> Iterator[int]:
    """The number rounded down to ever fewer digits."""
    for power in range(1, len(str(number))):
        yield number - number % 10**power
