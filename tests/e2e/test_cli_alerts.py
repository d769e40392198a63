"""`quota alerts` and `quota denials`, against a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.e2e.conftest import Server

TOO_MUCH = (
    "authorize",
    "--user",
    "tim",
    "--model",
    "anthropic/claude-sonnet-4-5",
    "--input-tokens",
    "2000000",
)
PATIENCE_S = 20


def soon(read: Callable[[], list[Any]]) -> list[Any]:
    """What is there once anything is: it is written a moment after the answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := read()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_what_was_denied_and_what_denied_it_are_found(server: Server) -> None:
    assert server.quota("alerts").out == "no alerts\n"
    assert server.quota("denials").out == "no denials\n"
    assert server.quota(*TOO_MUCH).code == 1
    denials = soon(lambda: server.quota_json("denials", "--user", "tim", "--budget", "tim-daily")["denials"])
    assert [(each["count"], each["reason"]) for each in denials] == [("1", "REASON_BUDGET_EXHAUSTED")]
    alerts = soon(
        lambda: server.quota_json("alerts", "--budget", "tim-daily", "--since", "2020-01-01")["alerts"]
    )
    assert [each["step"]["atPercent"] for each in alerts] == [100]
    assert alerts[0]["subject"]["user"] == "tim"

    assert server.quota_json("alerts", "--until", "2020-01-01") == {"alerts": []}
    assert server.quota_json("denials", "--team", "nobody") == {"denials": []}


def test_tables_are_for_people(server: Server) -> None:
    server.quota(*TOO_MUCH)
    soon(lambda: server.quota_json("denials")["denials"])
    soon(lambda: server.quota_json("alerts")["alerts"])
    denials, alerts = server.quota("denials", "--limit", "1"), server.quota("alerts")
    assert "budget exhausted" in denials.out
    assert "anthropic/claude-sonnet-4-5" in denials.out
    assert "the newest 1; --limit shows more" in denials.err
    assert "tim-daily" in alerts.out
    assert "100 % block" in alerts.out
    assert "\x1b[" not in denials.out + alerts.out


def test_a_time_that_is_none_is_told(server: Server) -> None:
    wrong = server.quota("alerts", "--since", "yesteryear")
    assert (wrong.code, "--since" in wrong.err) == (2, True)
