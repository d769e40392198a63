"""The `budgets` section of a file."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files.directory import Declarations, check_id
from quota_service.cli.files.fields import amounts, flag, instant_reader, text, texts, time_zone, whole
from quota_service.cli.files.ladders import read_ladder
from quota_service.cli.files.periods import read_period
from quota_service.cli.files.reading import Value
from quota_service.cli.files.scopes import read_each, read_scope
from quota_service.cli.files.state import Declared, Kind
from quota_service.cli.units import parse_duration_s

MODES = {"monitor": types_pb2.MODE_MONITOR, "soft": types_pb2.MODE_SOFT, "hard": types_pb2.MODE_HARD}
LARGEST_PERCENT = 1_000

_KEYS = (
    "name",
    "scope",
    "each",
    "limit",
    "period",
    "time_zone",
    "mode",
    "ladder",
    "overrides",
    "rollover",
    "alert_cooldown",
    "recipients",
    "disabled",
)


def read_budgets(section: Value, zone: str, into: Declarations) -> None:
    """A mapping of ids to budgets. `zone` is where dates begin that have no time."""
    for identifier, value in section.entries().items():
        check_id(section, identifier)
        message = _budget(value, zone, into)
        declared = Declared(message=message, place=section.key_place(identifier))
        into.declare((Kind.BUDGET, identifier), declared, value)


def _budget(value: Value, zone: str, into: Declarations) -> budget_pb2.Budget:
    fields = value.fields(*_KEYS)
    own_zone = time_zone(fields)
    message = budget_pb2.Budget(
        display_name=text(fields, "name"),
        scope=read_scope(fields["scope"], into) if "scope" in fields else budget_pb2.Scope(),
        disabled=flag(fields, "disabled"),
        recipients=[entry.text() for entry in texts(fields, "recipients")],
    )
    for required in ("limit", "period", "mode"):
        if required not in fields and value.is_mapping:
            value.problem(f"needs a {required}")
    if "limit" in fields:
        message.limits.CopyFrom(amounts(fields["limit"]))
    if "period" in fields:
        message.period.CopyFrom(read_period(fields["period"], own_zone or zone))
    message.period.time_zone = own_zone
    if "mode" in fields:
        message.mode = MODES.get(fields["mode"].choice(MODES), message.mode)
    if "each" in fields:
        message.scope.each.CopyFrom(read_each(fields["each"]))
    if "overrides" in fields:
        _overrides(fields["overrides"], message, own_zone or zone, into)
    if "ladder" in fields:
        message.ladder.extend(read_ladder(fields["ladder"], message.mode, into))
    if "rollover" in fields:
        message.rollover.CopyFrom(_rollover(fields["rollover"]))
    if "alert_cooldown" in fields:
        seconds = fields["alert_cooldown"].parsed(parse_duration_s, 0)
        message.alert_cooldown.CopyFrom(Duration(seconds=seconds))
    return message


def _overrides(value: Value, message: budget_pb2.Budget, zone: str, into: Declarations) -> None:
    if not message.scope.HasField("each"):
        value.problem("only a budget with `each` has values of its own to override")
    kind = {types_pb2.DIMENSION_TEAM: Kind.TEAM, types_pb2.DIMENSION_USER: Kind.USER}.get(
        message.scope.each.dimension
    )
    for each_value, entry in value.entries().items():
        fields = entry.fields("limit", "until", "reason")
        override = message.overrides.add(each_value=each_value, reason=text(fields, "reason"))
        if kind and each_value:
            into.refer(entry, (kind, each_value), required=False)
        if "limit" in fields:
            override.limits.CopyFrom(amounts(fields["limit"]))
        else:
            entry.problem("needs a limit")
        until = fields["until"].parsed(instant_reader(zone), None) if "until" in fields else None
        if until:
            override.until.CopyFrom(until)


def _rollover(value: Value) -> budget_pb2.Rollover:
    if value.is_scalar:
        value.choice(("none",))
        return budget_pb2.Rollover(none=budget_pb2.Rollover.Nothing())
    fields = value.fields("max_percent", "max")
    if ("max_percent" in fields) == ("max" in fields):
        value.problem("needs either max_percent or max, or is `none`")
        return budget_pb2.Rollover()
    if "max" in fields:
        return budget_pb2.Rollover(carry=budget_pb2.Rollover.Carry(max_amounts=amounts(fields["max"])))
    percent = whole(fields, "max_percent", smallest=1, largest=LARGEST_PERCENT)
    return budget_pb2.Rollover(carry=budget_pb2.Rollover.Carry(max_percent=percent))
