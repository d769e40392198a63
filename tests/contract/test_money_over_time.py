"""What becomes of changes of money when windows end."""

from __future__ import annotations

from quota.v1 import budget_pb2
from tests.support.calls import Amount, cost, entries
from tests.support.clock import DAY_MS, NOON_MS, move_clock
from tests.support.money import adjust_request, adjusted, limit_changes, limits, reallocated
from tests.support.refusals import answer, fields, refusal
from tests.support.service import Client
from tests.support.stores import Stores

DAILY = budget_pb2.Period(daily=budget_pb2.Period.Daily(), time_zone="UTC")
ALL_OF_IT = budget_pb2.Rollover(carry=budget_pb2.Rollover.Carry(max_percent=1_000))
LIMIT = 10_000


async def begun(client: Client, stores: Stores, **rollover: budget_pb2.Rollover) -> None:
    """Acme with the daily budgets `a` and `b`, made at noon of day 0."""
    await client.found_acme()
    await move_clock(stores, NOON_MS, client)
    for budget in ("a", "b"):
        await client.budget(budget, limits=cost(LIMIT), period=DAILY, **rollover)


async def day(stores: Stores, number: int, *clients: Client) -> None:
    """Noon of a day."""
    await move_clock(stores, NOON_MS + number * DAY_MS, *clients)


async def test_without_rollover_a_new_window_has_the_budgets_own_limit(
    client: Client, stores: Stores
) -> None:
    await begun(client, stores)
    await adjusted(client, "a", cost(500), "one")
    await reallocated(client, "a", "b", cost(2_000), "two")
    assert (await limits(client, "a"), await limits(client, "b")) == ([8_500], [12_000])

    await day(stores, 1)

    assert (await limits(client, "a"), await limits(client, "b")) == ([LIMIT], [LIMIT])


async def test_what_was_added_rolls_over_and_what_was_moved_does_not(client: Client, stores: Stores) -> None:
    await begun(client, stores, rollover=ALL_OF_IT)
    await adjusted(client, "a", cost(500), "one")
    await reallocated(client, "a", "b", cost(2_000), "two")

    await day(stores, 1)

    assert await limits(client, "a") == [LIMIT + LIMIT + 500 - 2_000]
    assert await limits(client, "b") == [LIMIT + LIMIT]


async def test_a_window_that_begins_with_something_is_opened_before_it_is_changed(
    client: Client, other: Client, stores: Stores
) -> None:
    await begun(client, stores, rollover=ALL_OF_IT)
    await limits(client, "a")
    await limits(client, "b")

    await day(stores, 1)
    done = await adjusted(other, "a", cost(1), "one")
    assert [status.limit for status in done.statuses] == [2 * LIMIT + 1]

    moved = await reallocated(client, "b", "a", cost(2 * LIMIT), "two")
    assert [status.limit for status in moved.source_statuses] == [0]
    assert [status.limit for status in moved.destination_statuses] == [4 * LIMIT + 1]


async def test_until_a_date_each_window_is_changed_once(
    client: Client, other: Client, stores: Stores
) -> None:
    await begun(client, stores)
    until_s = (NOON_MS + 2 * DAY_MS) // 1_000

    done = await adjusted(client, "a", cost(500), until_s=until_s)
    assert limit_changes(done.entry) == [("a", "", Amount(500))]
    for number, limit in ((0, LIMIT + 500), (1, LIMIT + 500), (2, LIMIT), (3, LIMIT)):
        await day(stores, number, client)
        assert (await limits(client, "a"), await limits(other, "a")) == ([limit], [limit])

    late = adjust_request("a", cost(500), "late", until_s=until_s)
    error = await refusal(client.budgets.AdjustBudget(late))
    assert (answer(error)[0], list(fields(error))) == ("INVALID_ARGUMENT", ["until"])
    await entries(client, 1)


async def test_a_repeat_after_the_window_has_ended_has_the_first_answer(
    client: Client, stores: Stores
) -> None:
    await begun(client, stores)
    first = await adjusted(client, "a", cost(500))

    await day(stores, 3, client)
    again = await adjusted(client, "a", cost(500))

    assert (again.replayed, again.entry) == (True, first.entry)
    assert [status.limit for status in again.statuses] == [LIMIT]
