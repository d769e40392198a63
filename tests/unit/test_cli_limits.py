"""Rate limits and model policies in files: what they may say, and where they are wrong."""

from __future__ import annotations

import pytest

from quota.v1 import budget_pb2, model_policy_pb2, types_pb2
from quota_service.cli.files import documents
from quota_service.cli.files.changes import Action, plan_changes
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.render import render
from quota_service.cli.files.state import Desired, Kind, Reference, Resource, State
from quota_service.cli.limits import allowed_text

FILE = """\
organization: acme
model_policies:
  support-cheap: {team: support, tiers: [1], models: [openai/gpt-4o-mini, internal/*]}
  nothing:
    name: Nothing at all
    models: []
    disabled: true
rate_limits:
  sales-rpm: {scope: {team: sales}, each: user, limit: {requests: 60}, per: 1m, burst: 10}
  openai-tpm: {scope: {provider: openai, model: gpt-4o}, limit: {tokens: 90_000}}
  runs: {each: {tag: run, max_values: 5}, limit: {requests: 3}, per: 1h, name: Runs, disabled: true}
"""


def parsed(text: str) -> tuple[Desired, Problems]:
    problems = Problems()
    [desired] = documents.parse([documents.Source("acme.yaml", text)], "", problems)
    return desired, problems


def resources() -> dict[str, Resource]:
    desired, problems = parsed(FILE)
    assert problems.errors == []
    return {key[1]: item.message for key, item in desired.resources.items()}


def test_a_rate_limit_says_who_how_many_and_in_which_time() -> None:
    sales, runs = resources()["sales-rpm"], resources()["runs"]
    assert isinstance(sales, budget_pb2.RateLimit)
    assert (sales.scope.team, sales.scope.each.dimension) == ("sales", types_pb2.DIMENSION_USER)
    assert (sales.meter, sales.limit, sales.burst) == (types_pb2.METER_REQUESTS, 60, 10)
    assert sales.interval.seconds == 60
    assert isinstance(runs, budget_pb2.RateLimit)
    assert (runs.scope.each.tag, runs.interval.seconds, runs.disabled) == ("run", 3_600, True)


def test_an_interval_left_out_is_a_minute_and_a_burst_left_out_the_limit() -> None:
    openai = resources()["openai-tpm"]
    assert isinstance(openai, budget_pb2.RateLimit)
    assert (openai.meter, openai.limit, openai.burst) == (types_pb2.METER_TOKENS, 90_000, 0)
    assert openai.interval.seconds == 60


def test_a_policy_allows_tiers_and_models_or_says_that_it_allows_nothing() -> None:
    cheap, nothing = resources()["support-cheap"], resources()["nothing"]
    assert isinstance(cheap, model_policy_pb2.ModelPolicy)
    assert isinstance(nothing, model_policy_pb2.ModelPolicy)
    assert (cheap.team, [*cheap.allowed_tiers]) == ("support", [1])
    assert [*cheap.allowed_models] == ["openai/gpt-4o-mini", "internal/*"]
    assert (allowed_text(cheap), allowed_text(nothing)) == (
        "tier 1, openai/gpt-4o-mini, internal/*",
        "nothing",
    )


def test_what_they_name_is_looked_up_before_anything_changes() -> None:
    desired, _ = parsed(FILE)
    wanted = {reference.key for reference in desired.references}
    assert wanted == {
        (Kind.TEAM, "support"),
        (Kind.TEAM, "sales"),
        (Kind.MODEL, "openai/gpt-4o-mini"),
        (Kind.MODEL, "internal/*"),
        (Kind.MODEL, "openai/gpt-4o"),
    }
    assert isinstance(desired.references[0], Reference)


def test_what_is_written_reads_as_the_same() -> None:
    desired, _ = parsed(FILE)
    state: State = {key: item.message for key, item in desired.resources.items()}
    written = render("acme", state)
    again, problems = parsed(written)
    assert problems.errors == []
    assert plan_changes(again, state, prune=True).changes == []
    assert "    limit: {requests: 60}\n    per: 1m\n    burst: 10\n" in written
    assert "    tiers: [1]\n    models: [openai/gpt-4o-mini, internal/*]\n" in written
    assert "    models: []\n" in written


def test_policies_come_before_the_budgets_whose_ladders_they_allow_and_go_last() -> None:
    text = FILE + "budgets: {b: {limit: {usd: 1}, period: daily, mode: hard}}\n"
    desired, _ = parsed(text)
    made = plan_changes(desired, {}, prune=False).changes
    assert [change.key[0] for change in made] == [Kind.MODEL_POLICY] * 2 + [Kind.RATE_LIMIT] * 3 + [
        Kind.BUDGET
    ]
    state: State = {key: item.message for key, item in desired.resources.items()}
    pruned = plan_changes(parsed("organization: acme\n")[0], state, prune=True).changes
    assert {change.action for change in pruned} == {Action.DELETED}
    assert [change.key[0] for change in pruned] == [change.key[0] for change in reversed(made)]


def test_the_order_of_what_a_policy_allows_is_no_difference() -> None:
    desired, _ = parsed("organization: acme\nmodel_policies: {p: {tiers: [2, 1], models: [b/y, a/x]}}\n")
    there = model_policy_pb2.ModelPolicy(allowed_tiers=[1, 2], allowed_models=["a/x", "b/y"], etag="7")
    assert plan_changes(desired, {(Kind.MODEL_POLICY, "p"): there}, prune=False).changes == []


def test_kinds_have_names_for_people() -> None:
    assert (Kind.MODEL_POLICY.label, Kind.MODEL_POLICY.plural) == ("model policy", "model policies")
    assert (Kind.RATE_LIMIT.label, Kind.RATE_LIMIT.plural) == ("rate limit", "rate limits")


LIMIT = "rate_limits:\n  r: {limit: {requests: 60}}\n"
POLICY = "model_policies:\n  p: {tiers: [1]}\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (LIMIT.replace("60", "0"), "acme.yaml:2:25: rate_limits.r.limit.requests: 0 lets nothing pass"),
        (LIMIT.replace("60", "x"), "acme.yaml:2:25: rate_limits.r.limit.requests: 'x' is not a number"),
        (LIMIT.replace("requests: 60", "usd: 5"), "acme.yaml:2:14: rate_limits.r.limit: money has no rate"),
        (LIMIT.replace("60", "60, tokens: 5"), "for both, write two rate limits"),
        (LIMIT.replace("requests: 60", ""), "needs either requests or tokens"),
        (
            "rate_limits:\n  r: {limt: 5}\n",
            "acme.yaml:2:7: rate_limits.r: unknown key 'limt'; did you mean 'limit'?",
        ),
        ("rate_limits:\n  r: {per: 1m}\n", "acme.yaml:2:6: rate_limits.r: needs a limit"),
        (
            LIMIT.replace("}}", "}, per: 0s}"),
            "acme.yaml:2:35: rate_limits.r.per: 0s is not between 1s and 31d",
        ),
        (LIMIT.replace("}}", "}, per: 32d}"), "32d is not between 1s and 31d"),
        (LIMIT.replace("}}", "}, per: a minute}"), "is not a duration"),
        (LIMIT.replace("}}", "}, burst: -1}"), "rate_limits.r.burst"),
        (LIMIT.replace("}}", "}, each: {tag: run}}"), "say how many are counted, with max_values"),
        (LIMIT.replace("}}", "}, each: usr}"), "did you mean 'user'?"),
        (LIMIT.replace("r:", "a b:"), "acme.yaml:2:3: rate_limits: 'a b' is no id"),
        (POLICY.replace("1", "1001"), "acme.yaml:2:15: model_policies.p.tiers[0]: 1001 is not between"),
        (POLICY.replace("1", "x"), "acme.yaml:2:15: model_policies.p.tiers[0]: 'x' is not a number"),
        (
            POLICY.replace("tiers: [1]", "models: [gpt-4o]"),
            "acme.yaml:2:16: model_policies.p.models[0]: 'gpt-4o' is no model: write provider/model",
        ),
        (POLICY.replace("tiers: [1]", "team: x"), "acme.yaml:2:6: model_policies.p: needs tiers or models"),
        (POLICY.replace("tiers", "tier"), "unknown key 'tier'; did you mean 'tiers'?"),
        (POLICY.replace("policies", "policy"), "did you mean 'model_policies'?"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, error: str) -> None:
    errors = parsed(text)[1].errors
    assert any(error in found for found in errors), errors
