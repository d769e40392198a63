"""Which requests a budget is about, and whose counter they fall under."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from quota.v1 import types_pb2
from tests.support.calls import (
    COST,
    amount,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    held,
    model,
    project,
    reasons,
    released,
    requests,
    stands,
    subject,
    team,
    user,
)
from tests.support.service import Client

HOUSE = {"provider": "house", "estimate": estimate(10, 0)}


async def found(client: Client) -> None:
    """Acme where everything is allowed that no budget forbids."""
    await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
    await team(client, "support", cost_center="CC-2")
    await user(client, "bob", "support")
    await project(client, "apollo")
    await model(client, "plain")
    await model(client, "dear", tier=3)


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        ({"team": "engineering"}, {"subject": subject(user="ada")}, {"subject": subject(user="bob")}),
        ({"user": "ada"}, {"subject": subject(api_key="key-ada")}, {"subject": subject(team="engineering")}),
        ({"api_key": "key-ada"}, {"subject": subject(api_key="key-ada")}, {"subject": subject(user="ada")}),
        (
            {"project": "apollo"},
            {"subject": subject(user="ada", project="apollo")},
            {"subject": subject(user="ada")},
        ),
        ({"cost_center": "CC-1"}, {"subject": subject(user="ada")}, {"subject": subject(user="bob")}),
        ({"provider": "openai"}, {}, {**HOUSE, "model": "plain"}),
        ({"provider": "house", "model": "dear"}, {**HOUSE, "model": "dear"}, {**HOUSE, "model": "plain"}),
        ({"tier": 3}, {**HOUSE, "model": "dear"}, {**HOUSE, "model": "plain"}),
        (
            {"tags": {"feature": "chat", "run": "7"}},
            {"subject": subject(user="ada", tags={"feature": "chat", "run": "7", "more": "x"})},
            {"subject": subject(user="ada", tags={"feature": "chat", "run": "8"})},
        ),
        (
            {"team": "engineering", "provider": "openai"},
            {"subject": subject(user="ada")},
            {"subject": subject(user="ada"), **HOUSE, "model": "plain"},
        ),
        ({}, {"subject": subject()}, None),
    ],
    ids=str,
)
async def test_a_budget_counts_what_meets_every_equality_of_its_scope(
    client: Client, scope: dict[str, Any], inside: dict[str, Any], outside: dict[str, Any] | None
) -> None:
    await found(client)
    await client.budget("scoped", limits=requests(1), scope=scope)
    await held(client, "inside", **inside)
    assert reasons(await denied(client, "again", **inside)) == ["BUDGET_HELD"]
    if outside is not None:
        assert list((await authorized(client, "outside", **outside)).budgets) == []
    assert await stands(client, "scoped") == (0, 1)


EACH = [
    ("TEAM", {"subject": subject(user="ada")}, {"subject": subject(user="bob")}, "engineering"),
    ("USER", {"subject": subject(user="ada")}, {"subject": subject(user="bob")}, "ada"),
    ("API_KEY", {"subject": subject(api_key="key-ada")}, {"subject": subject(user="ada")}, "key-ada"),
    ("PROJECT", {"subject": subject(project="apollo")}, {"subject": subject(user="ada")}, "apollo"),
    ("COST_CENTER", {"subject": subject(user="ada")}, {"subject": subject(user="bob")}, "CC-1"),
    ("PROVIDER", {}, {**HOUSE, "model": "plain"}, "openai"),
    ("MODEL", {**HOUSE, "model": "plain"}, {**HOUSE, "model": "dear"}, "plain"),
    ("TIER", {**HOUSE, "model": "dear"}, {**HOUSE, "model": "plain"}, "3"),
    ("TAG", {"subject": subject(tags={"run": "ü {7}/"})}, {"subject": subject(tags={"run": "8"})}, "ü {7}/"),
]


@pytest.mark.parametrize(("dimension", "one", "other", "value"), EACH, ids=[each[0] for each in EACH])
async def test_each_value_of_a_dimension_has_a_counter_of_its_own(
    client: Client, dimension: str, one: dict[str, Any], other: dict[str, Any], value: str
) -> None:
    await found(client)
    tag = {"tag": "run", "max_values": 10} if dimension == "TAG" else {}
    each = {"dimension": f"DIMENSION_{dimension}", **tag}
    await client.budget("each", limits=requests(1), scope={"each": each})
    [status] = (await authorized(client, "one", **one)).budgets
    assert (status.each_value, status.held) == (value, 1)
    await authorized(client, "other", **other)
    [violation] = (await denied(client, "again", **one)).violations
    assert (violation.each_value, violation.held) == (value, 1)
    assert await stands(client, "each", value) == (0, 1)


@pytest.mark.parametrize("dimension", ["TEAM", "USER", "API_KEY", "PROJECT", "COST_CENTER", "TIER", "TAG"])
async def test_requests_without_the_dimension_count_together_under_the_same_limit(
    client: Client, dimension: str
) -> None:
    await found(client)
    tag = {"tag": "run", "max_values": 10} if dimension == "TAG" else {}
    each = {"dimension": f"DIMENSION_{dimension}", **tag}
    await client.budget("each", limits=requests(1), scope={"each": each})
    await held(client, "a", subject=subject())
    [violation] = (await denied(client, "b", subject=subject())).violations
    assert violation.each_value == ""
    assert await stands(client, "each") == (0, 1)


async def test_a_value_may_have_a_limit_of_its_own(client: Client) -> None:
    await found(client)
    await client.budget(
        "each",
        limits=types_pb2.Amounts(cost_micros=COST, requests=100),
        scope={"each": {"dimension": "DIMENSION_USER"}},
        overrides=[{"each_value": "ada", "limits": {"cost_micros": 2 * COST}}],
    )
    await held(client, "a")
    await held(client, "b")
    [violation] = (await denied(client, "c")).violations
    assert violation.limit == 2 * COST
    assert [each.limit for each in await client.status("each", "ada")] == [2 * COST, 100]
    bob = {"subject": subject(user="bob")}
    await held(client, "d", **bob)
    assert (await denied(client, "e", **bob)).violations[0].limit == COST


async def test_a_limit_of_its_own_may_be_for_a_while_only(client: Client) -> None:
    await found(client)
    until_s = int(time.time()) + 2
    await client.budget(
        "each",
        limits=requests(1),
        scope={"each": {"dimension": "DIMENSION_USER"}},
        overrides=[{"each_value": "ada", "limits": {"requests": 2}, "until": {"seconds": until_s}}],
    )
    await held(client, "a")
    await held(client, "b")
    await asyncio.sleep(until_s - time.time() + 0.05)
    [violation] = (await denied(client, "c")).violations
    assert (violation.limit, violation.held) == (1, 2)
    [status] = await client.status("each", "ada")
    assert (status.limit, status.remaining) == (1, -1)


async def test_further_values_of_a_tag_are_denied_beyond_the_declared_number(client: Client) -> None:
    await found(client)
    each = {"dimension": "DIMENSION_TAG", "tag": "run", "max_values": 2}
    await client.budget("runs", limits=cost(20_000), scope={"each": each})
    first = await held(client, "a", subject=subject(tags={"run": "1"}))
    await held(client, "b", subject=subject(tags={"run": "2"}))
    answer = await denied(client, "c", subject=subject(tags={"run": "3"}))
    assert reasons(answer) == ["TOO_MANY_VALUES"]
    assert answer.violations[0].each_value == "3"
    assert not answer.HasField("retry_after")
    assert reasons(await denied(client, "d", subject=subject())) == ["TOO_MANY_VALUES"]
    await authorized(client, "e", subject=subject(tags={"run": "2"}))
    await released(client, first)
    await authorized(client, "c", subject=subject(tags={"run": "3"}))


@pytest.mark.parametrize("mode", [types_pb2.MODE_MONITOR, types_pb2.MODE_SOFT])
async def test_a_budget_that_does_not_block_counts_every_value(
    client: Client, mode: types_pb2.Mode.ValueType
) -> None:
    await found(client)
    each = {"dimension": "DIMENSION_TAG", "tag": "run", "max_values": 1}
    await client.budget("runs", limits=cost(20_000), scope={"each": each}, mode=mode)
    await authorized(client, "a", subject=subject(tags={"run": "1"}))
    await authorized(client, "b", subject=subject(tags={"run": "2"}))


async def test_a_value_that_has_been_charged_keeps_its_counter(client: Client) -> None:
    await found(client)
    each = {"dimension": "DIMENSION_TAG", "tag": "run", "max_values": 1}
    await client.budget("runs", limits=cost(20_000), scope={"each": each})
    await committed(client, await held(client, "a", subject=subject(tags={"run": "1"})))
    assert reasons(await denied(client, "b", subject=subject(tags={"run": "2"}))) == ["TOO_MANY_VALUES"]


async def test_a_hold_counts_once_in_every_matching_budget(client: Client) -> None:
    await found(client)
    for number, scope in enumerate(
        ({}, {"team": "engineering"}, {"each": {"dimension": "DIMENSION_USER"}}, {"model": "gpt-4o"})
    ):
        await client.budget(f"b{number}", limits=cost(20_000), scope=scope)
    answer = await authorized(client, subject=subject(api_key="key-ada"))
    assert amount(answer.reservation.held).cost == COST
    assert [each.held for each in answer.budgets] == [COST] * 4
