"""Files of an organization: what they may say, and where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, types_pb2
from quota_service.cli.files import documents
from quota_service.cli.files.changes import plan_changes
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.render import render
from quota_service.cli.files.state import Desired, Kind, State

EXAMPLE = Path(__file__).parents[2] / "examples" / "acme.yaml"


def parsed(text: str, organization: str = "") -> tuple[Desired, Problems]:
    problems = Problems()
    [desired] = documents.parse([documents.Source("acme.yaml", text)], organization, problems)
    return desired, problems


def errors_of(text: str) -> list[str]:
    problems = Problems()
    documents.parse([documents.Source("acme.yaml", text)], "", problems)
    return problems.errors


def budget_of(lines: str) -> budget_pb2.Budget:
    desired, problems = parsed(f"organization: acme\nbudgets:\n  b:\n{lines}")
    assert problems.errors == []
    message = desired.resources[Kind.BUDGET, "b"].message
    assert isinstance(message, budget_pb2.Budget)
    return message


def test_the_example_has_everything_that_it_shows() -> None:
    desired, problems = parsed(EXAMPLE.read_text())
    kinds = [key[0] for key in desired.resources]
    modes = {
        item.message.mode
        for item in desired.resources.values()
        if isinstance(item.message, budget_pb2.Budget)
    }
    assert problems.errors == []
    assert [kinds.count(kind) for kind in Kind] == [1, 3, 6, 2, 4, 1, 0, 0, 8]
    assert modes == {types_pb2.MODE_MONITOR, types_pb2.MODE_SOFT, types_pb2.MODE_HARD}


def test_what_is_written_reads_as_the_same() -> None:
    desired, _ = parsed(EXAMPLE.read_text())
    state: State = {key: item.message for key, item in desired.resources.items()}
    again, problems = parsed(render("acme", state))
    assert problems.errors == []
    assert plan_changes(again, state, prune=True).changes == []


def test_dollars_become_micros_and_tokens_stay() -> None:
    budget = budget_of("    limit: {usd: 2000.50, tokens: 5_000_000}\n    period: monthly\n    mode: hard\n")
    assert budget.limits == types_pb2.Amounts(cost_micros=2_000_500_000, tokens=5_000_000)


@pytest.mark.parametrize(
    "settings",
    [
        {"outage_policy": directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, "degraded_cost_cap_micros": 25_500_000},
        {"outage_policy": directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, "degraded_cost_cap_micros": 0},
        {"outage_policy": directory_pb2.OUTAGE_POLICY_DENY, "degraded_cost_cap_micros": 5_000_000},
        {"outage_policy": directory_pb2.OUTAGE_POLICY_DENY},
        {},
    ],
    ids=["allows", "allows what is free", "denies with a cap", "denies", "says nothing"],
)
def test_what_an_organization_says_of_outages_is_written_and_read_as_the_same(
    settings: dict[str, Any],
) -> None:
    state: State = {(Kind.ORGANIZATION, "acme"): directory_pb2.Organization(time_zone="UTC", **settings)}
    text = render("acme", state)
    again, problems = parsed(text)
    assert problems.errors == []
    assert plan_changes(again, state, prune=True).changes == []
    assert ("outage_policy: allow_degraded\n" in text) == (settings.get("outage_policy") == 2)
    assert ("degraded_cost_cap: {usd: " in text) == ("degraded_cost_cap_micros" in settings)


def test_a_budget_can_have_all_its_parts() -> None:
    budget = budget_of(
        """\
    name: B
    scope: {team: sales, tags: {feature: chat}, tier: 2}
    each: {tag: run, max_values: 10}
    limit: {usd: 1}
    period: {monthly: {reset_day: 15}}
    time_zone: Europe/Berlin
    mode: hard
    ladder:
      - {at: 80%, do: notify}
      - {at: 100, do: restrict, max_tier: 1}
      - {at: 110, do: downgrade, provider: openai, model: gpt-5-mini}
      - {at: 120, do: block}
    overrides:
      nightly: {limit: {usd: 5}, until: 2027-01-01, reason: big}
    rollover: {max_percent: 50}
    alert_cooldown: 12h
    recipients: [leads]
    disabled: true
"""
    )
    assert budget.scope.tags == {"feature": "chat"}
    assert (budget.scope.each.dimension, budget.scope.each.max_values) == (types_pb2.DIMENSION_TAG, 10)
    assert [step.WhichOneof("action") for step in budget.ladder] == [
        "notify",
        "restrict",
        "downgrade",
        "block",
    ]
    assert [step.at_percent for step in budget.ladder] == [80, 100, 110, 120]
    assert budget.overrides[0].until.ToJsonString() == "2026-12-31T23:00:00Z"
    assert budget.rollover.carry.max_percent == 50
    assert budget.alert_cooldown.seconds == 43_200
    assert (budget.period.monthly.reset_day, budget.period.time_zone) == (15, "Europe/Berlin")


def test_prices_are_dollars_per_million_tokens() -> None:
    desired, problems = parsed(
        """\
organization: {id: acme, time_zone: UTC}
models:
  - provider: openai
    model: gpt-5
    prices:
      - usd_per_million_tokens: {input: 1.25, cached_input: 0.125, output: 10}
      - {from: 2027-01-01, usd_per_million_tokens: {input: 0.0375, output: 0.3}}
"""
    )
    model = desired.resources[Kind.MODEL, "openai/gpt-5"].message
    assert problems.errors == []
    assert isinstance(model, catalog_pb2.Model)
    assert model.prices[0].input_pico_usd_per_token == 1_250_000
    assert model.prices[0].cached_input_pico_usd_per_token == 125_000
    assert not model.prices[0].HasField("cache_write_pico_usd_per_token")
    assert model.prices[1].input_pico_usd_per_token == 37_500
    assert model.prices[1].start_time.ToJsonString() == "2027-01-01T00:00:00Z"


BUDGET = "organization: acme\nbudgets:\n  b:\n    limit: {usd: 1}\n    period: monthly\n    mode: hard\n"
OUTAGE = "organization:\n  {id: a, outage_policy: allow_degraded, degraded_cost_cap: {usd: 25}}\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("teams:\n  a:\n    nme: A\n", "acme.yaml:3:5: teams.a: unknown key 'nme'; did you mean 'name'?"),
        ("budget:\n  b: {}\n", "acme.yaml:1:1: unknown key 'budget'; did you mean 'budgets'?"),
        (BUDGET + "    each: usr\n", "acme.yaml:7:11: budgets.b.each: 'usr' is none of"),
        (BUDGET + "    each: usr\n", "did you mean 'user'?"),
        (
            BUDGET.replace("hard", "hrd"),
            "acme.yaml:6:11: budgets.b.mode: 'hrd' is none of monitor, soft, hard",
        ),
        (
            BUDGET.replace("{usd: 1}", "{usd: 1,000}"),
            "acme.yaml:4:20: budgets.b.limit: unknown key '000'; write large numbers without commas",
        ),
        (BUDGET.replace("1}", "-1}"), "acme.yaml:4:18: budgets.b.limit.usd: -1 is negative"),
        (BUDGET.replace("1}", "$5}"), "acme.yaml:4:18: budgets.b.limit.usd: '$5' is not a number: write 5"),
        (BUDGET.replace("{usd: 1}", "{}"), "needs at least one of usd, tokens, requests"),
        (BUDGET.replace("    limit: {usd: 1}\n", ""), "acme.yaml:4:5: budgets.b: needs a limit"),
        (BUDGET + "    time_zone: Europe/Berlln\n", "did you mean 'Europe/Berlin'?"),
        (BUDGET + "    ladder: [{at: 50, do: notify}]\n", "a hard budget needs a step that blocks"),
        (
            BUDGET + "    ladder:\n      - {at: 100, do: block}\n      - {at: 50, do: notify}\n",
            "acme.yaml:9:9: budgets.b.ladder[1]: 50 % stands after 100 %",
        ),
        (BUDGET + "    overrides: {ada: {limit: {usd: 2}}}\n", "only a budget with `each`"),
        (BUDGET.replace("monthly", "{monthly: {reset_day: 32}}"), "32 is not between 1 and 31"),
        (BUDGET.replace("monthly", "montly"), "did you mean 'monthly'?"),
        (BUDGET + "    each: {tag: run}\n", "say how many are counted, with max_values"),
        (
            BUDGET + "    each: user\n    overrides: {ada: {limit: {usd: 2}, until: 2027-01-01}}\n",
            "in which time zone",
        ),
        ("keys:\n  k: {user: a, team: b}\n", "acme.yaml:2:6: keys.k: needs either a user or a team"),
        ("teams:\n  a: {}\n  a: {}\n", "acme.yaml:3:3: teams.a: is written twice"),
        ("teams:\n  a b: {}\n", "acme.yaml:2:3: teams: 'a b' is no id"),
        ("teams: [a]\n", "acme.yaml:1:8: teams: must be a mapping"),
        ("teams:\n\ta: {}\n", "acme.yaml:2:1: this is not YAML"),
        ("teams: {a: {\n", "this is not YAML"),
        ("", "acme.yaml:1:1: the file is empty"),
        ("organization: {name: Acme}\n", "acme.yaml:1:15: organization: needs an id"),
        (
            OUTAGE.replace(", degraded_cost_cap: {usd: 25}", ""),
            "acme.yaml:2:26: organization.outage_policy: allow_degraded needs a degraded_cost_cap; write how "
            "much each replica may grant in one outage, such as {usd: 25}",
        ),
        (
            OUTAGE.replace("allow_degraded", "allow_degrade"),
            "acme.yaml:2:26: organization.outage_policy: 'allow_degrade' is none of deny, allow_degraded; "
            "did you mean 'allow_degraded'?",
        ),
        (
            OUTAGE.replace("{usd: 25}", "{}"),
            "acme.yaml:2:61: organization.degraded_cost_cap: needs an amount such as {usd: 25}",
        ),
        (
            OUTAGE.replace("{usd: 25}", "25"),
            "acme.yaml:2:61: organization.degraded_cost_cap: must be a mapping",
        ),
        (
            OUTAGE.replace("25}", "-25}"),
            "acme.yaml:2:67: organization.degraded_cost_cap.usd: -25 is negative",
        ),
        (
            OUTAGE.replace("usd:", "tokens:"),
            "acme.yaml:2:62: organization.degraded_cost_cap: unknown key 'tokens'",
        ),
        (
            "models: [{provider: x, model: y, usd_per_million_tokens: {input: 1}}]\n",
            "needs a price for output",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, error: str) -> None:
    assert any(error in found for found in errors_of(text)), errors_of(text)


def test_every_problem_is_reported_not_only_the_first() -> None:
    assert len(errors_of(BUDGET.replace("hard", "hrd").replace("usd: 1", "usd: x"))) == 2


def test_deeply_nested_input_is_a_problem_and_no_crash() -> None:
    assert "this is not YAML" in errors_of("a: " + "[" * 1_500)[0]


def test_a_thing_declared_in_two_files_names_both_places() -> None:
    problems = Problems()
    text = "organization: acme\nteams:\n  a: {}\n"
    documents.parse([documents.Source("x.yaml", text), documents.Source("y.yaml", text)], "", problems)
    assert problems.errors == ["y.yaml:3:6: teams.a: team 'a' is declared at x.yaml:3:3 already"]


def test_files_about_another_organization_than_the_named_one_are_refused() -> None:
    problems = Problems()
    documents.parse([documents.Source("acme.yaml", "organization: acme\n")], "globex", problems)
    assert problems.errors == ["acme.yaml:1:1: is about 'acme', but --organization says 'globex'"]
