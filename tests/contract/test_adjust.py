"""AdjustBudget: what a live window, or every window until a date, is given or loses."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, types_pb2
from tests.support.calls import COST, Amount, authorized, committed, cost, denied, entries, held, requests
from tests.support.money import adjust_request, adjusted, limit_changes, limits
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores

EACH_USER = {"each": {"dimension": "DIMENSION_USER"}}
MAX = 900_000_000_000_000
DAY_S = 86_400
IN_2100_S = 4_102_444_800


@pytest.fixture
async def acme(client: Client) -> Client:
    """With budget `b`, which has room for one request and not for two."""
    await client.found_acme()
    await client.budget("b", limits=cost(10_000))
    return client


async def test_a_top_up_makes_room_at_once_on_every_server(acme: Client, other: Client) -> None:
    await held(acme, "a")
    await denied(other, "b")

    done = await adjusted(acme, "b", cost(5_000))

    [status] = done.statuses
    assert (status.limit, status.held, status.remaining, status.ceiling) == (15_000, COST, 7_500, 15_000)
    assert await limits(other, "b") == [15_000]
    await authorized(other, "b")


async def test_a_cut_below_what_is_held_blocks_new_holds_and_ends_none(acme: Client, other: Client) -> None:
    name = await held(acme, "a")

    done = await adjusted(other, "b", cost(-9_000))

    assert done.statuses[0].remaining == 1_000 - COST
    await denied(acme, "b")
    assert (await committed(acme, name)).charged.cost_micros == 4_500


async def test_an_adjustment_is_an_entry_of_the_ledger_that_charges_nothing(
    acme: Client, stores: Stores
) -> None:
    done = await adjusted(acme, "b", cost(-4_000))

    [entry] = await entries(acme, 1, type="TYPE_ADJUST", source=f"{ACME}/budgets/b")
    assert done.entry == entry
    assert limit_changes(entry) == [("b", "", Amount(-4_000))]
    assert entry.windows[0].window_start == done.statuses[0].window_start
    assert not entry.windows[0].HasField("limit_change_end_time")
    assert not entry.HasField("charged")
    assert not entry.windows[0].HasField("charged")
    assert (entry.reason, entry.subject.organization, entry.exact_cost_usd) == ("the fair", "acme", "0")
    assert abs(entry.occur_time.seconds - time.time()) < 60
    await stores.drained()


async def test_adjustments_of_a_window_add_up_and_survive_a_change_of_the_budget(acme: Client) -> None:
    await adjusted(acme, "b", cost(5_000), "one")
    await adjusted(acme, "b", cost(-2_000), "two")

    changed = budget_pb2.Budget(name=f"{ACME}/budgets/b", limits=cost(50_000))
    updated = await acme.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=changed, update_mask=FieldMask(paths=["limits"]))
    )

    assert updated.limits == cost(50_000)
    assert await limits(acme, "b") == [53_000]


async def test_one_value_of_each_is_adjusted_alone(client: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=types_pb2.Amounts(cost_micros=10_000, requests=5), scope=EACH_USER)

    done = await adjusted(client, "b", requests(3), each_value="ada")

    assert limit_changes(done.entry) == [("b", "ada", Amount(requests=3))]
    assert [status.each_value for status in done.statuses] == ["ada", "ada"]
    assert await limits(client, "b", "ada") == [10_000, 8]
    assert await limits(client, "b", "bob") == [10_000, 5]


async def test_the_same_request_has_the_first_answer_and_changes_nothing_more(
    acme: Client, other: Client
) -> None:
    first = await adjusted(acme, "b", cost(5_000))
    again = await adjusted(other, "b", cost(5_000))

    assert (first.replayed, again.replayed) == (False, True)
    assert again.entry == first.entry
    assert again.statuses == first.statuses
    assert await limits(acme, "b") == [15_000]


@pytest.mark.parametrize("until_s", [None, IN_2100_S])
async def test_the_same_request_is_answered_when_the_budget_is_gone(
    acme: Client, until_s: int | None
) -> None:
    first = await adjusted(acme, "b", cost(5_000), until_s=until_s)
    await acme.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/b"))

    again = await adjusted(acme, "b", cost(5_000), until_s=until_s)

    assert (again.entry, again.replayed, list(again.statuses)) == (first.entry, True, [])


@pytest.mark.parametrize(
    "second",
    [
        {"amounts": cost(5_001)},
        {"amounts": cost(5_000), "reason": "another"},
        {"amounts": cost(5_000), "budget": "other"},
        {"amounts": cost(5_000), "until_s": IN_2100_S},
    ],
    ids=["amounts", "reason", "budget", "until"],
)
async def test_a_request_id_with_other_content_is_a_conflict(acme: Client, second: dict[str, Any]) -> None:
    await acme.budget("other", limits=cost(10_000))
    await adjusted(acme, "b", cost(5_000))

    error = await refusal(acme.budgets.AdjustBudget(adjust_request(**{"budget": "b", **second})))

    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert (await limits(acme, "b"), await limits(acme, "other")) == ([15_000], [10_000])


@pytest.mark.parametrize("until_s", [None, IN_2100_S])
async def test_of_concurrent_repeats_on_two_servers_one_takes_effect(
    acme: Client, other: Client, stores: Stores, until_s: int | None
) -> None:
    answers = await asyncio.gather(
        *(adjusted((acme, other)[number % 2], "b", cost(100), until_s=until_s) for number in range(20))
    )

    assert sum(not each.replayed for each in answers) == 1
    assert len({each.entry.name for each in answers}) == 1
    assert await limits(acme, "b") == [10_100]
    await stores.drained()


async def test_of_two_requests_under_one_id_at_once_one_takes_effect(acme: Client, other: Client) -> None:
    """Also where one of them is for the live window and the other until a date, which is kept elsewhere."""
    tomorrow = int(time.time()) + DAY_S
    for number in range(10):
        answers = await asyncio.gather(
            adjusted(acme, "b", cost(1), f"r{number}"),
            adjusted(other, "b", cost(1), f"r{number}", until_s=tomorrow),
            return_exceptions=True,
        )
        assert sum(isinstance(each, BaseException) for each in answers) == 1

    assert await limits(acme, "b") == [10_010]
    assert len(await entries(acme, 10, type="TYPE_ADJUST")) == 10


# --- until a date ---


async def test_until_a_date_every_window_is_changed(acme: Client, other: Client, stores: Stores) -> None:
    tomorrow = int(time.time()) + DAY_S

    done = await adjusted(acme, "b", cost(5_000), until_s=tomorrow)

    assert await limits(other, "b") == [15_000]
    assert [status.limit for status in done.statuses] == [15_000]
    [entry] = await entries(acme, 1)
    assert done.entry == entry
    assert limit_changes(entry) == [("b", "", Amount(5_000))]
    assert entry.windows[0].limit_change_end_time.seconds == tomorrow
    assert (await acme.budgets.GetBudget(budget_pb2.GetBudgetRequest(name=f"{ACME}/budgets/b"))).limits == (
        cost(10_000)
    )
    await stores.drained()


async def test_when_the_date_has_come_the_limit_is_what_it_was(acme: Client, other: Client) -> None:
    until_s = int(time.time()) + 3
    await adjusted(acme, "b", cost(5_000), until_s=until_s)
    await held(other, "a")
    await authorized(other, "b", validate_only=True)

    await asyncio.sleep(until_s + 0.1 - time.time())

    await denied(other, "b")
    assert await limits(acme, "b") == [10_000]


async def test_an_update_of_the_budget_keeps_what_it_was_given_until_a_date(acme: Client) -> None:
    await adjusted(acme, "b", cost(5_000), until_s=int(time.time()) + DAY_S)

    renamed = budget_pb2.Budget(name=f"{ACME}/budgets/b", display_name="B")
    await acme.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=renamed, update_mask=FieldMask(paths=["display_name"]))
    )

    assert await limits(acme, "b") == [15_000]


# --- bad input ---


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amounts": types_pb2.Amounts()}, "amounts"),
        ({"amounts": cost(0)}, "amounts.cost_micros"),
        ({"amounts": cost(MAX + 1)}, "amounts.cost_micros"),
        ({"amounts": cost(-MAX - 1)}, "amounts.cost_micros"),
        ({"amounts": cost(MAX)}, "amounts.cost_micros"),
        ({"amounts": cost(-10_001)}, "amounts.cost_micros"),
        ({"amounts": cost(-10_001), "until_s": IN_2100_S}, "amounts.cost_micros"),
        ({"amounts": requests(1)}, "amounts.requests"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"request_id": ""}, "request_id"),
        ({"until_s": 1}, "until"),
        ({"each_value": "ada"}, "each_value"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(
    acme: Client, wrong: dict[str, Any], field: str
) -> None:
    request = adjust_request(**{"budget": "b", "amounts": cost(1), **wrong})

    error = await refusal(acme.budgets.AdjustBudget(request))

    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(fields(error)) == [field]
    assert await limits(acme, "b") == [10_000]
    await entries(acme, 0)


async def test_a_value_that_nobody_can_spend_under_is_refused_with_what_was_meant(client: Client) -> None:
    await client.found_acme()
    each = budget_pb2.Each(dimension=types_pb2.DIMENSION_USER)
    await client.budget("each", limits=cost(10_000), scope=budget_pb2.Scope(each=each))

    error = await refusal(client.budgets.AdjustBudget(adjust_request("each", cost(1), each_value="adda")))

    assert answer(error) == ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN")
    assert fields(error)["each_value"].startswith("there is no user “adda”; did you mean “ada”")
    await entries(client, 0)


async def test_a_limit_may_be_cut_to_nothing_and_raised_to_the_most(acme: Client) -> None:
    await adjusted(acme, "b", cost(-10_000), "one")
    assert await limits(acme, "b") == [0]
    await adjusted(acme, "b", cost(MAX), "two")
    assert await limits(acme, "b") == [MAX]


async def test_a_budget_that_is_not_there_is_not_found(acme: Client) -> None:
    error = await refusal(acme.budgets.AdjustBudget(adjust_request("nowhere", cost(1))))
    assert answer(error) == ("NOT_FOUND", "BUDGET_NOT_FOUND")

    request = adjust_request("b", cost(1), name="organizations/nobody/budgets/b")
    assert answer(await refusal(acme.budgets.AdjustBudget(request))) == (
        "NOT_FOUND",
        "ORGANIZATION_NOT_FOUND",
    )


async def test_a_disabled_budget_has_nothing_to_adjust(acme: Client) -> None:
    await acme.budget("off", limits=cost(10_000), disabled=True)
    error = await refusal(acme.budgets.AdjustBudget(adjust_request("off", cost(1))))
    assert answer(error) == ("FAILED_PRECONDITION", "BUDGET_DISABLED")


@pytest.mark.parametrize("until_s", [None, IN_2100_S])
async def test_a_budget_without_a_window_has_nothing_to_adjust(acme: Client, until_s: int | None) -> None:
    once = budget_pb2.Period.Once()
    once.start_time.FromSeconds(int(time.time()) + DAY_S)
    await acme.budget("later", limits=cost(10_000), period=budget_pb2.Period(once=once))

    error = await refusal(acme.budgets.AdjustBudget(adjust_request("later", cost(1), until_s=until_s)))

    assert answer(error) == ("FAILED_PRECONDITION", "NO_LIVE_WINDOW")


async def test_a_budget_that_another_server_has_just_made_is_adjusted(acme: Client, other: Client) -> None:
    await adjusted(other, "b", cost(1), "one")
    await acme.budget("new", limits=cost(10_000))
    await adjusted(other, "new", cost(1), "two")
    assert await limits(acme, "new") == [10_001]
