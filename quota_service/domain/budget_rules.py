"""What must hold for a budget as a whole, and what it refers to. Field paths are relative to the budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import assert_never

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Limits
from quota_service.domain.budget import Budget
from quota_service.domain.faults import Fault, time_zone_faults
from quota_service.domain.ladder_rules import ladder_faults, ladder_references
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Quarterly, Weekly, Yearly
from quota_service.domain.scope_rules import Reference, scope_faults, scope_references

OVERRIDES_MAX = 1_000
RECIPIENTS_MAX = 32
ALERT_COOLDOWN_MS_MAX = 31 * 86_400_000
CARRY_PERCENT_MAX = 1_000
FIXED_LENGTH_MS_MIN = 60_000
FIXED_LENGTH_MS_MAX = 3_660 * 86_400_000

_PEOPLE = frozenset({"user", "leads", "admins"})
_RECIPIENT = re.compile(r"(?P<channel>[a-z][a-z0-9_+-]{0,31}):(?P<address>[^\x00-\x20\x7f]{1,223})")
_ADDRESSES = {"slack": re.compile(r"[#@].+"), "email": re.compile(r"[^@]+@[^@]+")}


def faults(budget: Budget) -> tuple[Fault, ...]:
    """Everything that is wrong with the budget by itself, without looking at what it refers to."""
    return (
        *_limit_faults(budget.limits, "limits"),
        *scope_faults(budget.scope),
        *_period_faults(budget),
        *time_zone_faults(budget.time_zone, "period.time_zone"),
        *_override_faults(budget),
        *ladder_faults(budget),
        *_rollover_faults(budget),
        *_recipient_faults(budget.recipients),
        *_cooldown_faults(budget.alert_cooldown_ms),
    )


def references(budget: Budget) -> tuple[Reference, ...]:
    """Everything that must exist for the budget to make sense."""
    return (*scope_references(budget.scope), *ladder_references(budget))


def _limit_faults(limits: Limits, field: str) -> Iterator[Fault]:
    if not limits.meters:
        yield Fault(field, "set at least one of cost_micros, tokens and requests")
    for name, amount in limits._asdict().items():
        if amount is not None and not 0 <= amount <= WINDOW_LIMIT_MAX:
            yield Fault(f"{field}.{name}", f"must be 0–{WINDOW_LIMIT_MAX}")


def _period_faults(budget: Budget) -> Iterator[Fault]:
    match budget.period:
        case Daily():
            pass
        case Weekly(start_day=day):
            if not 1 <= day <= 7:
                yield Fault("period.weekly.start", "must be a day of the week")
        case Monthly(reset_day=day):
            if not 1 <= day <= 31:
                yield Fault("period.monthly.reset_day", "must be 1–31")
        case Quarterly(first_month=month):
            if not 1 <= month <= 12:
                yield Fault("period.quarterly.first_month", "must be 1–12")
        case Yearly(month=month, day=day):
            if not 1 <= month <= 12:
                yield Fault("period.yearly.month", "must be 1–12")
            if not 1 <= day <= 31:
                yield Fault("period.yearly.day", "must be 1–31")
        case Fixed(length_ms=length_ms):
            yield from _length_faults(length_ms)
        case Once(start_ms=start, end_ms=end):
            if end is not None and end <= (start or 0):
                yield Fault("period.once.end_time", "must be after start_time")
        case _:
            assert_never(budget.period)


def _length_faults(length_ms: int) -> Iterator[Fault]:
    if not FIXED_LENGTH_MS_MIN <= length_ms <= FIXED_LENGTH_MS_MAX:
        yield Fault("period.fixed.length", "must be 60 s to 3,660 days")
    elif length_ms % 1_000:
        yield Fault("period.fixed.length", "must be whole seconds")


def _override_faults(budget: Budget) -> Iterator[Fault]:
    if budget.overrides and budget.scope.each is None:
        yield Fault("overrides", "only go with scope.each, which gives every value a limit of its own")
    if len(budget.overrides) > OVERRIDES_MAX:
        yield Fault("overrides", f"must be at most {OVERRIDES_MAX}")
    seen: dict[str, int] = {}
    for index, override in enumerate(budget.overrides):
        first = seen.setdefault(override.each_value, index)
        if first != index:
            yield Fault(
                f"overrides[{index}].each_value",
                f"“{override.each_value}” has an override already: overrides[{first}]",
            )
        yield from _limit_faults(override.limits, f"overrides[{index}].limits")
        yield from _unlimited_meter_faults(
            override.limits, budget.limits, f"overrides[{index}].limits", "override"
        )


def _unlimited_meter_faults(amounts: Limits, base: Limits, field: str, what: str) -> Iterator[Fault]:
    for meter in amounts.meters:
        if base[meter] is None:
            name = Limits._fields[meter]
            yield Fault(f"{field}.{name}", f"the budget does not limit {name}: there is nothing to {what}")


def _rollover_faults(budget: Budget) -> Iterator[Fault]:
    carry = budget.rollover
    if carry is None:
        return
    if isinstance(budget.period, Once):
        yield Fault("rollover", "does not go with a period that is once: no window follows")
    if (carry.max_percent is None) == (carry.max_amounts is None):
        yield Fault("rollover.carry", "set either max_percent or max_amounts")
    if carry.max_percent is not None and not 1 <= carry.max_percent <= CARRY_PERCENT_MAX:
        yield Fault("rollover.carry.max_percent", f"must be 1–{CARRY_PERCENT_MAX}")
    if carry.max_amounts is not None:
        field = "rollover.carry.max_amounts"
        yield from _limit_faults(carry.max_amounts, field)
        yield from _unlimited_meter_faults(carry.max_amounts, budget.limits, field, "carry over")


def _recipient_faults(recipients: tuple[str, ...]) -> Iterator[Fault]:
    if len(recipients) > RECIPIENTS_MAX:
        yield Fault("recipients", f"must be at most {RECIPIENTS_MAX}")
    for index, recipient in enumerate(recipients):
        if not _is_recipient(recipient):
            yield Fault(
                f"recipients[{index}]",
                "must be user, leads, admins, or a channel and an address, such as slack:#finance",
            )
        elif recipient in recipients[:index]:
            yield Fault(f"recipients[{index}]", f"“{recipient}” is named twice")


def _is_recipient(recipient: str) -> bool:
    if recipient in _PEOPLE:
        return True
    parsed = _RECIPIENT.fullmatch(recipient)
    if parsed is None:
        return False
    address = _ADDRESSES.get(parsed["channel"])
    return address is None or address.fullmatch(parsed["address"]) is not None


def _cooldown_faults(alert_cooldown_ms: int) -> Iterator[Fault]:
    if not 0 <= alert_cooldown_ms <= ALERT_COOLDOWN_MS_MAX:
        yield Fault("alert_cooldown", "must be 0 s to 31 days")
