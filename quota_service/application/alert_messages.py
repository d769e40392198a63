"""An alert in one sentence: which budget, what happened, how it stands, when it resets, when it will be used
up.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from quota_service.application.alert_ports import StoredAlert
from quota_service.application.messages import MESSAGE_LENGTH_MAX, amount
from quota_service.domain.alerting import Alert
from quota_service.domain.budget import Block, Downgrade, Notify, Restrict
from quota_service.domain.period import EPOCH

NAME_LENGTH_MAX = 60
"""How much of a name is told: the rest of the sentence must fit."""


def sentence(stored: StoredAlert) -> str:
    """At most 300 characters."""
    alert = stored.alert
    told = f"Budget {_name(alert)} {_event(alert)}: {_standing(alert)}{_ends(alert)}{_forecast(stored)}."
    return told if len(told) <= MESSAGE_LENGTH_MAX else f"{told[: MESSAGE_LENGTH_MAX - 1]}…"


def _name(alert: Alert) -> str:
    name = f"“{_clipped(alert.display_name or alert.window.budget)}”"
    return f"{name} of {_clipped(alert.window.each_value)}" if alert.window.each_value else name


def _clipped(text: str) -> str:
    return text if len(text) <= NAME_LENGTH_MAX else f"{text[: NAME_LENGTH_MAX - 1]}…"


def _event(alert: Alert) -> str:
    percent = f"{alert.step.at_percent} % of its limit"
    if alert.repeat:
        return "is still over its limit"
    match alert.step.action:
        case Notify():
            return f"has reached {percent}"
        case Restrict(max_tier=tier):
            return f"lets only models up to tier {tier} pass from {percent} on"
        case Downgrade(model=model):
            return f"diverts requests to {_clipped(model)} from {percent} on"
        case Block():
            return f"stops every request at {percent}"
        case _:
            assert_never(alert.step.action)


def _standing(alert: Alert) -> str:
    parts = f"{amount(alert.spent, alert.meter)} spent of {amount(alert.limit, alert.meter)}"
    return f"{parts}, {amount(alert.held, alert.meter)} held" if alert.held else parts


def _ends(alert: Alert) -> str:
    if alert.window.end_ms is None:
        return ""
    local = _local(alert.window.end_ms, alert)
    return f"; it resets on {local.day} {local:%b %Y %H:%M %Z}"


def _forecast(stored: StoredAlert) -> str:
    if stored.forecast_ms is None:
        return ""
    local = _local(stored.forecast_ms, stored.alert)
    return f"; at this pace the limit is reached on {local.day} {local:%b %Y}"


def _local(instant_ms: int, alert: Alert) -> datetime:
    return (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(ZoneInfo(alert.time_zone))
