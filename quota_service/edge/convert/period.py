"""How a budget recurs."""

from __future__ import annotations

from typing import assert_never

from google.type.dayofweek_pb2 import DayOfWeek

from quota.v1 import budget_pb2
from quota_service.domain.errors import FieldProblem, NotYetAccepted
from quota_service.domain.period import Daily, Monthly, Once, Period, Weekly
from quota_service.edge.convert.times import milliseconds, timestamp


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
        case Once():
            return budget_pb2.Period(once=_once(value), time_zone=time_zone)
        case _:
            assert_never(value)


def period_of(message: budget_pb2.Period) -> Period:
    """The period of a message that has a rule. Raises NotYetAccepted for those that come later."""
    match message.WhichOneof("rule"):
        case "daily":
            return Daily()
        case "weekly":
            return Weekly(start_day=message.weekly.start or 1)
        case "monthly":
            return Monthly(reset_day=message.monthly.reset_day or 1)
        case "once":
            return _once_of(message.once)
        case rule:
            raise NotYetAccepted(
                FieldProblem(
                    f"budget.period.{rule}",
                    "comes with a later version; there are daily, weekly, monthly and once",
                )
            )


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
