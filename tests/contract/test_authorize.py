"""Authorize: what is held, what is denied, and why."""

from __future__ import annotations

import asyncio

import pytest

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    TOKENS,
    Amount,
    amount,
    api_key,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    held,
    model,
    reasons,
    released,
    requests,
    seconds,
    stands,
    subject,
)
from tests.support.refusals import fields, refusal
from tests.support.service import ACME, Client, authorize_request, commit_request


async def test_a_request_that_fits_is_held_and_the_answer_says_so(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    answer = await authorized(client)
    reservation = answer.reservation
    assert reservation.state == quota_pb2.Reservation.STATE_HELD
    assert amount(reservation.held) == (COST, TOKENS, 1)
    assert amount(reservation.committed) == (0, 0, 0)
    assert reservation.subject == subject(user="ada", team="engineering")
    assert (reservation.provider, reservation.model, reservation.requested_model) == (
        "openai",
        *["gpt-4o"] * 2,
    )
    assert reservation.granted_output_tokens == answer.granted_output_tokens == 500
    assert not reservation.HasField("end_time")
    assert reservation.expire_time.seconds - reservation.create_time.seconds == 120
    assert not answer.replayed
    assert not answer.HasField("retry_after")
    [status] = answer.budgets
    assert (status.limit, status.spent, status.held, status.remaining) == (20_000, 0, COST, 12_500)
    assert (status.mode, status.meter, status.ceiling) == (types_pb2.MODE_HARD, types_pb2.METER_COST, 20_000)
    assert [status] == await client.status("engineering")


async def test_a_limit_can_be_used_up_to_its_last_unit_and_no_further(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(2 * COST))
    await held(client, "a")
    await held(client, "b")
    answer = await denied(client, "c", estimate=estimate(1, 0))
    assert reasons(answer) == ["BUDGET_HELD"]
    assert await stands(client, "engineering") == (0, 2 * COST)


async def test_a_limit_of_zero_lets_nothing_pass_but_what_costs_nothing(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(0))
    assert reasons(await denied(client)) == ["BUDGET_EXHAUSTED"]
    await authorized(client, "free", estimate=estimate(0, 0))


async def test_the_meters_of_a_budget_are_limited_together(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=COST, tokens=TOKENS - 1, requests=0)
    await client.budget("all", limits=limits)
    answer = await denied(client)
    assert reasons(answer) == ["BUDGET_EXHAUSTED"] * 2
    assert [each.meter for each in answer.violations] == [types_pb2.METER_TOKENS, types_pb2.METER_REQUESTS]
    assert [each.requested for each in answer.violations] == [TOKENS, 1]
    assert [each.held for each in answer.budgets] == [0, 0, 0]


async def test_every_meter_counts_what_it_is_about(client: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=types_pb2.Amounts(cost_micros=100_000, tokens=100_000, requests=10))
    await held(client)
    assert [each.held for each in await client.status("all")] == [COST, TOKENS, 1]


async def test_of_nested_budgets_all_hold_or_none(client: Client) -> None:
    await client.found_acme()
    await client.budget("company", limits=cost(100_000))
    await client.budget("team", limits=cost(2 * COST), scope={"team": "engineering"})
    await client.budget("user", limits=cost(COST), scope={"user": "ada"})
    await held(client, "a")
    answer = await denied(client, "b")
    assert [each.source for each in answer.violations] == [f"{ACME}/budgets/user"]
    assert [(each.source.rpartition("/")[2], each.held) for each in answer.budgets] == [
        ("company", COST),
        ("team", COST),
        ("user", COST),
    ]
    for budget in ("company", "team", "user"):
        assert await stands(client, budget) == (0, COST)


async def test_a_denial_names_every_limit_that_did_not_fit(client: Client) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(1_000), scope={"team": "engineering"})
    await client.budget("user", limits=cost(2_000), scope={"user": "ada"})
    answer = await denied(client)
    assert [each.limit for each in answer.violations] == [1_000, 2_000]


async def test_money_that_is_only_held_is_told_from_money_that_is_spent(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(2 * COST))
    first = await held(client, "a")
    await held(client, "b", ttl=seconds(3))
    answer = await denied(client, "c")
    [violation] = answer.violations
    assert reasons(answer) == ["BUDGET_HELD"]
    assert violation.retryable
    assert (violation.spent, violation.held, violation.holds, violation.requested) == (0, 2 * COST, 2, COST)
    assert 0 < answer.retry_after.ToMilliseconds() <= 3_000
    await committed(client, first, 1_000, 500)
    assert reasons(await denied(client, "c", estimate=estimate(2_000, 500))) == ["BUDGET_EXHAUSTED"]
    assert reasons(await denied(client, "c")) == ["BUDGET_HELD"]


async def test_a_held_budget_is_worth_another_try_within_five_seconds(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    await held(client, "a", ttl=seconds(86_400))
    assert (await denied(client, "b")).retry_after.ToMilliseconds() == 5_000


async def test_an_exhausted_budget_says_when_it_resets(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST), display_name="Engineering")
    await committed(client, await held(client, "a"), 1_000, 500)
    answer = await denied(client, "b")
    [violation] = answer.violations
    assert reasons(answer) == ["BUDGET_EXHAUSTED"]
    assert not violation.retryable
    assert (violation.spent, violation.held, violation.holds) == (COST, 0, 0)
    assert (violation.limit, violation.ceiling) == (COST, COST)
    [status] = await client.status("engineering")
    assert violation.reset_time == status.reset_time
    assert 0 < answer.retry_after.seconds <= 31 * 86_400
    assert "Engineering" in answer.message
    assert len(answer.message) <= 300


async def test_what_never_fits_gets_no_time_to_wait_for(client: Client) -> None:
    await client.found_acme()
    await client.budget("small", limits=cost(COST - 1))
    await client.budget("none", limits=requests(0), period={"once": {}})
    assert not (await denied(client)).HasField("retry_after")


async def test_a_denial_of_a_budget_without_end_has_no_reset(client: Client) -> None:
    await client.found_acme()
    await client.budget("for-good", limits=cost(COST), period={"once": {}})
    await committed(client, await held(client, "a"), 1_000, 500)
    answer = await denied(client, "b")
    assert not answer.violations[0].HasField("reset_time")
    assert not answer.HasField("retry_after")


async def test_an_expired_hold_blocks_nobody_although_nothing_has_swept_it(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    reservation = (await authorized(client, "a", ttl=seconds(1))).reservation
    assert reasons(await denied(client, "b")) == ["BUDGET_HELD"]
    await asyncio.sleep(1.02)
    await authorized(client, "b")
    assert await stands(client, "engineering") == (0, COST)
    ended = await client.quota.GetReservation(quota_pb2.GetReservationRequest(name=reservation.name))
    assert ended.state == quota_pb2.Reservation.STATE_EXPIRED
    assert ended.end_time.ToMilliseconds() >= ended.expire_time.ToMilliseconds()


async def test_many_expired_holds_block_nobody_either(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=requests(120))
    await asyncio.gather(*(held(client, f"k{number}", ttl=seconds(1)) for number in range(120)))
    await asyncio.sleep(1.02)
    await authorized(client, "next")
    assert await stands(client, "engineering") == (0, 1)


async def test_a_request_that_no_budget_covers_is_denied(client: Client) -> None:
    await client.found_acme()
    answer = await denied(client)
    assert reasons(answer) == ["NO_BUDGET"]
    assert not answer.HasField("retry_after")


async def test_a_request_that_no_budget_covers_is_allowed_where_the_organization_says_so(
    client: Client,
) -> None:
    await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
    answer = await authorized(client)
    assert amount(answer.reservation.held) == (COST, TOKENS, 1)
    assert list(answer.budgets) == []
    assert amount((await committed(client, answer.reservation.name)).charged) == (4_500, 1_200, 1)


async def test_a_disabled_budget_covers_nothing(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000), disabled=True)
    assert reasons(await denied(client)) == ["NO_BUDGET"]


@pytest.mark.parametrize(("provider", "name"), [("openai", "gpt-unheard-of"), ("nobody", "gpt-4o")])
async def test_an_unknown_model_is_denied_and_never_free(client: Client, provider: str, name: str) -> None:
    await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
    await client.budget("engineering", limits=cost(20_000))
    answer = await denied(client, provider=provider, model=name)
    assert reasons(answer) == ["MODEL_UNKNOWN"]
    assert name in answer.message


async def test_another_spelling_of_a_model_resolves_to_the_catalogues_entry(client: Client) -> None:
    await client.found_acme()
    await client.budget("gpt", limits=cost(20_000), scope={"provider": "openai", "model": "gpt-4o"})
    reservation = (await authorized(client, model="gpt-4o-2024-08-06")).reservation
    assert reservation.requested_model == "gpt-4o-2024-08-06"
    assert await stands(client, "gpt") == (0, COST)


async def test_output_that_is_not_asked_for_is_the_models_default(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000_000))
    await model(client, "terse", default_output_tokens=70, max_output_tokens=100)
    await model(client, "silent")
    for name, tokens in (("terse", 70), ("silent", 4_096)):
        answer = await authorized(client, name, provider="house", model=name, estimate=estimate(10))
        assert answer.granted_output_tokens == tokens
        assert amount(answer.reservation.held) == Amount(10 + tokens, 10 + tokens, 1)


async def test_output_is_clamped_to_the_models_maximum(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100))
    await model(client, "terse", max_output_tokens=90)
    answer = await authorized(client, provider="house", model="terse", estimate=estimate(10, 5_000))
    assert answer.granted_output_tokens == 90
    assert amount(answer.reservation.held) == (100, 100, 1)


async def test_no_output_holds_the_input_alone(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(2_500))
    assert amount((await authorized(client, estimate=estimate(1_000, 0))).reservation.held) == (
        2_500,
        1_000,
        1,
    )


async def test_a_price_is_rounded_up_once_for_the_whole_request(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000))
    await model(client, "cheap", input_pico=400_000, output_pico=400_000)
    answer = await authorized(client, provider="house", model="cheap", estimate=estimate(1, 1))
    assert answer.reservation.held.cost_micros == 1


async def test_a_caller_brings_a_price_where_the_catalogue_lets_it(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(500))
    await model(client, "image", caller_priced=True, unpriced=True)
    asked = {"provider": "house", "model": "image"}
    name = (await authorized(client, "a", estimate=estimate(0, 0, cost_micros=500), **asked)).reservation.name
    assert await stands(client, "engineering") == (0, 500)
    assert reasons(await denied(client, "b", estimate=estimate(0, 0, cost_micros=1), **asked)) == [
        "BUDGET_HELD"
    ]
    await released(client, name)
    assert await stands(client, "engineering") == (0, 0)


async def test_a_model_that_only_callers_price_is_never_free(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(500))
    await model(client, "image", caller_priced=True, unpriced=True)
    asked = {"provider": "house", "model": "image"}
    error = await refusal(client.quota.Authorize(authorize_request("a", estimate=estimate(0, 0), **asked)))
    assert fields(error).keys() == {"estimate.cost_micros"}
    name = (await authorized(client, "b", estimate=estimate(0, 0, cost_micros=300), **asked)).reservation.name
    done = await client.quota.Commit(commit_request(name, 10, 10))
    assert done.charged.cost_micros == 300, "the price of the hold, where the usage names none"


async def test_a_key_alone_says_whose_organization_pays(client: Client) -> None:
    await client.found_acme()
    await api_key(client, "robot", team="engineering")
    await client.budget("engineering", limits=cost(20_000))
    ada = await authorized(client, "a", subject=types_pb2.Subject(api_key="key-ada"))
    assert ada.reservation.subject == subject(api_key="key-ada", user="ada", team="engineering")
    robot = await authorized(client, "b", subject=types_pb2.Subject(api_key="robot"))
    assert robot.reservation.subject == subject(api_key="robot", team="engineering")
