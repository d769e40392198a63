"""What is left of a window is added to the next one's limit: once, everywhere the same, and in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import budget_pb2, report_pb2, types_pb2
from tests.support.calls import (
    COST,
    amount,
    authorized,
    committed,
    cost,
    denied,
    entries,
    held,
    reasons,
    record_request,
    released,
    seconds,
    subject,
    user,
)
from tests.support.clock import DAY_MS, NOON_MS, move_clock
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores

SPENT = 4_500
"""What `committed` charges, in micro-USD."""
LIMIT = 20_000
DAILY = budget_pb2.Period(daily=budget_pb2.Period.Daily(), time_zone="UTC")
ROLLOVER = report_pb2.LedgerEntry.TYPE_ROLLOVER


def up_to(percent: int) -> budget_pb2.Rollover:
    return budget_pb2.Rollover(carry=budget_pb2.Rollover.Carry(max_percent=percent))


async def begun(client: Client, stores: Stores, **fields_: object) -> None:
    """Acme with the budget `b`, 20,000 micro-USD a day, made at noon of day 0."""
    await client.found_acme()
    await move_clock(stores, NOON_MS, client)
    fields_.setdefault("rollover", up_to(100))
    await client.budget("b", limits=cost(LIMIT), period=DAILY, **fields_)


async def day(stores: Stores, number: int, *clients: Client) -> None:
    """Noon of a day."""
    await move_clock(stores, NOON_MS + number * DAY_MS, *clients)


async def turn(stores: Stores) -> None:
    """Midnight after day 0: holds of `all_day` are alive."""
    await move_clock(stores, NOON_MS + DAY_MS // 2)


async def all_day(client: Client, key: str) -> str:
    return await held(client, key, ttl=seconds(86_400))


async def spend(client: Client, key: str = "k") -> str:
    name = await held(client, key)
    await committed(client, name)
    return name


async def limit_of(client: Client, each_value: str = "") -> int:
    [status] = await client.status("b", each_value)
    return status.limit


async def carried(client: Client, count: int = 1) -> list[tuple[int, int]]:
    """What the ledger says was carried: start of the window in days since day 0, and micro-USD."""
    found = await entries(client, count, type=ROLLOVER)
    windows = [window for entry in found for window in entry.windows]
    return [
        (
            (window.window_start.ToMilliseconds() - NOON_MS + DAY_MS // 2) // DAY_MS,
            amount(window.limit_change).cost,
        )
        for window in windows
    ]


async def test_what_is_left_is_part_of_the_next_windows_limit_and_in_the_ledger(
    client: Client, stores: Stores
) -> None:
    await begun(client, stores)
    await spend(client)
    await day(stores, 1)
    assert await limit_of(client) == LIMIT + LIMIT - SPENT
    assert await carried(client) == [(1, LIMIT - SPENT)]
    [entry] = await entries(client, 1, type=ROLLOVER)
    assert not any(amount(entry.charged))
    assert not entry.reservation


async def test_what_has_been_carried_can_be_spent(client: Client, stores: Stores) -> None:
    await begun(client, stores)
    await all_day(client, "yesterday")
    await turn(stores)
    # 12,500 are left of yesterday, where the hold still counts: 32,500 are room for four more.
    for number in range(4):
        await authorized(client, f"today-{number}")
    [violation] = (await denied(client, "too much")).violations
    assert (violation.limit, violation.held) == (LIMIT + LIMIT - COST, 4 * COST)


async def test_a_cap_bounds_what_is_carried(client: Client, stores: Stores) -> None:
    await begun(client, stores, rollover=up_to(10))
    await spend(client)
    for number in (1, 2):
        await day(stores, number)
        assert await limit_of(client) == LIMIT + LIMIT // 10
    assert await carried(client, 2) == [(1, LIMIT // 10), (2, LIMIT // 10)]


async def test_a_cap_in_amounts_carries_only_the_meters_that_it_names(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await move_clock(stores, NOON_MS, client)
    carry = budget_pb2.Rollover.Carry(max_amounts=types_pb2.Amounts(requests=2))
    limits = types_pb2.Amounts(cost_micros=LIMIT, requests=10)
    rollover = budget_pb2.Rollover(carry=carry)
    made = await client.budget("b", limits=limits, period=DAILY, rollover=rollover)
    assert made.rollover == rollover
    await day(stores, 1)
    assert [status.limit for status in await client.status("b")] == [LIMIT, 12]


async def test_a_commit_that_comes_late_revises_nothing(client: Client, stores: Stores) -> None:
    await begun(client, stores)
    name = await all_day(client, "yesterday")
    await turn(stores)
    assert await limit_of(client) == LIMIT + LIMIT - COST
    await committed(client, name, 1_000, 100)
    assert await limit_of(client) == LIMIT + LIMIT - COST
    assert await carried(client) == [(1, LIMIT - COST)]


async def test_nothing_that_is_left_is_no_entry_and_not_asked_again(client: Client, stores: Stores) -> None:
    await begun(client, stores)
    name = await held(client)
    await committed(client, name, 8_000, 0)
    await day(stores, 1)
    assert await limit_of(client) == LIMIT
    await released(client, await held(client, "today"))
    assert await limit_of(client) == LIMIT
    await stores.drained()
    assert await carried(client, 0) == []


async def test_silent_windows_are_carried_through(client: Client, stores: Stores) -> None:
    await begun(client, stores, rollover=up_to(1_000))
    await spend(client)
    await stores.drained()
    await day(stores, 4)
    assert await limit_of(client) == 5 * LIMIT - SPENT
    assert await carried(client) == [(4, 4 * LIMIT - SPENT)]


async def test_a_chain_goes_on_from_what_was_carried_before(client: Client, stores: Stores) -> None:
    await begun(client, stores, rollover=up_to(1_000))
    await spend(client)
    await day(stores, 1)
    await spend(client, "day 1")
    await stores.drained()
    await day(stores, 3)
    assert await limit_of(client) == 4 * LIMIT - 2 * SPENT


async def test_before_the_budget_was_made_there_was_nothing_to_carry(client: Client, stores: Stores) -> None:
    await begun(client, stores, rollover=up_to(1_000))
    assert await limit_of(client) == LIMIT
    await day(stores, 2)
    assert await limit_of(client) == 3 * LIMIT
    assert await carried(client) == [(2, 2 * LIMIT)]


async def test_every_value_of_a_dimension_carries_its_own(client: Client, stores: Stores) -> None:
    each = budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER))
    await begun(client, stores, scope=each)
    await user(client, "bob", "engineering")
    await spend(client)
    await stores.drained()
    await day(stores, 1)
    await authorized(client, "bob", subject=subject(user="bob"))
    assert await limit_of(client, "bob") == 2 * LIMIT
    assert await limit_of(client, "ada") == 2 * LIMIT - SPENT


async def test_many_first_requests_on_two_servers_carry_once(
    client: Client, other: Client, stores: Stores
) -> None:
    each = budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER))
    await begun(client, stores, scope=each)
    values = [f"user-{number}" for number in range(20)]
    await spend(client)
    await day(stores, 1)
    servers = (client, other) * 5
    limits = await asyncio.gather(
        *(limit_of(server, value) for value in ("ada", *values) for server in servers)
    )
    assert limits == [LIMIT + LIMIT - SPENT] * len(servers) + [2 * LIMIT] * len(servers) * len(values)
    await stores.drained()
    assert sorted(await carried(client, 21)) == [(1, LIMIT - SPENT)] + [(1, LIMIT)] * 20


async def test_what_the_ledger_knows_is_not_worked_out_again(client: Client, stores: Stores) -> None:
    await begun(client, stores)
    name = await all_day(client, "yesterday")
    await spend(client)
    await turn(stores)
    assert await limit_of(client) == LIMIT + LIMIT - SPENT - COST
    await released(client, name)
    await stores.drained()
    await stores.valkey.delete(*await stores.keys("window/b/"))
    assert await limit_of(client) == LIMIT + LIMIT - SPENT - COST
    await stores.drained()
    assert await carried(client) == [(1, LIMIT - SPENT - COST)]


async def test_a_window_that_was_lost_and_came_back_with_a_late_charge_is_not_believed(
    client: Client, stores: Stores
) -> None:
    await begun(client, stores)
    late = await held(client, "late")
    await spend(client)
    await stores.drained()
    await stores.valkey.delete(*await stores.keys("window/b/"))
    await committed(client, late)
    await stores.drained()
    await day(stores, 1)
    assert await limit_of(client) == LIMIT + LIMIT - 2 * SPENT


async def test_a_window_turns_while_postgresql_is_away(
    client: Client, stores: Stores, postgres_url: str
) -> None:
    await begun(client, stores)
    await spend(client)
    await day(stores, 1)
    async with _postgresql_away(postgres_url):
        async with asyncio.timeout(4):
            await authorized(client, "today")
    assert await limit_of(client) == LIMIT + LIMIT - SPENT
    assert await carried(client) == [(1, LIMIT - SPENT)]


async def test_what_only_the_ledger_knows_is_not_guessed_while_postgresql_is_away(
    client: Client, stores: Stores, postgres_url: str
) -> None:
    await begun(client, stores)
    await spend(client)
    await day(stores, 3)
    async with _postgresql_away(postgres_url):
        assert reasons(await denied(client, "today")) == ["STORE_UNAVAILABLE"]
    await authorized(client, "today")
    assert await limit_of(client) == 2 * LIMIT


async def test_rollover_switched_on_in_mid_window_brings_what_was_left_at_once(
    client: Client, stores: Stores
) -> None:
    await begun(client, stores, rollover=budget_pb2.Rollover(none=budget_pb2.Rollover.Nothing()))
    await spend(client)
    await stores.drained()
    await day(stores, 1)
    await spend(client, "today")
    assert await limit_of(client) == LIMIT
    await _change_rollover(client, up_to(100))
    assert await limit_of(client) == LIMIT + LIMIT - SPENT
    await _change_rollover(client, budget_pb2.Rollover(none=budget_pb2.Rollover.Nothing()))
    assert await limit_of(client) == LIMIT + LIMIT - SPENT
    await day(stores, 2)
    assert await limit_of(client) == LIMIT


async def test_a_charge_of_long_ago_opens_no_window(client: Client, stores: Stores) -> None:
    await begun(client, stores)
    await day(stores, 100, client)
    long_ago = Timestamp()
    long_ago.FromMilliseconds(NOON_MS + 3 * DAY_MS)
    await client.quota.Record(record_request("r", occur_time=long_ago))
    await stores.drained()
    assert [number for number, _ in await carried(client)] == [100]


@pytest.mark.parametrize(
    ("fields_", "field"),
    [
        (
            {"period": budget_pb2.Period(once=budget_pb2.Period.Once()), "rollover": up_to(50)},
            "budget.rollover",
        ),
        (
            {
                "rollover": budget_pb2.Rollover(
                    carry=budget_pb2.Rollover.Carry(max_amounts=types_pb2.Amounts(tokens=5))
                )
            },
            "budget.rollover.carry.max_amounts.tokens",
        ),
        (
            {
                "rollover": budget_pb2.Rollover(
                    carry=budget_pb2.Rollover.Carry(max_amounts=types_pb2.Amounts())
                )
            },
            "budget.rollover.carry.max_amounts",
        ),
    ],
)
async def test_a_rollover_that_cannot_be_is_refused(
    client: Client, fields_: dict[str, object], field: str
) -> None:
    await client.found_acme()
    error = await refusal(client.budget("b", limits=cost(LIMIT), **fields_))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(fields(error)) == [field]


async def _change_rollover(client: Client, rollover: budget_pb2.Rollover) -> None:
    changed = budget_pb2.Budget(name=f"{ACME}/budgets/b", rollover=rollover)
    await client.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=changed, update_mask=FieldMask(paths=["rollover"]))
    )


@asynccontextmanager
async def _postgresql_away(postgres_url: str) -> AsyncIterator[None]:
    """It answers nothing that is about budgets or the ledger meanwhile."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute(
                "LOCK TABLE ledger_keys, ledger_entries, window_balances, resources, organizations"
                " IN ACCESS EXCLUSIVE MODE"
            )
            yield
    finally:
        await connection.close()
