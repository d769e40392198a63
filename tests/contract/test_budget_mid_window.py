"""A budget made in mid-window counts what had been spent since the window's start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import budget_pb2, types_pb2
from quota_service.domain import commands
from quota_service.domain.pricing import Usage
from tests.support.calls import (
    authorized,
    committed,
    cost,
    denied,
    held,
    limit,
    model,
    reasons,
    record_request,
    stands,
    subject,
    team,
    user,
)
from tests.support.money import adjusted
from tests.support.service import ACME, Client
from tests.support.stores import Stores
from tests.support.valkey import opened

SPENT = 4_500
"""What `committed` charges, in micro-USD."""
LIMIT = 1_000_000
EACH_USER = budget_pb2.Each(dimension=types_pb2.DIMENSION_USER)
EACH_RUN = budget_pb2.Each(dimension=types_pb2.DIMENSION_TAG, tag="run", max_values=10)


async def founded(client: Client) -> None:
    """Acme lets requests pass that no budget covers; Bob is in another team than Ada."""
    await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
    await team(client, "sales")
    await user(client, "bob", "sales")


async def spend(client: Client, key: str, **fields: Any) -> None:
    """4,500 micro-USD of Ada's, unless said otherwise."""
    await committed(client, await held(client, key, **fields))


async def spent(client: Client, each_value: str = "") -> int:
    return (await stands(client, "b", each_value))[0]


async def made(client: Client, scope: budget_pb2.Scope | None = None, **fields: Any) -> None:
    await client.budget("b", limits=cost(LIMIT), scope=scope, **fields)


async def test_it_counts_what_was_committed_and_recorded_before(client: Client) -> None:
    await founded(client)
    await spend(client, "k")
    await client.quota.Record(record_request("r"))
    await made(client)
    assert await spent(client) == SPENT + 7_500
    await spend(client, "later")
    assert await spent(client) == SPENT + 7_500 + SPENT


async def test_it_denies_what_does_not_fit_beside_what_was_spent(client: Client) -> None:
    await founded(client)
    await spend(client, "k")
    await client.budget("b", limits=cost(SPENT + 7_000))
    assert reasons(await denied(client, "too much")) == ["BUDGET_EXHAUSTED"]


async def test_it_has_the_overruns_too_but_not_what_is_held(client: Client, stores: Stores) -> None:
    await founded(client)
    await committed(client, await held(client, "k"), 8_000, 0)
    under_way = await held(client, "under way")
    await made(client)
    assert await stands(client, "b") == (20_000, 0)
    assert await stores.balance("b") == (20_000, 12_500)
    # What was authorized before counts where it was held.
    await committed(client, under_way)
    assert await spent(client) == 20_000


@pytest.mark.parametrize(
    ("scope", "counted"),
    [
        (budget_pb2.Scope(), 3 * SPENT),
        (budget_pb2.Scope(team="engineering"), 2 * SPENT),
        (budget_pb2.Scope(team="sales"), SPENT),
        (budget_pb2.Scope(user="ada"), 2 * SPENT),
        (budget_pb2.Scope(api_key="key-ada"), SPENT),
        (budget_pb2.Scope(cost_center="CC-1"), 2 * SPENT),
        (budget_pb2.Scope(tags={"feature": "chat"}), SPENT),
        (budget_pb2.Scope(tags={"feature": "other"}), 0),
    ],
    ids=["all", "team", "other team", "user", "key", "cost center", "tag", "no tag"],
)
async def test_its_subject_must_match(client: Client, scope: budget_pb2.Scope, counted: int) -> None:
    await founded(client)
    await spend(client, "ada", subject=subject(user="ada", tags={"feature": "chat"}))
    await spend(client, "key", subject=subject(api_key="key-ada"))
    await spend(client, "bob", subject=subject(user="bob"))
    await made(client, scope)
    assert await spent(client) == counted


async def test_models_match_as_the_catalogue_names_them(client: Client, subtests: pytest.Subtests) -> None:
    await founded(client)
    await model(client, "small", tier=1)
    await model(client, "large", tier=3)
    await spend(client, "small", provider="house", model="small")
    await spend(client, "large", provider="house", model="large")
    await spend(client, "gpt", model="gpt-4o-2024-08-06")
    scopes = {
        "provider": (budget_pb2.Scope(provider="house"), 2_400),
        "model": (budget_pb2.Scope(provider="openai", model="gpt-4o"), SPENT),
        "tier": (budget_pb2.Scope(tier=3), 1_200),
    }
    for name, (scope, counted) in scopes.items():
        with subtests.test(name):
            await client.budget(name, limits=cost(LIMIT), scope=scope)
            assert (await stands(client, name))[0] == counted


@pytest.mark.parametrize(
    ("each", "counted"),
    [
        (EACH_USER, {"ada": 2 * SPENT, "bob": SPENT, "": 0}),
        (EACH_RUN, {"one": SPENT, "two": SPENT, "": SPENT, "three": 0}),
        (budget_pb2.Each(dimension=types_pb2.DIMENSION_MODEL), {"gpt-4o": 3 * SPENT}),
    ],
    ids=["user", "tag", "model"],
)
async def test_every_value_has_its_own(
    client: Client, each: budget_pb2.Each, counted: dict[str, int]
) -> None:
    await founded(client)
    await spend(client, "1", subject=subject(user="ada", tags={"run": "one"}))
    await spend(client, "2", subject=subject(user="ada", tags={"run": "two"}))
    await spend(client, "3", subject=subject(user="bob"))
    await made(client, budget_pb2.Scope(each=each))
    assert {value: await spent(client, value) for value in counted} == counted


async def test_what_was_before_the_window_does_not_count(client: Client) -> None:
    await founded(client)
    long_ago = Timestamp(seconds=1_600_000_000)
    await client.quota.Record(record_request("r", occur_time=long_ago))
    await spend(client, "k")
    await made(client)
    assert await spent(client) == SPENT
    once = budget_pb2.Period(once=budget_pb2.Period.Once())
    await client.budget("ever", limits=cost(LIMIT), period=once)
    assert (await stands(client, "ever"))[0] == SPENT + 7_500


async def test_a_budget_made_anew_counts_by_its_own_scope_and_keeps_what_is_held(client: Client) -> None:
    await founded(client)
    await made(client, budget_pb2.Scope(each=EACH_USER))
    await spend(client, "ada")
    await spend(client, "bob", subject=subject(user="bob"))
    held_by_bob = await held(client, "under way", subject=subject(user="bob"))
    await client.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/b"))
    await spend(client, "between", subject=subject(user="bob"))
    await made(client, budget_pb2.Scope(each=EACH_USER, team="sales"))
    assert await stands(client, "b", "bob") == (2 * SPENT, 7_500)
    assert await stands(client, "b", "ada") == (0, 0)
    await committed(client, held_by_bob)
    assert await stands(client, "b", "bob") == (3 * SPENT, 0)


async def test_two_servers_begin_with_the_same(client: Client, other: Client) -> None:
    await founded(client)
    await spend(client, "k")
    await made(client)
    callers = (client, other) * 10
    await asyncio.gather(*(authorized(each, f"{number}") for number, each in enumerate(callers)))
    assert await stands(client, "b") == (SPENT, 20 * 7_500) == await stands(other, "b")


async def test_valkeys_loss_of_the_window_is_made_good_from_the_ledger(
    client: Client, stores: Stores
) -> None:
    await founded(client)
    await spend(client, "k")
    await made(client)
    await spend(client, "later")
    await stores.drained()
    await stores.valkey.delete(*await stores.keys("window/b/"))
    assert await spent(client) == 2 * SPENT


async def test_update_makes_one_too_and_a_change_does_not_begin_anew(client: Client) -> None:
    await founded(client)
    await spend(client, "k")
    new = budget_pb2.Budget(
        name=f"{ACME}/budgets/b",
        limits=cost(LIMIT),
        mode=types_pb2.MODE_HARD,
        period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
    )
    await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=new, allow_missing=True))
    assert await spent(client) == SPENT
    await spend(client, "later")
    await limit(client, "b", cost(2 * LIMIT))
    assert await spent(client) == 2 * SPENT


async def test_a_charge_on_its_way_to_the_ledger_counts_in_the_budget_that_is_made_again(
    client: Client, valkey_url: str, key_prefix: str
) -> None:
    await founded(client)
    await made(client)
    name = await held(client, "k")
    await spend(client, "other")
    await client.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/b"))
    await made(client)
    async with opened(valkey_url, prefix=f"{key_prefix}/") as dead:
        # A replica that dies behind its script: the ledger does not know of the charge yet.
        settled = await dead.holds.commit(
            commands.Commit(
                organization="acme",
                reservation=name.rpartition("/")[2],
                usage=Usage(input_tokens=1_000, output_tokens=200),
                content_hash="c",
            )
        )
    assert isinstance(settled, commands.Settled)
    assert await spent(client) == 2 * SPENT


async def test_another_scope_counts_what_its_own_requests_have_spent(client: Client) -> None:
    await founded(client)
    await made(client, budget_pb2.Scope(team="sales"))
    await spend(client, "bobs", subject=subject(user="bob"))
    await spend(client, "adas")
    await spend(client, "adas-too")
    await adjusted(client, "b", cost(7_000), "more")
    assert await spent(client) == SPENT

    everybody = budget_pb2.Budget(name=f"{ACME}/budgets/b", scope=budget_pb2.Scope())
    mask = FieldMask(paths=["scope"])
    await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=everybody, update_mask=mask))
    [status] = await client.status("b")
    assert (status.spent, status.limit) == (3 * SPENT, LIMIT + 7_000)

    each = budget_pb2.Budget(name=f"{ACME}/budgets/b", scope=budget_pb2.Scope(each=EACH_USER))
    await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=each, update_mask=mask))
    assert [await spent(client, value) for value in ("ada", "bob", "")] == [2 * SPENT, SPENT, 0]
    await spend(client, "adas-last")
    assert await spent(client, "ada") == 3 * SPENT


async def test_a_budget_that_is_switched_on_counts_the_window_so_far(client: Client) -> None:
    await founded(client)
    await made(client, disabled=True)
    await spend(client, "k")
    on = budget_pb2.Budget(name=f"{ACME}/budgets/b", disabled=False)
    mask = FieldMask(paths=["disabled"])
    await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=on, update_mask=mask))
    assert await spent(client) == SPENT


async def test_a_call_that_is_settled_after_valkeys_loss_comes_on_top_of_what_the_ledger_has(
    client: Client, stores: Stores
) -> None:
    await founded(client)
    await spend(client, "before")
    await made(client)
    await spend(client, "since")
    name = await held(client, "k")
    await stores.drained()
    await stores.valkey.delete(*await stores.keys())
    await committed(client, name)
    assert await spent(client) == 3 * SPENT
