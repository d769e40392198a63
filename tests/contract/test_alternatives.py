"""Downgrades and partial grants: what is granted where not all that was asked for fits."""

from __future__ import annotations

from typing import Any

import pytest

from quota.v1 import budget_pb2, model_policy_pb2, quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    amount,
    authorized,
    committed,
    cost,
    denied,
    entries,
    estimate,
    held,
    limit,
    model,
    reasons,
    requests,
    reservation,
    seconds,
    stands,
    subject,
    team,
    user,
    warnings,
)
from tests.support.service import ACME, Client, authorize_request

MINI = {"provider": "openai", "model": "gpt-4o-mini"}
FREE = {"provider": "house", "model": "llama"}
MINI_COST = 450  # 1,000 × 0.15 + 500 × 0.60 micro-USD


def step(at_percent: int, **action: Any) -> dict[str, Any]:
    return {"at_percent": at_percent, **action}


@pytest.fixture
async def acme(client: Client) -> Client:
    await client.found_acme()
    await model(client, "llama", input_pico=0, output_pico=0, tier=1)
    return client


async def test_the_first_alternative_that_fits_is_held_at_its_own_price(acme: Client) -> None:
    ladder = [step(80, downgrade=MINI), step(90, downgrade=FREE), step(100, block={})]
    await acme.budget("team", limits=cost(10_000), ladder=ladder, display_name="The team")
    answer = await authorized(acme, "a")
    assert answer.reservation.model == "gpt-4o"
    assert not answer.reservation.downgraded
    answer = await authorized(acme, "b")
    granted = answer.reservation
    assert (granted.provider, granted.model, granted.requested_model) == ("openai", "gpt-4o-mini", "gpt-4o")
    assert granted.downgraded
    assert amount(granted.held).cost == MINI_COST
    assert warnings(answer) == ["DOWNGRADED"]
    warning = answer.warnings[0]
    assert warning.source == f"{ACME}/budgets/team"
    assert warning.message.startswith("openai/gpt-4o-mini is granted instead. Budget “The team” has no room")
    assert await stands(acme, "team") == (0, COST + MINI_COST)


async def test_the_asked_model_is_charged_at_its_own_price_where_it_answered_in_spite_of_the_downgrade(
    acme: Client,
) -> None:
    await acme.budget("team", limits=cost(5_000), ladder=[step(90, downgrade=MINI), step(100, block={})])
    answer = await authorized(acme)
    assert answer.reservation.downgraded
    settled = await committed(acme, answer.reservation.name, 1_000, 500, model="gpt-4o")
    assert amount(settled.charged).cost == COST
    assert amount(settled.overrun).cost == COST - MINI_COST


async def test_an_own_model_at_price_0_goes_on_when_the_money_is_used_up(acme: Client) -> None:
    await acme.budget("team", limits=cost(COST), ladder=[step(100, downgrade=FREE), step(120, block={})])
    await committed(acme, await held(acme, "a"), 1_000, 500)
    answer = await authorized(acme, "b")
    assert (answer.reservation.provider, answer.reservation.model) == ("house", "llama")
    assert amount(answer.reservation.held) == (0, 1_500, 1)
    settled = await committed(acme, answer.reservation.name)
    assert amount(settled.charged) == (0, 1_200, 1)
    found = await entries(acme, 4)
    assert {entry.model for entry in found} == {"gpt-4o", "llama"}


async def test_a_restricted_tier_is_diverted_to_a_model_that_passes(acme: Client) -> None:
    ladder = [step(50, restrict={"max_tier": 1}), step(50, downgrade=FREE), step(100, block={})]
    await acme.budget("team", limits=cost(10_000), ladder=ladder)
    assert (await authorized(acme, "a")).reservation.model == "llama"


async def test_no_alternative_fits_and_the_asked_model_is_what_the_denial_is_about(acme: Client) -> None:
    ladder = [step(50, downgrade=MINI), step(100, block={})]
    await acme.budget("team", limits=cost(400), ladder=ladder)
    answer = await denied(acme)
    assert reasons(answer) == ["BUDGET_EXHAUSTED"]
    assert (answer.violations[0].ceiling, answer.violations[0].requested) == (200, COST)
    assert "(this model stops at $0.0002)" in answer.message


async def test_an_alternative_must_fit_every_budget_that_it_falls_under(acme: Client) -> None:
    ladder = [step(50, downgrade=MINI), step(60, downgrade=FREE), step(100, block={})]
    await acme.budget("team", limits=cost(10_000), ladder=ladder)
    await acme.budget("minis", limits=requests(0), scope={"model": "gpt-4o-mini"})
    answer = await authorized(acme)
    assert answer.reservation.model == "llama"
    assert [status.source for status in answer.budgets] == [f"{ACME}/budgets/team"]


async def test_an_alternative_that_no_policy_allows_is_passed_over(acme: Client) -> None:
    ladder = [step(50, downgrade=MINI), step(60, downgrade=FREE), step(100, block={})]
    await acme.budget("team", limits=cost(10_000), ladder=ladder)
    policy = model_policy_pb2.ModelPolicy(allowed_models=["openai/gpt-4o", "house/*"])
    await acme.budgets.CreateModelPolicy(
        model_policy_pb2.CreateModelPolicyRequest(parent=ACME, model_policy_id="p", model_policy=policy)
    )
    assert (await authorized(acme)).reservation.model == "llama"


async def test_soft_and_monitor_ladders_divert_nothing(acme: Client) -> None:
    for mode in ("MODE_SOFT", "MODE_MONITOR"):
        await acme.budget(mode.lower(), limits=cost(1), mode=mode, ladder=[step(1, downgrade=FREE)])
    assert (await authorized(acme)).reservation.model == "gpt-4o"


async def test_a_repeat_returns_the_diverted_hold(acme: Client) -> None:
    await acme.budget("team", limits=cost(5_000), ladder=[step(90, downgrade=MINI), step(100, block={})])
    first = await authorized(acme, "a")
    await limit(acme, "team", cost(1_000_000))
    again = await authorized(acme, "a")
    assert again.replayed
    assert again.reservation == first.reservation
    assert again.reservation.downgraded
    assert (await reservation(acme, first.reservation.name)).downgraded


async def test_validate_only_says_which_model_it_would_be(acme: Client) -> None:
    await acme.budget("team", limits=cost(5_000), ladder=[step(90, downgrade=MINI), step(100, block={})])
    answer = await acme.quota.Authorize(authorize_request("a", validate_only=True))
    assert warnings(answer) == ["DOWNGRADED"]
    assert await stands(acme, "team") == (0, 0)


async def test_the_largest_grant_that_fits_is_held(acme: Client) -> None:
    await acme.budget("team", limits=cost(6_000))
    answer = await authorized(acme, min_output_tokens=100)
    # 6,000 − 1,000 × 2.50 leaves 3,500 micro-USD for output at 10 a token
    assert answer.granted_output_tokens == 350
    assert answer.reservation.granted_output_tokens == 350
    assert amount(answer.reservation.held) == (6_000, 1_350, 1)
    assert warnings(answer) == ["PARTIAL_GRANT"]
    assert answer.warnings[0].message == "Only 350 tokens of output fit, of 500 asked for."


async def test_a_grant_below_the_least_is_refused_with_what_the_least_needs(acme: Client) -> None:
    await acme.budget("team", limits=cost(6_000))
    answer = await denied(acme, min_output_tokens=351)
    assert answer.violations[0].requested == 6_010
    assert await stands(acme, "team") == (0, 0)


async def test_every_budget_and_rate_limit_bounds_the_grant(acme: Client) -> None:
    await acme.budget("money", limits=cost(7_000))
    await acme.budget("tokens", limits=types_pb2.Amounts(tokens=1_400))
    await acme.budgets.CreateRateLimit(
        budget_pb2.CreateRateLimitRequest(
            parent=ACME,
            rate_limit_id="tpd",
            rate_limit=budget_pb2.RateLimit(
                meter=types_pb2.METER_TOKENS, limit=1, interval=seconds(86_400), burst=1_200
            ),
        )
    )
    assert (await authorized(acme, min_output_tokens=1)).granted_output_tokens == 200


async def test_a_smaller_grant_of_the_asked_model_comes_before_another_model(acme: Client) -> None:
    await acme.budget("team", limits=cost(6_000), ladder=[step(100, downgrade=MINI), step(100, block={})])
    answer = await authorized(acme, "a", min_output_tokens=100)
    assert (answer.reservation.model, answer.granted_output_tokens) == ("gpt-4o", 350)


async def test_a_diverted_call_may_be_granted_in_part_too(acme: Client) -> None:
    ladder = [step(10, downgrade=MINI), step(100, block={})]
    await acme.budget("team", limits=cost(300), ladder=ladder)
    answer = await authorized(acme, "a", min_output_tokens=100)
    assert (answer.reservation.model, answer.granted_output_tokens) == ("gpt-4o-mini", 250)
    assert warnings(answer) == ["DOWNGRADED", "PARTIAL_GRANT"]


async def test_an_alternative_whose_answers_are_too_short_to_be_of_use_is_passed_over(acme: Client) -> None:
    await model(acme, "brief", input_pico=0, output_pico=0, max_output_tokens=99)
    brief = {"provider": "house", "model": "brief"}
    ladder = [step(50, downgrade=brief), step(60, downgrade=FREE), step(100, block={})]
    await acme.budget("team", limits=cost(4_000), ladder=ladder)
    assert (await authorized(acme, "a", min_output_tokens=99)).reservation.model == "brief"
    assert (await authorized(acme, "b", min_output_tokens=100)).reservation.model == "llama"


async def test_a_models_default_is_not_below_what_is_of_use(acme: Client) -> None:
    await model(acme, "terse", default_output_tokens=10, max_output_tokens=1_000)
    await acme.budget("team", limits=cost(10_000_000))
    asked: dict[str, Any] = {"provider": "house", "model": "terse", "estimate": estimate(1)}
    assert (await authorized(acme, "a", **asked)).granted_output_tokens == 10
    assert (await authorized(acme, "b", min_output_tokens=5, **asked)).granted_output_tokens == 10
    assert (await authorized(acme, "c", min_output_tokens=20, **asked)).granted_output_tokens == 20


async def test_a_teams_own_policy_replaces_the_organizations(acme: Client) -> None:
    await team(acme, "sales")
    await user(acme, "tim", "sales")
    await acme.budget("all", limits=cost(10_000_000))
    for id_, policy in {
        "everybody": model_policy_pb2.ModelPolicy(allowed_models=["openai/gpt-4o-mini"], allowed_tiers=[1]),
        "sales": model_policy_pb2.ModelPolicy(
            team="sales", display_name="Sales models", allowed_models=["openai/gpt-4o"]
        ),
    }.items():
        await acme.budgets.CreateModelPolicy(
            model_policy_pb2.CreateModelPolicyRequest(parent=ACME, model_policy_id=id_, model_policy=policy)
        )
    answer = await denied(acme, "a")
    assert reasons(answer) == ["MODEL_NOT_ALLOWED"]
    assert answer.violations[0].source == f"{ACME}/modelPolicies/everybody"
    assert "which allows models of tier 1, openai/gpt-4o-mini" in answer.message
    await held(acme, "b", model="gpt-4o-mini")
    await held(acme, "c", provider="house", model="llama")
    await held(acme, "d", subject=subject(user="tim"))
    answer = await denied(acme, "e", subject=subject(user="tim"), model="gpt-4o-mini")
    assert "is not allowed by policy “Sales models” for team sales" in answer.message


async def test_a_shrunk_estimate_is_not_a_smaller_hold_than_asked_where_all_fits(acme: Client) -> None:
    await acme.budget("team", limits=cost(1_000_000))
    answer = await authorized(acme, min_output_tokens=1, estimate=estimate(1_000, 500))
    assert answer.granted_output_tokens == 500
    assert not answer.warnings
    assert isinstance(answer, quota_pb2.AuthorizeResponse)
