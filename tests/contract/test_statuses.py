"""Where budgets stand: GetBudgetStatus and ListBudgetStatuses."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from quota.v1 import budget_pb2, types_pb2
from tests.support.calls import (
    COST,
    TOKENS,
    committed,
    cost,
    held,
    model,
    requests,
    seconds,
    subject,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores


async def listed(client: Client, **fields: Any) -> list[types_pb2.BudgetStatus]:
    request = budget_pb2.ListBudgetStatusesRequest(parent=ACME, **fields)
    return list((await client.budgets.ListBudgetStatuses(request)).statuses)


async def test_a_fresh_budget_stands_at_nothing_in_every_limited_meter(client: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=types_pb2.Amounts(cost_micros=7, requests=0))
    found = await client.status("b")
    assert [each.meter for each in found] == [types_pb2.METER_COST, types_pb2.METER_REQUESTS]
    assert [(each.limit, each.spent, each.held, each.remaining) for each in found] == [(7, 0, 0, 7), (0,) * 4]
    for each in found:
        assert each.source == f"{ACME}/budgets/b"
        assert each.window_start.seconds <= time.time() < each.reset_time.seconds


async def test_a_status_follows_holds_and_charges(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=100_000, tokens=100_000, requests=10)
    await client.budget("b", limits=limits)
    await committed(client, await held(client, "a"))
    await held(client, "b")
    assert [(each.spent, each.held) for each in await client.status("b")] == [
        (4_500, COST),
        (1_200, TOKENS),
        (1, 1),
    ]


async def test_an_expired_hold_is_not_told_as_held(client: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000))
    await held(client, "a", ttl=seconds(1))
    await asyncio.sleep(1.02)
    assert [each.held for each in await client.status("b")] == [0]
    assert [each.held for each in await listed(client, subject=subject(user="ada"))] == [0]


async def test_statuses_are_read_without_writing(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000), scope={"each": {"dimension": "DIMENSION_USER"}})
    await held(client)
    before = await stores.snapshot()
    await client.status("b", "nobody")
    await client.status("b", "ada")
    await listed(client, subject=subject(user="ada"), provider="openai", model="gpt-4o")
    assert await stores.snapshot() == before


async def test_each_value_has_a_status_of_its_own(client: Client) -> None:
    await client.found_acme()
    overrides = [{"each_value": "ada", "limits": {"cost_micros": 9_000}}]
    each = {"dimension": "DIMENSION_USER"}
    await client.budget("b", limits=cost(8_000), scope={"each": each}, overrides=overrides)
    await held(client)
    for value, limit, amount in (("ada", 9_000, COST), ("bob", 8_000, 0), ("", 8_000, 0)):
        [status] = await client.status("b", value)
        assert (status.each_value, status.limit, status.held) == (value, limit, amount)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["all"]),
        ({"subject": subject(team="engineering")}, ["all", "team"]),
        ({"subject": types_pb2.Subject(api_key="key-ada")}, ["all", "team", "user"]),
        (
            {"subject": subject(user="ada"), "provider": "openai", "model": "gpt-4o"},
            ["all", "gpt", "team", "user"],
        ),
        (
            {"subject": subject(user="ada"), "provider": "house", "model": "dear"},
            ["all", "team", "tier", "user"],
        ),
    ],
    ids=["nobody", "team", "key", "model", "tier"],
)
async def test_what_have_i_left_lists_every_budget_that_the_request_would_fall_under(
    client: Client, fields: dict[str, Any], expected: list[str]
) -> None:
    await client.found_acme()
    await model(client, "dear", tier=3)
    await client.budget("all", limits=cost(1))
    await client.budget("team", limits=cost(2), scope={"team": "engineering"})
    await client.budget(
        "user", limits=cost(3), scope={"each": {"dimension": "DIMENSION_USER"}, "user": "ada"}
    )
    await client.budget("gpt", limits=cost(4), scope={"model": "gpt-4o"})
    await client.budget("tier", limits=cost(5), scope={"tier": 3})
    await client.budget("off", limits=cost(6), disabled=True)
    assert [each.source.rpartition("/")[2] for each in await listed(client, **fields)] == expected


async def test_the_ceiling_is_that_of_the_asked_model(client: Client) -> None:
    await client.found_acme()
    await model(client, "dear", tier=3)
    ladder = [{"at_percent": 50, "restrict": {"max_tier": 1}}, {"at_percent": 100, "block": {}}]
    await client.budget("b", limits=cost(100), ladder=ladder)
    [status] = await listed(client, provider="house", model="dear")
    assert status.ceiling == 50
    await client.budget("soft", limits=cost(100), mode=types_pb2.MODE_SOFT)
    assert [each.HasField("ceiling") for each in await listed(client)] == [True, False]


async def test_a_budget_whose_time_has_not_come_has_no_status_yet(client: Client) -> None:
    await client.found_acme()
    start = {"seconds": int(time.time()) + 1_000}
    await client.budget("later", limits=requests(1), period={"once": {"start_time": start}})
    assert await client.status("later") == []
    assert await listed(client) == []


@pytest.mark.parametrize(
    ("request_", "expected", "field"),
    [
        (
            budget_pb2.GetBudgetStatusRequest(name=f"{ACME}/budgets/nothing"),
            ("NOT_FOUND", "BUDGET_NOT_FOUND"),
            None,
        ),
        (
            budget_pb2.GetBudgetStatusRequest(name="organizations/nowhere/budgets/b"),
            ("NOT_FOUND", "ORGANIZATION_NOT_FOUND"),
            None,
        ),
        (
            budget_pb2.GetBudgetStatusRequest(name=f"{ACME}/budgets/b", each_value="x"),
            ("INVALID_ARGUMENT", "FIELD_INVALID"),
            "each_value",
        ),
        (
            budget_pb2.ListBudgetStatusesRequest(parent=ACME, subject=subject(user="nobody")),
            ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN"),
            "subject",
        ),
        (
            budget_pb2.ListBudgetStatusesRequest(parent="organizations/nowhere"),
            ("NOT_FOUND", "ORGANIZATION_NOT_FOUND"),
            None,
        ),
    ],
    ids=["budget", "organization", "each_value", "subject", "parent"],
)
async def test_what_does_not_exist_has_no_status(
    client: Client,
    request_: budget_pb2.GetBudgetStatusRequest | budget_pb2.ListBudgetStatusesRequest,
    expected: tuple[str, str],
    field: str | None,
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(1))
    if isinstance(request_, budget_pb2.GetBudgetStatusRequest):
        error = await refusal(client.budgets.GetBudgetStatus(request_))
    else:
        error = await refusal(client.budgets.ListBudgetStatuses(request_))
    assert answer(error) == expected
    if field is not None:
        assert list(fields(error)) == [field]


async def test_a_status_is_that_of_the_newest_configuration_on_every_server(
    client: Client, other: Client
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(5))
    await other.status("b")
    await client.budget("c", limits=cost(6))
    assert [each.limit for each in await listed(other)] == [5, 6]
