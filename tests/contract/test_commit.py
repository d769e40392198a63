"""Commit: what a call really used is charged, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import budget_pb2, quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    TOKENS,
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
    released,
    requests,
    reservation,
    stands,
    types,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import Client, commit_request

CONFLICT = ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
LEDGER = types_pb2.DURABILITY_LEDGER


async def found(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))


async def test_a_commit_charges_the_usage_and_returns_the_rest(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=100_000, tokens=100_000, requests=10)
    await client.budget("engineering", limits=limits)
    name = await held(client)
    done = await committed(client, name)
    assert amount(done.charged) == (4_500, 1_200, 1)
    assert amount(done.returned) == (3_000, 300, 0)
    assert amount(done.overrun) == (0, 0, 0)
    assert (done.late, done.replayed, done.durability) == (False, False, LEDGER)
    assert [(each.spent, each.held) for each in done.budgets] == [(4_500, 0), (1_200, 0), (1, 0)]
    assert list(done.budgets) == await client.status("engineering")
    assert done.reservation.state == quota_pb2.Reservation.STATE_COMMITTED
    assert amount(done.reservation.held) == (COST, TOKENS, 1)
    assert amount(done.reservation.committed) == (4_500, 1_200, 1)
    assert done.reservation.HasField("end_time")
    assert await reservation(client, name) == done.reservation


async def test_a_charge_that_is_answered_is_in_the_ledger_at_once(client: Client) -> None:
    await found(client)
    done = await committed(client, await held(client))
    assert done.durability == LEDGER
    _, entry = await entries(client, 2)
    assert amount(entry.charged) == (4_500, 1_200, 1)


async def test_cached_tokens_have_their_own_price(client: Client) -> None:
    await found(client)
    usage = types_pb2.Usage(input_tokens=1_000, cached_input_tokens=800, output_tokens=0)
    name = await held(client)
    done = await client.quota.Commit(quota_pb2.CommitRequest(name=name, usage=usage))
    assert amount(done.charged) == (200 * 5 // 2 + 800 * 5 // 4, 1_000, 1)


async def test_the_same_commit_again_returns_the_first_result(client: Client) -> None:
    await found(client)
    name = await held(client)
    first = await committed(client, name)
    again = await committed(client, name)
    assert again.replayed
    again.replayed = False
    assert again == first
    assert await stands(client, "engineering") == (4_500, 0)
    assert types(await entries(client, 2)) == ["HOLD", "COMMIT"]


@pytest.mark.parametrize(
    "other",
    [{"output_tokens": 201}, {"input_tokens": 999}, {"usage_estimated": True}, {"model": "gpt-4o-mini"}],
    ids=lambda other: next(iter(other)),
)
async def test_a_second_commit_with_other_content_is_a_conflict_that_changes_nothing(
    client: Client, other: dict[str, Any]
) -> None:
    await found(client)
    name = await held(client)
    first = await committed(client, name)
    assert answer(await refusal(committed(client, name, **other))) == CONFLICT
    assert await stands(client, "engineering") == (4_500, 0)
    assert await reservation(client, name) == first.reservation


async def test_what_is_used_above_the_hold_is_charged_in_full_and_shown(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=COST, tokens=TOKENS, requests=1)
    await client.budget("engineering", limits=limits)
    done = await committed(client, await held(client), 2_000, 1_000)
    assert amount(done.charged) == (15_000, 3_000, 1)
    assert amount(done.overrun) == (7_500, 1_500, 0)
    assert amount(done.returned) == (0, 0, 0)
    for statuses in (list(done.budgets), await client.status("engineering")):
        assert [(each.spent, each.held, each.remaining, each.overrun) for each in statuses] == [
            (15_000, 0, -7_500, 7_500),
            (3_000, 0, -1_500, 1_500),
            (1, 0, 0, 0),
        ]
    _, entry = await entries(client, 2)
    assert (amount(entry.charged), amount(entry.overrun)) == ((15_000, 3_000, 1), (7_500, 1_500, 0))


async def test_a_commit_never_fails_for_lack_of_budget(client: Client) -> None:
    await found(client)
    name = await held(client)
    await limit(client, "engineering", cost(0))
    assert (await committed(client, name)).charged.cost_micros == 4_500
    [status] = await client.status("engineering")
    assert (status.limit, status.spent, status.remaining) == (0, 4_500, -4_500)


async def test_usage_that_is_an_estimate_is_called_so_in_the_ledger(client: Client) -> None:
    await found(client)
    await committed(client, await held(client), 1_000, 0, usage_estimated=True)
    assert [each.usage_estimated for each in await entries(client, 2)] == [False, True]


async def test_a_commit_of_nothing_still_counts_the_request(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=requests(10))
    assert amount((await committed(client, await held(client), 0, 0)).charged) == (0, 0, 1)


async def test_a_model_that_answered_instead_is_priced_as_such_in_the_holds_windows(client: Client) -> None:
    await found(client)
    await model(client, "fallback", 1_000_000, 3_000_000)
    await client.budget("mini", limits=cost(100_000), scope={"model": "fallback"})
    name = await held(client)
    done = await committed(client, name, 1_000, 200, provider="house", model="fallback")
    assert amount(done.charged) == (1_600, 1_200, 1)
    assert await stands(client, "engineering") == (1_600, 0)
    assert await stands(client, "mini") == (0, 0)
    again = await committed(client, name, 1_000, 200, provider="house", model="fallback")
    assert again.replayed
    _, entry = await entries(client, 2)
    assert (entry.provider, entry.model) == ("house", "fallback")


async def test_a_model_that_answered_instead_is_priced_at_the_holds_date(client: Client) -> None:
    await found(client)
    await model(client, "fallback", 1_000_000, 1_000_000)
    hold = (await authorized(client)).reservation
    dated = [
        {"input_pico_usd_per_token": 1_000_000, "output_pico_usd_per_token": 1_000_000},
        {
            "start_time": {"seconds": hold.create_time.seconds + 1},
            "input_pico_usd_per_token": 9_000_000,
            "output_pico_usd_per_token": 9_000_000,
        },
    ]
    await model(client, "fallback", prices=dated)
    await asyncio.sleep(1.1)
    done = await committed(client, hold.name, 1_000, 200, provider="house", model="fallback")
    assert done.charged.cost_micros == 1_200


async def test_a_model_that_the_catalogue_lacks_is_charged_at_the_holds_prices(client: Client) -> None:
    await found(client)
    done = await committed(client, await held(client), 1_000, 200, provider="house", model="unheard-of")
    assert done.charged.cost_micros == 4_500
    _, entry = await entries(client, 2)
    assert (entry.provider, entry.model) == ("house", "unheard-of")


async def test_naming_the_held_model_changes_no_price(client: Client) -> None:
    await found(client)
    name = await held(client, model="gpt-4o-2024-08-06")
    done = await committed(client, name, 1_000, 200, provider="openai", model="gpt-4o-2024-08-06")
    assert done.charged.cost_micros == 4_500


async def test_a_fallback_is_priced_by_the_newest_catalogue_also_on_the_other_server(
    client: Client, other: Client
) -> None:
    await found(client)
    await model(client, "fallback", 1_000_000, 1_000_000)
    name = await held(other)
    await model(client, "fallback", 2_000_000, 2_000_000)
    done = await committed(other, name, 1_000, 200, provider="house", model="fallback")
    assert done.charged.cost_micros == 2_400


async def test_a_caller_priced_model_is_charged_what_the_caller_says(client: Client) -> None:
    await found(client)
    await model(client, "image", caller_priced=True, unpriced=True)
    asked: dict[str, Any] = {"provider": "house", "model": "image"}
    name = await held(client, estimate=estimate(0, 0, cost_micros=500), **asked)
    usage = types_pb2.Usage(cost_micros=700)
    done = await client.quota.Commit(quota_pb2.CommitRequest(name=name, usage=usage))
    assert (done.charged.cost_micros, done.overrun.cost_micros) == (700, 200)


async def test_an_own_price_is_refused_where_the_catalogue_prices_and_the_hold_stays(client: Client) -> None:
    await found(client)
    await model(client, "image", caller_priced=True, unpriced=True)
    name = await held(client)
    usage = types_pb2.Usage(input_tokens=1, cost_micros=1)
    error = await refusal(client.quota.Commit(quota_pb2.CommitRequest(name=name, usage=usage)))
    assert answer(error) == ("INVALID_ARGUMENT", "PRICE_NOT_ALLOWED")
    assert list(fields(error)) == ["usage.cost_micros"]
    assert await stands(client, "engineering") == (0, COST)
    fallback = quota_pb2.CommitRequest(name=name, usage=usage, provider="house", model="image")
    assert (await client.quota.Commit(fallback)).charged.cost_micros == 1


async def test_a_usage_that_costs_more_than_a_request_may_is_refused_and_the_hold_stays(
    client: Client,
) -> None:
    await found(client)
    name = await held(client)
    error = await refusal(committed(client, name, 1_000_000_000, 1_000_000_000))
    assert answer(error) == ("INVALID_ARGUMENT", "AMOUNT_TOO_LARGE")
    assert list(fields(error)) == ["usage"]
    assert await stands(client, "engineering") == (0, COST)


async def test_concurrent_repeats_of_a_commit_charge_once(client: Client, other: Client) -> None:
    await found(client)
    name = await held(client)
    done = await asyncio.gather(*(committed(each, name) for _ in range(25) for each in (client, other)))
    assert sum(not each.replayed for each in done) == 1
    assert {amount(each.charged).cost for each in done} == {4_500}
    assert await stands(client, "engineering") == (4_500, 0)
    assert types(await entries(client, 2)) == ["HOLD", "COMMIT"]


async def test_of_a_commit_and_a_release_at_once_one_ends_it_and_the_charge_stays(
    client: Client, other: Client
) -> None:
    await found(client)
    names = [await held(client, f"k{number}", estimate=estimate(100, 0)) for number in range(20)]
    await asyncio.gather(
        *(call for name in names for call in (released(other, name), committed(client, name)))
    )
    assert await stands(client, "engineering") == (20 * 4_500, 0)


async def test_an_expired_hold_of_a_deleted_budget_can_still_be_charged(client: Client) -> None:
    await found(client)
    name = await expired(client)
    await client.budgets.DeleteBudget(
        budget_pb2.DeleteBudgetRequest(name="organizations/acme/budgets/engineering")
    )
    done = await client.quota.Commit(commit_request(name, 1_000, 200))
    assert done.charged.cost_micros == 4_500
