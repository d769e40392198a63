"""What must hold for a budget as a whole, and what it refers to. Field paths are relative to the budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, assert_never

from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Limits
from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode, Restrict
from quota_service.domain.faults import Fault, time_zone_faults
from quota_service.domain.period import Daily, Monthly, Once, Weekly
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension

PERCENT_MAX = 1_000
TIER_MAX = 1_000
EACH_VALUES_MAX = 1_000_000
OVERRIDES_MAX = 1_000
LADDER_STEPS_MAX = 20
RECIPIENTS_MAX = 32
ALERT_COOLDOWN_MS_MAX = 31 * 86_400_000

_PEOPLE = frozenset({"user", "leads", "admins"})
_RECIPIENT = re.compile(r"(?P<channel>[a-z][a-z0-9_+-]{0,31}):(?P<address>[^\x00-\x20\x7f]{1,223})")
_ADDRESSES = {"slack": re.compile(r"[#@].+"), "email": re.compile(r"[^@]+@[^@]+")}


class Reference(NamedTuple):
    """Something that a budget names: a dimension's `value`, at `field`. No `provider`: a model of any."""

    field: str
    dimension: Dimension
    value: str
    provider: str = ""


def faults(budget: Budget) -> tuple[Fault, ...]:
    """Everything that is wrong with the budget by itself, without looking at what it refers to."""
    return (
        *_limit_faults(budget.limits, "limits"),
        *_scope_faults(budget.scope),
        *_period_faults(budget),
        *time_zone_faults(budget.time_zone, "period.time_zone"),
        *_override_faults(budget),
        *_ladder_faults(budget),
        *_recipient_faults(budget.recipients),
        *_cooldown_faults(budget.alert_cooldown_ms),
    )


def references(budget: Budget) -> tuple[Reference, ...]:
    """Everything that must exist for the budget to make sense."""
    scope = budget.scope
    named = (
        Reference("scope.team", Dimension.TEAM, scope.team),
        Reference("scope.user", Dimension.USER, scope.user),
        Reference("scope.api_key", Dimension.API_KEY, scope.api_key),
        Reference("scope.project", Dimension.PROJECT, scope.project),
        Reference("scope.cost_center", Dimension.COST_CENTER, scope.cost_center),
        Reference("scope.provider", Dimension.PROVIDER, scope.provider),
        Reference("scope.model", Dimension.MODEL, scope.model, scope.provider),
    )
    diverted = (
        Reference(
            f"ladder[{index}].downgrade.model", Dimension.MODEL, step.action.model, step.action.provider
        )
        for index, step in enumerate(budget.ladder)
        if isinstance(step.action, Downgrade)
    )
    return (*(reference for reference in named if reference.value), *diverted)


def _limit_faults(limits: Limits, field: str) -> Iterator[Fault]:
    if not limits.meters:
        yield Fault(field, "set at least one of cost_micros, tokens and requests")
    for name, amount in limits._asdict().items():
        if amount is not None and not 0 <= amount <= WINDOW_LIMIT_MAX:
            yield Fault(f"{field}.{name}", f"must be 0–{WINDOW_LIMIT_MAX}")


def _scope_faults(scope: Scope) -> Iterator[Fault]:
    if scope.tier is not None and not 0 <= scope.tier <= TIER_MAX:
        yield Fault("scope.tier", f"must be 0–{TIER_MAX}")
    if scope.each is not None:
        yield from _each_faults(scope.each)


def _each_faults(each: Each) -> Iterator[Fault]:
    is_tag = each.dimension is Dimension.TAG
    if each.dimension is Dimension.ORGANIZATION:
        yield Fault(
            "scope.each.dimension", "a budget belongs to one organization: there is nothing to tell apart"
        )
    if is_tag and not each.tag:
        yield Fault("scope.each.tag", "is required with DIMENSION_TAG")
    if not is_tag and each.tag:
        yield Fault("scope.each.tag", "only goes with DIMENSION_TAG")
    if is_tag and not each.max_values:
        yield Fault(
            "scope.each.max_values", "is required with DIMENSION_TAG: callers make up tags as they like"
        )
    if not 0 <= each.max_values <= EACH_VALUES_MAX:
        yield Fault("scope.each.max_values", f"must be 0–{EACH_VALUES_MAX}")


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
        case Once(start_ms=start, end_ms=end):
            if end is not None and end <= (start or 0):
                yield Fault("period.once.end_time", "must be after start_time")
        case _:
            assert_never(budget.period)


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
        yield from _unlimited_meter_faults(override.limits, budget.limits, f"overrides[{index}].limits")


def _unlimited_meter_faults(override: Limits, base: Limits, field: str) -> Iterator[Fault]:
    for meter in override.meters:
        if base[meter] is None:
            name = Limits._fields[meter]
            yield Fault(f"{field}.{name}", f"the budget does not limit {name}: there is nothing to override")


def _ladder_faults(budget: Budget) -> Iterator[Fault]:
    ladder = budget.ladder
    if len(ladder) > LADDER_STEPS_MAX:
        yield Fault("ladder", f"must have at most {LADDER_STEPS_MAX} steps")
    for index, step in enumerate(ladder):
        yield from _step_faults(step, f"ladder[{index}]")
    for index, (before, after) in enumerate(pairwise(ladder)):
        yield from _order_faults(before, after, f"ladder[{index + 1}]")
    if ladder and budget.mode is Mode.HARD and not any(isinstance(step.action, Block) for step in ladder):
        yield Fault(
            "ladder",
            "a hard budget needs a block step; leave the ladder out for notify 50, 80, 100 and block 100",
        )


def _step_faults(step: LadderStep, field: str) -> Iterator[Fault]:
    if not 1 <= step.at_percent <= PERCENT_MAX:
        yield Fault(f"{field}.at_percent", f"must be 1–{PERCENT_MAX}")
    if isinstance(step.action, Restrict) and not 0 <= step.action.max_tier <= TIER_MAX:
        yield Fault(f"{field}.restrict.max_tier", f"must be 0–{TIER_MAX}")


def _order_faults(before: LadderStep, after: LadderStep, field: str) -> Iterator[Fault]:
    if after.at_percent < before.at_percent:
        yield Fault(
            f"{field}.at_percent", f"steps must rise: {after.at_percent} comes after {before.at_percent}"
        )
    elif after.at_percent == before.at_percent and type(after.action) is type(before.action):
        yield Fault(f"{field}.at_percent", f"there are two steps of one action at {after.at_percent}")


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
