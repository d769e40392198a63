"""The period of a budget: `monthly`, `{monthly: {reset_day: 15}}` or `{fixed: {length: 14d}}`."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.type import dayofweek_pb2

from quota.v1 import budget_pb2
from quota_service.cli.files.fields import instant_reader, whole
from quota_service.cli.files.reading import Value
from quota_service.cli.units import parse_duration_s

RULES = {
    "daily": (),
    "weekly": ("start",),
    "monthly": ("reset_day",),
    "quarterly": ("first_month",),
    "yearly": ("month", "day"),
    "fixed": ("length", "anchor"),
    "once": ("start", "end"),
}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LARGEST_MONTH = 12
LARGEST_DAY = 31
SHORTEST_LENGTH_S = 60
LONGEST_LENGTH_S = 3_660 * 86_400


def read_period(value: Value, zone: str) -> budget_pb2.Period:
    """A period; `zone` is where dates begin that have no time."""
    if value.is_scalar:
        period = budget_pb2.Period()
        rule = value.choice(RULES)
        if rule:
            getattr(period, rule).SetInParent()
        if rule == "fixed":
            value.problem("fixed needs a length", hint="write {fixed: {length: 14d}}")
        return period
    rules = value.fields(*RULES)
    if len(rules) != 1:
        value.problem(f"needs exactly one of {', '.join(RULES)}")
        return budget_pb2.Period()
    [(rule, settings)] = rules.items()
    return _with_settings(rule, settings, zone)


def _with_settings(rule: str, value: Value, zone: str) -> budget_pb2.Period:
    period = budget_pb2.Period()
    getattr(period, rule).SetInParent()
    fields = value.fields(*RULES[rule])
    if rule == "weekly" and "start" in fields:
        period.weekly.start = _day(fields["start"])
    elif rule == "monthly":
        period.monthly.reset_day = whole(fields, "reset_day", smallest=1, largest=LARGEST_DAY)
    elif rule == "quarterly":
        period.quarterly.first_month = whole(fields, "first_month", smallest=1, largest=LARGEST_MONTH)
    elif rule == "yearly":
        period.yearly.month = whole(fields, "month", smallest=1, largest=LARGEST_MONTH)
        period.yearly.day = whole(fields, "day", smallest=1, largest=LARGEST_DAY)
    elif rule == "fixed":
        if "length" in fields:
            period.fixed.length.CopyFrom(Duration(seconds=fields["length"].parsed(_parse_length_s, 0)))
        elif value.is_mapping:
            value.problem("needs a length")
        _set_instant(period.fixed.anchor, fields.get("anchor"), zone)
    elif rule == "once":
        _set_instant(period.once.start_time, fields.get("start"), zone)
        _set_instant(period.once.end_time, fields.get("end"), zone)
    return period


def _parse_length_s(written: str) -> int:
    length_s = parse_duration_s(written)
    if not SHORTEST_LENGTH_S <= length_s <= LONGEST_LENGTH_S:
        raise ValueError(f"{written} is not between 60s and 3660d")
    return length_s


def _day(value: Value) -> dayofweek_pb2.DayOfWeek:
    day = value.choice(DAYS)
    return dayofweek_pb2.DayOfWeek.Value(day.upper()) if day else dayofweek_pb2.DAY_OF_WEEK_UNSPECIFIED


def _set_instant(field: object, value: Value | None, zone: str) -> None:
    instant = value.parsed(instant_reader(zone), None) if value else None
    if instant:
        field.CopyFrom(instant)  # type: ignore[attr-defined]
