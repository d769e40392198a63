"""What the server makes of things left out, so that saying nothing and saying the default are equal."""

from __future__ import annotations

import copy
from typing import TypeVar

from google.protobuf.message import Message
from google.type import dayofweek_pb2

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, model_policy_pb2, types_pb2
from quota_service.cli.files.state import Resource

_NOT_COMPARED = (
    *("name", "etag", "create_time", "update_time", "imported", "organization"),
    *("revoke_time", "secrets"),
)
_DEFAULT_NOTICES = (50, 80, 100)
DEFAULT_COOLDOWN_S = 86_400
DEFAULT_INTERVAL_S = 60

ResourceType = TypeVar("ResourceType", bound=Resource)


def default_ladder(mode: types_pb2.Mode.ValueType) -> list[budget_pb2.LadderStep]:
    """What a budget of this mode has when it brings no ladder of its own."""
    steps = [
        budget_pb2.LadderStep(at_percent=percent, notify=budget_pb2.LadderStep.Notify())
        for percent in _DEFAULT_NOTICES
    ]
    if mode == types_pb2.MODE_HARD:
        steps.append(budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block()))
    return steps


def comparable(message: ResourceType, zone: str) -> ResourceType:
    """A copy with defaults filled in, without names, versions and times that the server keeps.

    `zone` is the organization's time zone.
    """
    result = copy.deepcopy(message)
    known = result.DESCRIPTOR.fields_by_name
    for field in _NOT_COMPARED:
        if field in known:
            result.ClearField(field)  # type: ignore[arg-type]
    if isinstance(result, directory_pb2.Organization):
        _complete_organization(result)
    elif isinstance(result, catalog_pb2.Model):
        _complete_prices(result)
    elif isinstance(result, budget_pb2.Budget):
        _complete_budget(result)
        result.period.time_zone = result.period.time_zone or zone
    elif isinstance(result, budget_pb2.RateLimit):
        _complete_rate_limit(result)
    elif isinstance(result, model_policy_pb2.ModelPolicy):
        # Their order means nothing.
        result.allowed_tiers.sort()
        result.allowed_models.sort()
    return result


def _complete_organization(message: directory_pb2.Organization) -> None:
    message.time_zone = message.time_zone or "UTC"
    message.unbudgeted = message.unbudgeted or directory_pb2.UNBUDGETED_POLICY_DENY
    message.unknown_subject = message.unknown_subject or directory_pb2.UNKNOWN_SUBJECT_POLICY_DENY
    message.outage_policy = message.outage_policy or directory_pb2.OUTAGE_POLICY_DENY


def _complete_rate_limit(message: budget_pb2.RateLimit) -> None:
    message.scope.SetInParent()
    message.scope.ClearField("organization")
    if not message.HasField("interval"):
        message.interval.seconds = DEFAULT_INTERVAL_S


def _complete_budget(message: budget_pb2.Budget) -> None:
    message.scope.SetInParent()
    message.scope.ClearField("organization")
    if not message.ladder:
        message.ladder.extend(default_ladder(message.mode))
    if not message.HasField("alert_cooldown"):
        message.alert_cooldown.seconds = DEFAULT_COOLDOWN_S
    if not message.rollover.HasField("carry"):
        message.ClearField("rollover")
    message.overrides.sort(key=lambda override: override.each_value)
    _complete_period(message.period)


def _complete_period(period: budget_pb2.Period) -> None:
    match period.WhichOneof("rule"):
        case "weekly":
            period.weekly.start = period.weekly.start or dayofweek_pb2.MONDAY
        case "monthly":
            period.monthly.reset_day = period.monthly.reset_day or 1
        case "quarterly":
            period.quarterly.first_month = period.quarterly.first_month or 1
        case "yearly":
            period.yearly.month = period.yearly.month or 1
            period.yearly.day = period.yearly.day or 1
        case "fixed":
            period.fixed.anchor.SetInParent()


def _complete_prices(message: catalog_pb2.Model) -> None:
    message.prices.sort(key=_price_order)
    for price in message.prices:
        if not price.HasField("cached_input_pico_usd_per_token"):
            price.cached_input_pico_usd_per_token = price.input_pico_usd_per_token
        if not price.HasField("cache_write_pico_usd_per_token"):
            price.cache_write_pico_usd_per_token = price.input_pico_usd_per_token


def _price_order(price: catalog_pb2.ModelPrice) -> tuple[int, int, int]:
    return (price.start_time.seconds, price.start_time.nanos, price.above_input_tokens)


def changed_fields(before: Message, after: Message) -> list[str]:
    """Names of the fields in which two comparable messages differ."""
    return [
        field.name
        for field in after.DESCRIPTOR.fields
        if _only(before, field.name) != _only(after, field.name)
    ]


def _only(message: Message, field: str) -> Message:
    result = type(message)()
    result.CopyFrom(message)
    for other in message.DESCRIPTOR.fields:
        if other.name != field:
            result.ClearField(other.name)
    return result
