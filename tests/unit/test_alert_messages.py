"""Alerts in sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from quota_service.application.alert_messages import sentence
from quota_service.application.alert_ports import StoredAlert
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Action, Block, Downgrade, LadderStep, Mode, Notify, Restrict
from quota_service.domain.reservation import WindowRef


def ms(year: int, month: int, day: int) -> int:
    return (
        int(datetime(year, month, day, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC).timestamp()) * 1_000
    )


ALERT = Alert(
    organization="acme",
    window=WindowRef("eng", "", ms(2026, 11, 1), ms(2026, 12, 1)),
    step=LadderStep(at_percent=80, action=Notify()),
    meter=Meter.COST,
    mode=Mode.HARD,
    limit=150_000_000,
    spent=120_500_000,
    display_name="Engineering",
    time_zone="Europe/Berlin",
)


def told(alert: Alert, forecast_ms: int | None = None) -> str:
    return sentence(StoredAlert(id=1, alert=alert, create_ms=ms(2026, 11, 15), forecast_ms=forecast_ms))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Notify(), "has reached 80 % of its limit"),
        (Restrict(max_tier=1), "lets only models up to tier 1 pass from 80 % of its limit on"),
        (Downgrade(provider="house", model="plain"), "diverts requests to plain from 80 % of its limit on"),
        (Block(), "stops every request at 80 % of its limit"),
    ],
)
def test_an_alert_says_which_budget_what_happened_how_it_stands_and_when_it_resets(
    action: Action, expected: str
) -> None:
    assert told(replace(ALERT, step=LadderStep(at_percent=80, action=action))) == (
        f"Budget “Engineering” {expected}: $120.50 spent of $150.00; it resets on 1 Dec 2026 00:00 CET."
    )


def test_it_tells_the_value_what_is_held_and_when_the_limit_will_be_reached() -> None:
    window = ALERT.window._replace(each_value="ada")
    assert told(replace(ALERT, window=window, held=1_000_000), ms(2026, 11, 19)) == (
        "Budget “Engineering” of ada has reached 80 % of its limit: $120.50 spent of $150.00, $1.00 held; it "
        "resets on 1 Dec 2026 00:00 CET; at this pace the limit is reached on 19 Nov 2026."
    )


def test_a_reminder_says_that_the_budget_is_still_over() -> None:
    reminder = replace(
        ALERT, mode=Mode.SOFT, repeat=2, meter=Meter.TOKENS, limit=1_000, spent=2_000, display_name="",
        window=ALERT.window._replace(end_ms=None),
    )  # fmt: skip
    assert told(reminder) == "Budget “eng” is still over its limit: 2,000 tokens spent of 1,000 tokens."


def test_an_alert_is_never_longer_than_300_characters() -> None:
    window = ALERT.window._replace(each_value="v" * 256)
    longest = replace(
        ALERT,
        window=window,
        display_name="n" * 256,
        step=LadderStep(at_percent=1_000, action=Downgrade(provider="p" * 64, model="m" * 256)),
        meter=Meter.REQUESTS,
        limit=9 * 10**14,
        spent=9 * 10**14,
        held=9 * 10**14,
    )
    assert len(told(longest, ms(2026, 11, 19))) <= 300
