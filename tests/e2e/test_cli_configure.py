"""`quota apply`, `diff` and `export` against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
ACME = EXAMPLES / "acme.yaml"
FINANCE = EXAMPLES / "finance-team.json"


@pytest.fixture(autouse=True)
def _as_in_the_example(server: Server) -> None:
    assert server.quota("apply", "-f", str(ACME), "--prune").code == 0


def edited(tmp_path: Path, *replacements: tuple[str, str]) -> str:
    text = ACME.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "acme.yaml"
    path.write_text(text)
    return str(path)


def test_what_is_loaded_compares_as_equal_and_loading_it_again_changes_nothing(server: Server) -> None:
    again = server.quota("apply", "-f", str(ACME))
    assert (again.code, again.out) == (0, "acme: unchanged (25 resources are as the files say)\n")
    assert server.quota("diff", "-f", str(ACME)).out == "acme: no difference\n"
    exported = server.quota("export").out
    assert "usd_per_million_tokens: {input: 0, output: 0}" in exported
    loaded = server.quota("apply", "-f", "-", stdin=exported)
    assert loaded.out == "acme: unchanged (25 resources are as the files say)\n"


def test_a_difference_is_shown_applied_and_gone(server: Server, tmp_path: Path) -> None:
    changed = edited(
        tmp_path, ("limit: {usd: 150}", "limit: {usd: 175.5}"), ("leads: [mary]", "leads: [tim]")
    )
    shown = server.quota("diff", "-f", changed)
    assert shown.code == 2
    assert "-    limit: {usd: 150}\n" in shown.out
    assert "+    limit: {usd: 175.5}\n" in shown.out
    applied = server.quota("apply", "-f", changed)
    assert "updated team sales: leads" in applied.out
    assert "updated budget engineer-allowance: limits" in applied.out
    assert server.quota("diff", "-f", changed).code == 0


def test_every_period_is_applied_compared_and_exported(server: Server, tmp_path: Path) -> None:
    rules = (
        "{quarterly: {first_month: 4}}",
        "yearly",
        "{yearly: {month: 2, day: 29}}",
        "{fixed: {length: 14d, anchor: 2026-01-05T09:00:00Z}}",
        "{fixed: {length: 36h}}",
        "{once: {start: 2026-01-01, end: 2030-12-31T18:00:00Z}}",
    )
    budgets = "".join(
        f"  period-{number}: {{limit: {{usd: 1}}, mode: monitor, period: {rule}}}\n"
        for number, rule in enumerate(rules)
    )
    changed = edited(tmp_path, ("\nbudgets:\n", f"\nbudgets:\n{budgets}"))
    assert server.quota("apply", "-f", changed).code == 0
    assert server.quota("diff", "-f", changed).out == "acme: no difference\n"
    exported = server.quota("export").out
    assert all(f"period: {rule}" in exported for rule in rules[:-1])
    assert "unchanged" in server.quota("apply", "-f", "-", stdin=exported).out
    assert "fixed length 14d, anchor 2026-01-05T09:00:00Z" in server.quota("budget", "list").out


def test_every_rollover_is_applied_compared_and_exported(server: Server, tmp_path: Path) -> None:
    rules = ("{max_percent: 50}", "{max: {usd: 20, requests: 0}}", "none")
    budgets = "".join(
        f"  carrying-{number}: {{limit: {{usd: 1, requests: 5}}, mode: soft, period: daily, "
        f"rollover: {rule}}}\n"
        for number, rule in enumerate(rules)
    )
    changed = edited(tmp_path, ("\nbudgets:\n", f"\nbudgets:\n{budgets}"))
    assert server.quota("apply", "-f", changed).code == 0
    assert server.quota("diff", "-f", changed).out == "acme: no difference\n"
    exported = server.quota("export").out
    assert [f"rollover: {rule}" in exported for rule in rules] == [True, True, False]
    assert "unchanged" in server.quota("apply", "-f", "-", stdin=exported).out


def test_what_is_granted_during_outages_is_applied_compared_exported_and_taken_back(
    server: Server, tmp_path: Path
) -> None:
    allows = "  outage_policy: allow_degraded\n  degraded_cost_cap: {usd: 25.5} #"
    changed = edited(tmp_path, ("  outage_policy: deny #", allows))
    shown = server.quota("diff", "-f", changed)
    assert shown.code == 2
    assert "+  outage_policy: allow_degraded\n+  degraded_cost_cap: {usd: 25.5}\n" in shown.out
    applied = server.quota("apply", "-f", changed)
    assert "updated organization acme: outage_policy, degraded_cost_cap_micros" in applied.out
    assert server.quota("diff", "-f", changed).out == "acme: no difference\n"
    exported = server.quota("export").out
    assert "  outage_policy: allow_degraded\n  degraded_cost_cap: {usd: 25.5}\n" in exported
    assert "unchanged" in server.quota("apply", "-f", "-", stdin=exported).out

    worst = server.quota("exposure").out
    assert ", with one outage of the store on one replica" in worst
    assert "$25.50" in worst

    assert server.quota("apply", "-f", str(ACME)).code == 0
    assert "outage_policy" not in server.quota("export").out
    assert "replica" not in server.quota("exposure").out


def test_a_rollover_that_cannot_be_is_refused_as_a_whole(server: Server, tmp_path: Path) -> None:
    wrong = "  carried: {limit: {usd: 1}, mode: hard, period: once, rollover: {max_percent: 50}}\n"
    refused = server.quota("apply", "-f", edited(tmp_path, ("\nbudgets:\n", f"\nbudgets:\n{wrong}")))
    assert refused.code != 0
    assert "rollover" in refused.err
    assert "carried" not in server.quota("export").out


def test_nothing_is_applied_when_anything_is_wrong(server: Server, tmp_path: Path) -> None:
    wrong = edited(
        tmp_path,
        ("limit: {usd: 150}", "limit: {usd: 175}"),
        ("scope: {user: tim}", "scope: {user: tin}"),
        ("help_url: https://", "help_url: nowhere://"),
    )
    refused = server.quota("apply", "-f", wrong)
    assert refused.code == 2
    assert "budgets.tim-daily.scope.user: there is no user 'tin'; did you mean 'tim'?" in refused.err
    assert f"{wrong}:10:3: organization acme: help_url: " in refused.err
    assert server.quota("diff", "-f", str(ACME)).code == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            "budgets: {trip: {limit: {usd: 1}, period: once, mode: hard, rollover: {max_percent: 50}}}",
            "budget trip: rollover: does not go with a period that is once",
        ),
        (
            "rate_limits: {odd: {limit: {tokens: 899999999999993}, per: 2678399s}}",
            "rate limit odd: limit: 899999999999993 in 2678399000 ms cannot be counted exactly",
        ),
        (
            "model_policies: {one: {team: sales, tiers: [1]}, two: {team: sales, tiers: [2]}}",
            "model policy two: team: team “sales” would have two model policies",
        ),
        (
            """
model_policies: {one: {team: sales, models: [openai/gpt-4o]}}
budgets:
  dear:
    {scope: {team: sales}, limit: {usd: 1}, period: daily, mode: hard, ladder: [
      {at: 50, do: downgrade, provider: openai, model: gpt-4o-mini}, {at: 100, do: block}]}
""",
            "budget dear: ladder[0].downgrade.model: the model policy “one” does not allow",
        ),
        (
            """
budgets:
  one:
    {scope: {provider: openai, model: gpt-4o}, limit: {usd: 1}, period: daily, mode: hard, ladder: [
      {at: 50, do: downgrade, provider: openai, model: gpt-4o-mini}, {at: 100, do: block}]}
  two:
    {scope: {provider: openai, model: gpt-4o-mini}, limit: {usd: 1}, period: daily, mode: hard, ladder: [
      {at: 50, do: downgrade, provider: openai, model: gpt-4o}, {at: 100, do: block}]}
""",
            "budgets would divert in a circle: openai/gpt-4o → openai/gpt-4o-mini → openai/gpt-4o",
        ),
    ],
    ids=["rollover on once", "inexact rate", "two policies", "diverts to what is forbidden", "circle"],
)
def test_nothing_is_applied_of_files_whose_parts_do_not_go_together(
    server: Server, wrong: str, told: str
) -> None:
    before = server.quota("export").out
    fine = "organization: acme\nusers: {newcomer: {teams: [sales]}}\n"

    refused = server.quota("apply", "-f", "-", stdin=fine + wrong)

    assert (refused.code, "nothing was applied" in refused.err) == (2, True)
    assert told in refused.err
    assert server.quota("export").out == before


def test_unknown_models_name_the_one_that_was_meant(server: Server, tmp_path: Path) -> None:
    text = "organization: acme\nbudgets:\n  m:\n    scope: {provider: openai, model: gpt-5-mni}\n"
    path = tmp_path / "m.yaml"
    path.write_text(f"{text}    limit: {{usd: 1}}\n    period: daily\n    mode: hard\n")
    refused = server.quota("apply", "-f", str(path))
    assert f"{path}:4:38: budgets.m.scope.model: there is no model 'openai/gpt-5-mni'" in refused.err
    assert "did you mean 'openai/gpt-5-mini'?" in refused.err


def test_a_finance_teams_json_is_loaded_verbatim_and_twice_changes_nothing(server: Server) -> None:
    first = server.quota_json("apply", "-f", str(FINANCE))
    second = server.quota_json("apply", "-f", str(FINANCE))
    assert [change["name"] for change in first["organizations"][0]["changes"]] == [
        "organizations/acme/teams/finance-department",
        "organizations/acme/budgets/finance-department-monthly",
    ]
    assert second["organizations"][0]["changes"] == []
    budget = server.quota_json("budget", "get", "finance-department-monthly")
    assert budget["limits"] == {"costMicros": "150000000", "tokens": "5000000"}
    assert (budget["mode"], budget["scope"]["team"]) == ("MODE_HARD", "finance-department")


def test_pruning_deletes_what_the_file_does_not_have(server: Server) -> None:
    server.quota("apply", "-f", str(FINANCE))
    kept = server.quota("apply", "-f", str(ACME))
    assert "kept, though not in the files: team finance-department" in kept.err
    partial = server.quota("apply", "-f", str(FINANCE), "--prune")
    assert (partial.code, "describes the whole organization" in partial.err) == (2, True)
    pruned = server.quota_json("apply", "-f", str(ACME), "--prune")
    assert [change["action"] for change in pruned["organizations"][0]["changes"]] == ["deleted", "deleted"]
    assert server.quota("budget", "get", "finance-department-monthly").code == 3


def test_several_organizations_must_be_told_apart(server: Server) -> None:
    server.quota("apply", "-f", "-", stdin="organization: {id: globex}\n", organization="")
    ambiguous = server.quota("budget", "list", organization="")
    assert ambiguous.code == 2
    assert "there are several organizations: acme, globex" in ambiguous.err
    assert server.quota("budget", "list", organization="globex").out == "there are no budgets yet\n"
    assert server.quota("budget", "list", organization="nobody").code == 3
