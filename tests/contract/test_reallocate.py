"""ReallocateBudget: headroom moves from one live window to another, in one step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import budget_pb2, types_pb2
from tests.support.calls import (
    COST,
    TOKENS,
    Amount,
    amount,
    authorized,
    cost,
    denied,
    entries,
    held,
    limit,
    user,
)
from tests.support.money import (
    adjust_request,
    adjusted,
    limit_changes,
    limits,
    reallocate_request,
    reallocated,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores

EACH_USER = {"each": {"dimension": "DIMENSION_USER"}}
MAX = 900_000_000_000_000


@pytest.fixture
async def acme(client: Client) -> Client:
    """With budgets `sales` and `support` of two teams; ada is in `engineering`, to which `sales` belongs."""
    await client.found_acme()
    await client.budget("sales", limits=cost(10_000), scope={"team": "engineering"})
    await client.budget("support", limits=cost(20_000))
    return client


async def both(client: Client) -> list[int]:
    return [*await limits(client, "sales"), *await limits(client, "support")]


async def test_headroom_moves_and_the_sum_stays_on_every_server(acme: Client, other: Client) -> None:
    await held(acme, "a")
    await denied(other, "b")

    done = await reallocated(acme, "support", "sales", cost(12_500))

    assert await both(other) == [22_500, 7_500]
    [source], [destination] = done.source_statuses, done.destination_statuses
    assert (source.source, source.limit, source.held) == (f"{ACME}/budgets/support", 7_500, COST)
    assert (destination.source, destination.limit) == (f"{ACME}/budgets/sales", 22_500)
    assert (source.remaining, destination.remaining) == (0, 15_000)
    await denied(other, "c")


async def test_a_reallocation_is_one_entry_that_names_both_windows(acme: Client, stores: Stores) -> None:
    done = await reallocated(acme, "support", "sales", cost(2_000))

    for budget in ("sales", "support"):
        [entry] = await entries(acme, 1, type="TYPE_REALLOCATE", source=f"{ACME}/budgets/{budget}")
        assert entry == done.entry
    assert limit_changes(done.entry) == [("support", "", Amount(-2_000)), ("sales", "", Amount(2_000))]
    assert not done.entry.HasField("charged")
    assert done.entry.reason == "the fair"
    await stores.drained()


async def test_all_meters_move_together_or_none(client: Client) -> None:
    await client.found_acme()
    three = types_pb2.Amounts(cost_micros=10_000, tokens=5_000, requests=3)
    await client.budget("a", limits=three)
    await client.budget("b", limits=three)
    await held(client)

    too_much = types_pb2.Amounts(cost_micros=1, tokens=5_000 - TOKENS + 1, requests=1)
    error = await refusal(client.budgets.ReallocateBudget(reallocate_request("a", "b", too_much)))
    assert answer(error) == ("FAILED_PRECONDITION", "HEADROOM_MISSING")
    assert "3,500 tokens of 3,501" in str(error.details())

    await reallocated(client, "a", "b", types_pb2.Amounts(cost_micros=1, tokens=5_000 - TOKENS, requests=1))
    assert await limits(client, "a") == [9_999, TOKENS, 2]
    assert await limits(client, "b") == [10_001, 8_500, 4]


async def test_values_of_one_budget_may_give_to_each_other(client: Client) -> None:
    await client.found_acme()
    await user(client, "bob")
    await client.budget("b", limits=cost(10_000), scope=EACH_USER)

    done = await reallocated(
        client, "b", "b", cost(10_000), source_each_value="bob", destination_each_value="ada"
    )

    assert limit_changes(done.entry) == [("b", "bob", Amount(-10_000)), ("b", "ada", Amount(10_000))]
    assert (await limits(client, "b", "ada"), await limits(client, "b", "bob")) == ([20_000], [0])


async def test_headroom_is_measured_at_the_limit_with_what_the_window_was_given(acme: Client) -> None:
    """Whatever the ladder says: here it blocks at half of it already."""
    ladder = [{"at_percent": 50, "block": {}}]
    await acme.budget("half", limits=cost(10_000), ladder=ladder)
    await adjusted(acme, "half", cost(1_000), "more")

    error = await refusal(acme.budgets.ReallocateBudget(reallocate_request("half", "sales", cost(11_001))))
    assert answer(error) == ("FAILED_PRECONDITION", "HEADROOM_MISSING")
    await reallocated(acme, "half", "sales", cost(11_000))

    assert await limits(acme, "half") == [0]


@pytest.mark.parametrize(("left", "told"), [(0, "$0.00"), (-5_000, "-$0.005")])
async def test_what_is_not_there_is_not_moved_and_the_error_says_how_much_is(
    acme: Client, left: int, told: str
) -> None:
    await held(acme, "a")
    await limit(acme, "support", cost(COST + left))

    error = await refusal(acme.budgets.ReallocateBudget(reallocate_request("support", "sales", cost(1))))

    assert answer(error) == ("FAILED_PRECONDITION", "HEADROOM_MISSING")
    assert f"{told} of $0.000001" in str(error.details())
    assert await both(acme) == [10_000, COST + left]
    await entries(acme, 0, type="TYPE_REALLOCATE")


async def test_what_was_not_there_may_be_asked_for_again_under_the_same_id(acme: Client) -> None:
    error = await refusal(acme.budgets.ReallocateBudget(reallocate_request("sales", "support", cost(11_000))))
    assert answer(error) == ("FAILED_PRECONDITION", "HEADROOM_MISSING")

    await adjusted(acme, "sales", cost(1_000), "more")

    assert not (await reallocated(acme, "sales", "support", cost(11_000))).replayed


async def test_the_same_request_has_the_first_answer_and_moves_nothing_more(
    acme: Client, other: Client
) -> None:
    first = await reallocated(acme, "support", "sales", cost(15_000))
    again = await reallocated(other, "support", "sales", cost(15_000))

    assert (first.replayed, again.replayed) == (False, True)
    assert again.entry == first.entry
    assert (again.source_statuses, again.destination_statuses) == (
        first.source_statuses,
        first.destination_statuses,
    )
    assert await both(acme) == [25_000, 5_000]


async def test_of_concurrent_repeats_on_two_servers_one_takes_effect(
    acme: Client, other: Client, stores: Stores
) -> None:
    answers = await asyncio.gather(
        *(reallocated((acme, other)[number % 2], "support", "sales", cost(15_000)) for number in range(20))
    )

    assert sum(not each.replayed for each in answers) == 1
    assert len({each.entry.name for each in answers}) == 1
    assert await both(acme) == [25_000, 5_000]
    await stores.drained()


@pytest.mark.parametrize(
    "second",
    [
        {"amounts": cost(1)},
        {"reason": "another"},
        {"source": f"{ACME}/budgets/sales", "destination": f"{ACME}/budgets/support"},
    ],
    ids=["amounts", "reason", "direction"],
)
async def test_a_request_id_with_other_content_is_a_conflict(acme: Client, second: dict[str, Any]) -> None:
    await reallocated(acme, "support", "sales", cost(2_000))

    request = reallocate_request("support", "sales", **{"amounts": cost(2_000), **second})
    error = await refusal(acme.budgets.ReallocateBudget(request))

    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert await both(acme) == [12_000, 18_000]


async def test_adjustments_and_reallocations_share_their_request_ids(acme: Client) -> None:
    await adjusted(acme, "sales", cost(1), "same")
    error = await refusal(
        acme.budgets.ReallocateBudget(reallocate_request("support", "sales", cost(1), "same"))
    )
    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")

    await reallocated(acme, "support", "sales", cost(1), "mine")
    error = await refusal(acme.budgets.AdjustBudget(adjust_request("sales", cost(1), "mine")))
    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


# --- bad input ---


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"destination": f"{ACME}/budgets/support"}, "destination"),
        ({"destination": "organizations/globex/budgets/sales"}, "destination"),
        ({"amounts": types_pb2.Amounts()}, "amounts"),
        ({"amounts": cost(0)}, "amounts.cost_micros"),
        ({"amounts": cost(-1)}, "amounts.cost_micros"),
        ({"amounts": cost(MAX + 1)}, "amounts.cost_micros"),
        ({"amounts": types_pb2.Amounts(tokens=1)}, "amounts.tokens"),
        ({"reason": ""}, "reason"),
        ({"request_id": ""}, "request_id"),
        ({"source_each_value": "ada"}, "source_each_value"),
        ({"destination_each_value": "ada"}, "destination_each_value"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(
    acme: Client, wrong: dict[str, Any], field: str
) -> None:
    request = reallocate_request("support", "sales", **{"amounts": cost(1), **wrong})

    error = await refusal(acme.budgets.ReallocateBudget(request))

    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert set(fields(error)) == {field}
    assert await both(acme) == [10_000, 20_000]
    await entries(acme, 0)


async def test_a_meter_that_only_one_of_both_limits_is_refused(acme: Client) -> None:
    await acme.budget("tokens", limits=types_pb2.Amounts(cost_micros=5, tokens=5))
    for source, destination in (("tokens", "sales"), ("sales", "tokens")):
        request = reallocate_request(source, destination, types_pb2.Amounts(tokens=1))
        error = await refusal(acme.budgets.ReallocateBudget(request))
        assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert fields(error) == {"amounts.tokens": "budget “sales” has no limit in this meter"}


async def test_the_destination_cannot_get_more_than_a_limit_may_be(acme: Client) -> None:
    await acme.budget("full", limits=cost(MAX))
    error = await refusal(acme.budgets.ReallocateBudget(reallocate_request("sales", "full", cost(1))))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert await both(acme) == [10_000, 20_000]


async def test_windows_that_do_not_begin_and_end_together_are_refused(acme: Client) -> None:
    daily = budget_pb2.Period(daily=budget_pb2.Period.Daily())
    abroad = budget_pb2.Period(monthly=budget_pb2.Period.Monthly(), time_zone="Asia/Kathmandu")
    await acme.budget("daily", limits=cost(5), period=daily)
    await acme.budget("abroad", limits=cost(5), period=abroad)
    for destination in ("daily", "abroad"):
        error = await refusal(
            acme.budgets.ReallocateBudget(reallocate_request("sales", destination, cost(1)))
        )
        assert answer(error) == ("FAILED_PRECONDITION", "WINDOWS_DIFFER")
    assert await both(acme) == [10_000, 20_000]


async def test_budgets_that_are_not_there_or_disabled_are_refused(acme: Client) -> None:
    await acme.budget("off", limits=cost(10_000), disabled=True)
    for name, expected in (
        ("nowhere", ("NOT_FOUND", "BUDGET_NOT_FOUND")),
        ("off", ("FAILED_PRECONDITION", "BUDGET_DISABLED")),
    ):
        for pair in ((name, "sales"), ("sales", name)):
            error = await refusal(acme.budgets.ReallocateBudget(reallocate_request(*pair, cost(1))))
            assert answer(error) == expected


async def test_what_was_moved_can_be_spent_and_is_gone_for_the_giver(acme: Client) -> None:
    await reallocated(acme, "sales", "support", cost(2_501))
    refused = await denied(acme, "a")
    assert [violation.source for violation in refused.violations] == [f"{ACME}/budgets/sales"]
    assert refused.violations[0].limit == COST - 1

    await reallocated(acme, "support", "sales", cost(1), "back")

    assert amount((await authorized(acme, "a")).reservation.held).cost == COST
