"""Rate limits and model policies through the command, against a real server."""

from __future__ import annotations

from tests.e2e.conftest import Server

FILE = """\
organization: {id: limited, time_zone: UTC}
teams: {sales: {}, support: {}}
models:
  - {provider: internal, model: llama, tier: 1, usd_per_million_tokens: {input: 0, output: 0}}
model_policies:
  support-cheap: {team: support, tiers: [1], models: [openai/gpt-4o-mini, internal/*]}
rate_limits:
  sales-rpm: {scope: {team: sales}, each: user, limit: {requests: 60}, per: 1m, burst: 10}
  openai-tpm: {scope: {provider: openai, model: gpt-4o}, limit: {tokens: 90000}, per: 1m}
"""


def loaded(server: Server, text: str = FILE) -> None:
    done = server.quota("apply", "-f", "-", "--prune", stdin=text, organization="limited")
    assert done.code == 0, done.err


def test_what_is_loaded_is_listed_exported_and_the_same_again(server: Server) -> None:
    loaded(server)
    again = server.quota("apply", "-f", "-", stdin=FILE, organization="limited")
    assert again.out == "limited: unchanged (7 resources are as the files say)\n"
    exported = server.quota("export", organization="limited").out
    reloaded = server.quota("apply", "-f", "-", stdin=exported, organization="limited")
    assert "unchanged (7 resources" in reloaded.out
    limits = server.quota("limits", organization="limited").out
    assert "team sales, each user" in limits
    assert "60 req per 1m" in limits
    policies = server.quota("policies", organization="limited").out
    assert "tier 1, openai/gpt-4o-mini, internal/*" in policies


def test_lists_have_a_json_form(server: Server) -> None:
    loaded(server)
    limits = server.quota("limits", "--json", organization="limited").out
    policies = server.quota("policies", "--json", organization="limited").out
    assert '"name": "organizations/limited/rateLimits/openai-tpm"' in limits
    assert '"allowedTiers": [\n' in policies


def test_an_organization_without_any_says_what_that_means(server: Server) -> None:
    loaded(server, "organization: {id: limited}\n")
    assert server.quota("limits", organization="limited").out == "there are no rate limits yet\n"
    assert server.quota("policies", organization="limited").out.endswith("every model is allowed\n")


def test_unknown_names_are_found_before_anything_changes(server: Server) -> None:
    loaded(server)
    wrong = FILE.replace("openai/gpt-4o-mini", "openai/gpt-4o-mni").replace("internal/*", "intern/*")
    wrong = wrong.replace("{team: sales}", "{team: sale}").replace("requests: 60", "requests: 61")
    refused = server.quota("apply", "-f", "-", stdin=wrong, organization="limited")
    assert refused.code == 2
    assert "<stdin>:6:55: model_policies.support-cheap.models[0]: there is no model" in refused.err
    assert "did you mean 'internal/*'?" in refused.err
    assert "rate_limits.sales-rpm.scope.team: there is no team 'sale'; did you mean 'sales'?" in refused.err
    assert server.quota("diff", "-f", "-", stdin=FILE, organization="limited").code == 0


def test_a_ladder_that_the_policy_forbids_is_refused_with_its_place(server: Server) -> None:
    loaded(server)
    text = FILE + (
        "budgets:\n  b:\n    scope: {team: support}\n    limit: {usd: 1}\n    period: daily\n    mode: hard\n"
        "    ladder:\n      - {at: 80, do: downgrade, provider: openai, model: gpt-4o}\n"
        "      - {at: 100, do: block}\n"
    )
    refused = server.quota("apply", "-f", "-", stdin=text, organization="limited")
    assert refused.code == 2
    assert "nothing was applied\n  <stdin>:11:3: budget b: ladder[0].downgrade.model: " in refused.err
    assert "the model policy “support-cheap” does not allow “openai/gpt-4o”" in refused.err
