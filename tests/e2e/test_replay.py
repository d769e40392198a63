"""A replay of a real trace against a real server, with its three checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Server

TRACE = str(Path(__file__).parents[2] / "examples" / "traces" / "azure-llm-2023-conversation.csv.gz")

TIGHT = """\
organization: acme
budgets:
  engineering-monthly:
    scope: {team: engineering}
    limit: {usd: 1.5, tokens: 1500000000}
    period: monthly
    mode: hard
  tim-daily:
    scope: {user: tim}
    limit: {usd: 5, requests: 60}
    period: daily
    mode: hard
"""


@pytest.mark.timeout(300)
def test_the_first_2000_requests_pass_the_three_checks(server: Server) -> None:
    assert server.quota("apply", "-f", "-", stdin=TIGHT).code == 0
    done = server.quota("replay", TRACE, "--requests", "2000", "--concurrency", "64", "--json")
    report = json.loads(done.out)
    assert [(check["name"], check["contradictions"]) for check in report["checks"]] == [
        ("no hard budget exceeded beyond its itemised overruns", []),
        ("no hold leaked", []),
        ("spent equals the ledger's sum", []),
    ]
    assert (done.code, report["passed"], report["errors"]) == (0, True, {})
    assert report["granted"] + report["denied"] == 2_000
    assert sum(report["fates"].values()) == report["granted"]
    assert all(report["fates"].values())
    sources = {denial["source"].rpartition("/")[2] for denial in report["denials"]}
    assert sources == {"engineering-monthly", "tim-daily"}
    assert {entry["team"] for entry in report["spent"]} == {"engineering", "sales", "support"}
    spent = sum(int(entry["costMicros"]) for entry in report["spent"])
    assert str(spent) == report["chargedMicros"]
    assert 0 < report["holdUsePercent"] < 100


def test_a_replay_at_a_speed_waits_for_arrivals_and_prints_a_report(server: Server) -> None:
    done = server.quota("replay", TRACE, "--requests", "50", "--speed", "60")
    assert done.code == 0, done.out + done.err
    assert "50 requests of azure-llm-2023-conversation.csv.gz, seed 1" in done.out
    assert done.out.count("ok   ") == 3
    assert done.err == ""


def test_a_budget_created_after_money_was_spent_is_checked_with_it(server: Server) -> None:
    assert server.quota("replay", TRACE, "--requests", "50").code == 0
    late = (
        "organization: acme\nbudgets: {late: {limit: {usd: 100}, each: team, period: monthly, mode: hard}}\n"
    )
    assert server.quota("apply", "-f", "-", stdin=late).code == 0
    done = server.quota("replay", TRACE, "--requests", "50", "--seed", "2")
    assert done.code == 0, done.out


def test_unknown_models_are_refused_before_anything_is_sent(server: Server) -> None:
    done = server.quota("replay", TRACE, "--model", "openai/gpt-nine")
    assert (done.code, "no model openai/gpt-nine" in done.err) == (3, True)
