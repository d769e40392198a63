"""Adjustments until a date: a budget's own, of one counter's limit in every window until then."""

from __future__ import annotations

from dataclasses import replace

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Amounts, Meter
from quota_service.domain.budget import Adjustment, Budget, limits_at

ADJUSTMENTS_MAX = 1_000
"""How many adjustments a budget may have at a time that are not over."""


def without_past(budget: Budget, now_ms: int) -> Budget:
    """The budget without the adjustments that are over: they change nothing any more, and the ledger has
    them. Where something rolls over, the newest stay: they tell what was left of windows that have ended.
    """
    live = live_adjustments(budget, now_ms)
    past = [each for each in budget.adjustments if each not in live] if budget.rollover is not None else []
    newest = sorted(past, key=lambda each: each.until_ms)[-max(1, ADJUSTMENTS_MAX - len(live)) :]
    kept = tuple(each for each in budget.adjustments if each in live or each in newest)
    return budget if kept == budget.adjustments else replace(budget, adjustments=kept)


def live_adjustments(budget: Budget, now_ms: int) -> tuple[Adjustment, ...]:
    """The adjustments that are not over."""
    return tuple(each for each in budget.adjustments if now_ms < each.until_ms)


def with_adjustment(budget: Budget, adjustment: Adjustment, now_ms: int) -> Budget:
    """The budget with a further adjustment, and without those that are over."""
    kept = without_past(budget, now_ms)
    return replace(kept, adjustments=(*kept.adjustments, adjustment))


def out_of_range(budget: Budget, adjustment: Adjustment, change: Amounts, now_ms: int) -> tuple[Meter, ...]:
    """The meters in which an adjustment would take the limit now below 0, or higher than a limit may be.
    `change`: by how much the live window's limit differs already.
    """
    limits, _ = limits_at(budget, adjustment.each_value, now_ms)
    return tuple(
        meter
        for meter in Meter
        if (amount := adjustment.amounts[meter])
        and not 0 <= (limits[meter] or 0) + change[meter] + amount <= WINDOW_LIMIT_MAX
    )
