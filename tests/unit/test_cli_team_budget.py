"""The JSON in which finance teams write a team's budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files import documents
from quota_service.cli.files.changes import plan_changes
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.state import Kind, State

EXAMPLE = Path(__file__).parents[2] / "examples" / "finance-team.json"


def parsed(text: str) -> tuple[budget_pb2.Budget, Problems]:
    problems = Problems()
    [desired] = documents.parse([documents.Source("team.json", text)], "acme", problems)
    for key, declared in desired.resources.items():
        if key[0] is Kind.BUDGET and isinstance(declared.message, budget_pb2.Budget):
            return declared.message, problems
    return budget_pb2.Budget(), problems


def with_value(key: str, value: object) -> str:
    return json.dumps({**json.loads(EXAMPLE.read_text()), key: value})


def steps(budget: budget_pb2.Budget) -> list[tuple[int, str | None]]:
    return [(step.at_percent, step.WhichOneof("action")) for step in budget.ladder]


def test_the_example_becomes_a_monthly_hard_budget() -> None:
    budget, problems = parsed(EXAMPLE.read_text())
    assert problems.errors == []
    assert budget.limits == types_pb2.Amounts(cost_micros=150_000_000, tokens=5_000_000)
    assert (budget.mode, budget.scope.team) == (types_pb2.MODE_HARD, "finance-department")
    assert (budget.period.monthly.reset_day, budget.period.time_zone) == (1, "")
    assert steps(budget) == [(50, "notify"), (80, "notify"), (100, "notify"), (100, "block")]
    assert list(budget.recipients) == ["slack:#finance-ai-alerts", "email:cto@company.com"]


def test_the_budget_is_named_after_the_team_and_the_team_is_only_created() -> None:
    problems = Problems()
    source = documents.load(str(EXAMPLE))
    [desired] = documents.parse([source], "acme", problems)
    assert list(desired.resources) == [
        (Kind.TEAM, "finance-department"),
        (Kind.BUDGET, "finance-department-monthly"),
    ]
    state: State = {key: item.message for key, item in desired.resources.items()}
    assert plan_changes(desired, state, prune=False).changes == []


@pytest.mark.parametrize(
    ("action", "mode", "expected"),
    [
        ("block", types_pb2.MODE_HARD, [(50, "notify"), (100, "block"), (120, "notify")]),
        (
            "block_and_notify",
            types_pb2.MODE_HARD,
            [(50, "notify"), (100, "notify"), (100, "block"), (120, "notify")],
        ),
        ("notify_only", types_pb2.MODE_SOFT, [(50, "notify"), (120, "notify")]),
    ],
)
def test_actions_become_modes_and_ladders(
    action: str, mode: types_pb2.Mode.ValueType, expected: list[tuple[int, str]]
) -> None:
    text = json.dumps(
        {
            "team": "a",
            "monthly_token_limit": 1,
            "notification_thresholds": [1.2, 0.5],
            "action_on_hard_limit": action,
        }
    )
    budget, problems = parsed(text)
    assert problems.errors == []
    assert (budget.mode, steps(budget)) == (mode, expected)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            with_value("action_on_hard_limit", "blok"),
            "'blok' is none of block_and_notify, block, notify_only",
        ),
        (with_value("action_on_hard_limit", "blok"), "did you mean 'block'?"),
        (with_value("notification_thresholds", [0.555]), "0.555 is not a whole percentage"),
        (with_value("notification_thresholds", [80]), "0.8 means 80 %"),
        (with_value("monthly_spend_limit_usd", -1), "-1 is negative"),
        (with_value("monthly_token_limit", 1.5), "1.5 is not a whole number"),
        (with_value("reset_day", 0), "0 is not between 1 and 31"),
        ('{"team": "a"}', "needs monthly_spend_limit_usd, monthly_token_limit or both"),
        ('{"monthly_token_limit": 5}', "team.json:1:1: needs a team"),
        (
            '{"team": "a",\n "monthly_token_limit": 1,\n "reset_dya": 1}',
            "team.json:3:2: unknown key 'reset_dya'; did you mean 'reset_day'?",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, error: str) -> None:
    _, problems = parsed(text)
    assert any(error in found for found in problems.errors), problems.errors


def test_tabs_between_tokens_are_json_too() -> None:
    budget, problems = parsed('{\n\t"team": "a",\n\t"monthly_token_limit": 7\n}')
    assert (problems.errors, budget.limits.tokens) == ([], 7)
