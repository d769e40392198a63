"""A budget as YAML."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import dayofweek_pb2
from ruamel.yaml.nodes import Node

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files.budgets import MODES
from quota_service.cli.files.defaults import DEFAULT_COOLDOWN_S, default_ladder
from quota_service.cli.files.directory import DIMENSIONS
from quota_service.cli.files.nodes import mapping, optional, plain, sequence, string
from quota_service.cli.units import duration_text, usd_decimal

_MODE_NAMES = {number: name for name, number in MODES.items()}
_DIMENSION_NAMES = {number: name for name, number in DIMENSIONS.items()}


def budget_node(message: budget_pb2.Budget, zone: str) -> Node:
    """One budget, without its id. `zone` is the organization's, which need not be said."""
    ladder = [] if [*message.ladder] == default_ladder(message.mode) else [*message.ladder]
    cooldown = message.alert_cooldown.seconds
    says_cooldown = message.HasField("alert_cooldown") and cooldown != DEFAULT_COOLDOWN_S
    own_zone = "" if message.period.time_zone == zone else message.period.time_zone
    return mapping(
        {
            "name": optional(message.display_name),
            "scope": scope_node(message.scope),
            "each": each_node(message.scope.each) if message.scope.HasField("each") else None,
            "limit": limits(message.limits),
            "period": period_node(message.period),
            "time_zone": optional(own_zone),
            "mode": string(_MODE_NAMES.get(message.mode, "")),
            "ladder": sequence(map(_step, ladder)),
            "overrides": _overrides(message),
            "rollover": _carry(message.rollover.carry) if message.rollover.HasField("carry") else None,
            "alert_cooldown": string(duration_text(cooldown)) if says_cooldown else None,
            "recipients": sequence(map(string, message.recipients), in_line=True),
            "disabled": plain("true") if message.disabled else None,
        }
    )


def scope_node(scope: budget_pb2.Scope) -> Node | None:
    """The equalities of a scope; `None` where there are none."""
    tags = {tag: string(value) for tag, value in sorted(scope.tags.items())}
    entries = {
        "team": optional(scope.team),
        "user": optional(scope.user),
        "key": optional(scope.api_key),
        "project": optional(scope.project),
        "cost_center": optional(scope.cost_center),
        "provider": optional(scope.provider),
        "model": optional(scope.model),
        "tier": plain(str(scope.tier)) if scope.HasField("tier") else None,
        "tags": mapping(tags, in_line=True) if tags else None,
    }
    return mapping(entries, in_line=True) if any(entries.values()) else None


def each_node(each: budget_pb2.Each) -> Node:
    """The dimension whose values count by themselves."""
    name = _DIMENSION_NAMES.get(each.dimension, "")
    if name and not each.max_values:
        return string(name)
    return mapping(
        {
            "dimension": optional(name),
            "tag": optional(each.tag),
            "max_values": plain(str(each.max_values)),
        },
        in_line=True,
    )


def period_node(period: budget_pb2.Period) -> Node:
    """The rule of a period; its time zone stands beside it."""
    rule = period.WhichOneof("rule") or ""
    settings = _settings(rule, period)
    written = {key: node for key, node in settings.items() if node is not None}
    return mapping({rule: mapping(written, in_line=True)}, in_line=True) if written else string(rule)


def _settings(rule: str, period: budget_pb2.Period) -> dict[str, Node | None]:
    match rule:
        case "weekly":
            named = period.weekly.start not in (0, dayofweek_pb2.MONDAY)
            day = dayofweek_pb2.DayOfWeek.Name(period.weekly.start).lower()
            return {"start": string(day) if named else None}
        case "monthly":
            return {"reset_day": _beyond_first(period.monthly.reset_day)}
        case "quarterly":
            return {"first_month": _beyond_first(period.quarterly.first_month)}
        case "yearly":
            return {"month": _beyond_first(period.yearly.month), "day": _beyond_first(period.yearly.day)}
        case "fixed":
            fixed = period.fixed
            return {
                "length": string(duration_text(fixed.length.seconds)),
                "anchor": instant(fixed.anchor) if fixed.anchor != Timestamp() else None,
            }
        case "once":
            once = period.once
            return {
                "start": instant(once.start_time) if once.HasField("start_time") else None,
                "end": instant(once.end_time) if once.HasField("end_time") else None,
            }
    return {}


def _beyond_first(number: int) -> Node | None:
    return plain(str(number)) if number > 1 else None


def _step(step: budget_pb2.LadderStep) -> Node:
    action = step.WhichOneof("action") or ""
    entries: dict[str, Node | None] = {"at": plain(str(step.at_percent)), "do": string(action)}
    if action == "restrict":
        entries["max_tier"] = plain(str(step.restrict.max_tier))
    elif action == "downgrade":
        entries["provider"] = string(step.downgrade.provider)
        entries["model"] = string(step.downgrade.model)
    return mapping(entries, in_line=True)


def _overrides(message: budget_pb2.Budget) -> Node | None:
    entries: dict[str, Node | None] = {
        override.each_value: mapping(
            {
                "limit": limits(override.limits),
                "until": instant(override.until) if override.HasField("until") else None,
                "reason": optional(override.reason),
            }
        )
        for override in message.overrides
    }
    return mapping(entries) if entries else None


def _carry(carry: budget_pb2.Rollover.Carry) -> Node:
    if carry.HasField("max_amounts"):
        return mapping({"max": limits(carry.max_amounts)}, in_line=True)
    return mapping({"max_percent": plain(str(carry.max_percent))}, in_line=True)


def instant(moment: Timestamp) -> Node:
    """A time in UTC."""
    return plain(moment.ToJsonString())


def limits(amounts: types_pb2.Amounts) -> Node:
    """Limits such as `{usd: 2000, tokens: 5000000}`."""
    return mapping(
        {
            "usd": plain(usd_decimal(amounts.cost_micros)) if amounts.HasField("cost_micros") else None,
            "tokens": plain(str(amounts.tokens)) if amounts.HasField("tokens") else None,
            "requests": plain(str(amounts.requests)) if amounts.HasField("requests") else None,
        },
        in_line=True,
    )
