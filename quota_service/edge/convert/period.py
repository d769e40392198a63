"""How a budget recurs."""

from __future__ import annotations

from typing import assert_never

from google.type.dayofweek_pb2 import DayOfWeek

from quota.v1 import budget_pb2
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Period, Quarterly, Weekly, Yearly
from quota_service.edge.convert.times import duration, duration_ms, milliseconds, timestamp

RULES = "daily, weekly, monthly, quarterly, yearly, fixed or once"


def period(value: Period, time_zone: str) -> budget_pb2.Period:
    """A period as a message."""
    match value:
        case Daily():
            return budget_pb2.Period(daily=budget_pb2.Period.Daily(), time_zone=time_zone)
        case Weekly(start_day=day):
            weekly = budget_pb2.Period.Weekly(start=DayOfWeek.ValueType(day))
            return budget_pb2.Period(weekly=weekly, time_zone=time_zone)
        case Monthly(reset_day=day):
            return budget_pb2.Period(monthly=budget_pb2.Period.Monthly(reset_day=day), time_zone=time_zone)
        case Quarterly(first_month=month):
            quarterly = budget_pb2.Period.Quarterly(first_month=month)
            return budget_pb2.Period(quarterly=quarterly, time_zone=time_zone)
        case Yearly(month=month, day=day):
            yearly = budget_pb2.Period.Yearly(month=month, day=day)
            return budget_pb2.Period(yearly=yearly, time_zone=time_zone)
        case Fixed():
            return budget_pb2.Period(fixed=_fixed(value), time_zone=time_zone)
        case Once():
            return budget_pb2.Period(once=_once(value), time_zone=time_zone)
        case _:
            assert_never(value)


def period_of(message: budget_pb2.Period) -> Period:
    """The period of a message; what a rule leaves at 0 is the first. Raises InvalidRequest without a rule."""
    match message.WhichOneof("rule"):
        case "daily":
            return Daily()
        case "weekly":
            return Weekly(start_day=message.weekly.start or 1)
        case "monthly":
            return Monthly(reset_day=message.monthly.reset_day or 1)
        case "quarterly":
            return Quarterly(first_month=message.quarterly.first_month or 1)
        case "yearly":
            return Yearly(month=message.yearly.month or 1, day=message.yearly.day or 1)
        case "fixed":
            return _fixed_of(message.fixed)
        case "once":
            return _once_of(message.once)
        case None:
            raise InvalidRequest(FieldProblem("budget.period", f"is required: {RULES}"))


def _fixed(value: Fixed) -> budget_pb2.Period.Fixed:
    return budget_pb2.Period.Fixed(
        length=duration(value.length_ms), anchor=timestamp(value.anchor_ms) if value.anchor_ms else None
    )


def _fixed_of(message: budget_pb2.Period.Fixed) -> Fixed:
    return Fixed(length_ms=duration_ms(message.length), anchor_ms=milliseconds(message.anchor))


def _once(value: Once) -> budget_pb2.Period.Once:
    return budget_pb2.Period.Once(
        start_time=None if value.start_ms is None else timestamp(value.start_ms),
        end_time=None if value.end_ms is None else timestamp(value.end_ms),
    )


def _once_of(message: budget_pb2.Period.Once) -> Once:
    return Once(
        start_ms=milliseconds(message.start_time) if message.HasField("start_time") else None,
        end_ms=milliseconds(message.end_time) if message.HasField("end_time") else None,
    )
