"""Extend: more time, more output tokens, or both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import budget_pb2, quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    NOWHERE,
    amount,
    authorized,
    committed,
    cost,
    entries,
    estimate,
    expired,
    held,
    limit,
    model,
    reasons,
    released,
    reservation,
    seconds,
    stands,
    types,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client

ALLOW, DENY = types_pb2.DECISION_ALLOW, types_pb2.DECISION_DENY


async def extended(client: Client, name: str, tokens: int = 0, **fields: Any) -> quota_pb2.ExtendResponse:
    fields.setdefault("request_id", "r" if tokens else "")
    return await client.quota.Extend(
        quota_pb2.ExtendRequest(name=name, additional_output_tokens=tokens, **fields)
    )


async def test_more_time_counts_from_now_and_holds_nothing_more(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    before = (await authorized(client, ttl=seconds(2))).reservation
    answer = await extended(client, before.name, ttl=seconds(60))
    assert answer.decision == ALLOW
    assert 58 <= answer.reservation.expire_time.seconds - before.expire_time.seconds <= 59
    assert answer.reservation.held == before.held
    assert await stands(client, "engineering") == (0, COST)


async def test_a_shorter_time_takes_none_away(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    before = (await authorized(client, ttl=seconds(600))).reservation
    answer = await extended(client, before.name, ttl=seconds(1))
    assert answer.reservation.expire_time == before.expire_time


async def test_no_hold_lives_longer_than_a_day_from_its_creation(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    before = (await authorized(client)).reservation
    await asyncio.sleep(0.01)
    after = (await extended(client, before.name, ttl=seconds(86_400))).reservation
    assert after.expire_time.ToMilliseconds() - before.create_time.ToMilliseconds() == 86_400_000


async def test_an_extended_hold_outlives_its_first_time(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client, ttl=seconds(1))
    await extended(client, name, ttl=seconds(30))
    await asyncio.sleep(1.1)
    assert await stands(client, "engineering") == (0, COST)
    assert not (await committed(client, name)).late


async def test_more_output_tokens_are_held_at_the_holds_price(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=10_000, tokens=1_750, requests=1)
    await client.budget("engineering", limits=limits)
    name = await held(client)
    answer = await extended(client, name, 250, ttl=seconds(300))
    assert answer.decision == ALLOW
    assert answer.reservation.granted_output_tokens == 750
    assert amount(answer.reservation.held) == (10_000, 1_750, 1)
    assert [each.held for each in await client.status("engineering")] == [10_000, 1_750, 1]
    done = await committed(client, name, 1_000, 750)
    assert (amount(done.charged), amount(done.overrun)) == ((10_000, 1_750, 1), (0, 0, 0))
    found = await entries(client, 3)
    assert types(found) == ["HOLD", "EXTEND", "COMMIT"]
    assert [each.usage.output_tokens for each in found] == [500, 750, 750]
    assert not found[1].HasField("charged")


async def test_what_does_not_fit_is_denied_and_leaves_the_hold_as_it_was(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST + 100))
    before = (await authorized(client)).reservation
    answer = await extended(client, before.name, 11, ttl=seconds(3_600))
    assert (answer.decision, reasons(answer)) == (DENY, ["BUDGET_HELD"])
    [violation] = answer.violations
    assert (violation.requested, violation.held, violation.limit) == (110, COST, COST + 100)
    assert answer.reservation == before == await reservation(client, before.name)
    assert await stands(client, "engineering") == (0, COST)
    assert (await extended(client, before.name, 10)).decision == ALLOW
    assert types(await entries(client, 2)) == ["HOLD", "EXTEND"]


async def test_time_is_granted_also_where_the_budget_is_over(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    await limit(client, "engineering", cost(0))
    assert (await extended(client, name, ttl=seconds(600))).decision == ALLOW


async def test_the_same_request_again_extends_once(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    name = await held(client)
    first = await extended(client, name, 10)
    again = await extended(client, name, 10)
    assert again.reservation == first.reservation
    await extended(client, name, 10, request_id="another")
    assert await stands(client, "engineering") == (0, COST + 200)
    assert types(await entries(client, 3)) == ["HOLD", "EXTEND", "EXTEND"]


async def test_a_request_id_with_other_content_is_a_conflict_that_changes_nothing(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    name = await held(client)
    await extended(client, name, 10)
    for call in (extended(client, name, 11), extended(client, name, 10, ttl=seconds(7))):
        assert answer(await refusal(call)) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert await stands(client, "engineering") == (0, COST + 100)


async def test_concurrent_repeats_extend_once(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    name = await held(client)
    done = await asyncio.gather(*(extended(each, name, 10) for _ in range(20) for each in (client, other)))
    assert {each.reservation.granted_output_tokens for each in done} == {510}
    assert await stands(client, "engineering") == (0, COST + 100)


async def test_the_sum_is_clamped_to_the_models_maximum(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000))
    await model(client, "terse", max_output_tokens=100)
    name = await held(client, provider="house", model="terse", estimate=estimate(10, 60))
    answer = await extended(client, name, 5_000)
    assert answer.decision == ALLOW
    assert answer.reservation.granted_output_tokens == 100
    assert await stands(client, "engineering") == (0, 110)
    assert (await extended(client, name, 5_000, request_id="s")).reservation.granted_output_tokens == 100


async def test_an_ended_reservation_cannot_be_extended(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    names = [
        await held(client, "committed"),
        await held(client, "released"),
        await expired(client, "expired"),
    ]
    await committed(client, names[0])
    await released(client, names[1])
    for name in names:
        for call in (extended(client, name, ttl=seconds(60)), extended(client, name, 10)):
            assert answer(await refusal(call)) == ("FAILED_PRECONDITION", "RESERVATION_ENDED")
    assert await stands(client, "engineering") == (4_500, 0)


async def test_an_unknown_reservation_cannot_be_extended(client: Client) -> None:
    await client.found_acme()
    error = await refusal(extended(client, NOWHERE, ttl=seconds(60)))
    assert answer(error) == ("NOT_FOUND", "RESERVATION_NOT_FOUND")


async def test_a_whole_that_costs_more_than_a_request_may_is_refused(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(10_000_000_000))
    await model(client, "dear", 1_000_000, 10_000_000)
    name = await held(client, provider="house", model="dear", estimate=estimate(0, 800_000_000))
    error = await refusal(extended(client, name, 200_000_000))
    assert answer(error) == ("INVALID_ARGUMENT", "AMOUNT_TOO_LARGE")
    assert list(fields(error)) == ["additional_output_tokens"]
    assert await stands(client, "engineering") == (0, 8_000_000_000)


@pytest.mark.parametrize("how", ["deleted", "disabled"])
async def test_a_budget_that_is_gone_limits_no_extension(client: Client, how: str) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    budget = f"{ACME}/budgets/engineering"
    if how == "deleted":
        await client.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=budget))
    else:
        gone = budget_pb2.Budget(name=budget, disabled=True)
        await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=gone))
    assert (await extended(client, name, 100)).decision == ALLOW


async def test_a_partly_charged_hold_is_extended_by_what_is_new(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST + 1_000))
    name = await held(client)
    await committed(client, name, 1_000, 100, keep_open=True)
    assert (await extended(client, name, 100)).decision == ALLOW
    assert await stands(client, "engineering") == (3_500, 5_000)
