"""Budgets."""

from __future__ import annotations

from quota.v1 import budget_pb2, types_pb2
from quota_service.application.ports import Stored
from quota_service.domain.budget import Budget, Carry, EachOverride, Mode
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.edge import names
from quota_service.edge.convert import amounts
from quota_service.edge.convert.ladder import ladder_step, ladder_step_of
from quota_service.edge.convert.period import RULES, period, period_of
from quota_service.edge.convert.scope import scope, scope_of
from quota_service.edge.convert.times import duration, duration_ms, milliseconds, timestamp

ALERT_COOLDOWN_MS_DEFAULT = 86_400_000


def budget(organization: str, stored: Stored[Budget]) -> budget_pb2.Budget:
    """A budget as a message."""
    value = stored.value
    return budget_pb2.Budget(
        name=names.resource_name(organization, names.BUDGETS, value.id),
        display_name=value.display_name,
        scope=scope(value.scope),
        period=period(value.period, value.time_zone),
        limits=amounts.limits(value.limits),
        overrides=[_override(each) for each in value.overrides],
        mode=types_pb2.Mode.ValueType(value.mode),
        ladder=[ladder_step(step) for step in value.ladder],
        rollover=_rollover(value.rollover),
        alert_cooldown=duration(value.alert_cooldown_ms),
        recipients=value.recipients,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def budget_of(message: budget_pb2.Budget, organization: str, id_: str) -> Budget:
    """A budget of a message; name, etag and times are not looked at. No time zone means the organization's.

    Raises InvalidRequest for what the domain has no value for.
    """
    _refuse_unset(message)
    return Budget(
        id=id_,
        display_name=message.display_name,
        scope=scope_of(message.scope, organization),
        period=period_of(message.period),
        time_zone=message.period.time_zone,
        limits=amounts.limits_of(message.limits),
        overrides=tuple(_override_of(each) for each in message.overrides),
        mode=Mode(message.mode),
        ladder=tuple(ladder_step_of(step) for step in message.ladder),
        rollover=_rollover_of(message.rollover),
        alert_cooldown_ms=_cooldown_ms(message),
        recipients=tuple(message.recipients),
        disabled=message.disabled,
    )


def _refuse_unset(message: budget_pb2.Budget) -> None:
    problems = []
    if message.mode == types_pb2.MODE_UNSPECIFIED:
        problems.append(FieldProblem("budget.mode", "is required: MODE_MONITOR, MODE_SOFT or MODE_HARD"))
    if message.period.WhichOneof("rule") is None:
        problems.append(FieldProblem("budget.period", f"is required: {RULES}"))
    if not amounts.limits_of(message.limits).meters:
        problems.append(FieldProblem("budget.limits", "set at least one of cost_micros, tokens and requests"))
    if problems:
        raise InvalidRequest(*problems)


def _cooldown_ms(message: budget_pb2.Budget) -> int:
    return (
        duration_ms(message.alert_cooldown)
        if message.HasField("alert_cooldown")
        else ALERT_COOLDOWN_MS_DEFAULT
    )


def _rollover(value: Carry | None) -> budget_pb2.Rollover | None:
    """That what is left expires goes without saying."""
    if value is None:
        return None
    if value.max_amounts is not None:
        carry = budget_pb2.Rollover.Carry(max_amounts=amounts.limits(value.max_amounts))
    else:
        carry = budget_pb2.Rollover.Carry(max_percent=value.max_percent or 0)
    return budget_pb2.Rollover(carry=carry)


def _rollover_of(message: budget_pb2.Rollover) -> Carry | None:
    if message.WhichOneof("rule") != "carry":
        return None
    if message.carry.WhichOneof("cap") == "max_amounts":
        return Carry(max_amounts=amounts.limits_of(message.carry.max_amounts))
    return Carry(max_percent=message.carry.max_percent)


def _override(value: EachOverride) -> budget_pb2.EachOverride:
    return budget_pb2.EachOverride(
        each_value=value.each_value,
        limits=amounts.limits(value.limits),
        until=None if value.until_ms is None else timestamp(value.until_ms),
        reason=value.reason,
    )


def _override_of(message: budget_pb2.EachOverride) -> EachOverride:
    return EachOverride(
        each_value=message.each_value,
        limits=amounts.limits_of(message.limits),
        until_ms=milliseconds(message.until) if message.HasField("until") else None,
        reason=message.reason,
    )
