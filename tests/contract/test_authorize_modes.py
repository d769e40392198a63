"""HARD blocks, SOFT warns, MONITOR counts what would have been blocked."""

from __future__ import annotations

import pytest

from quota.v1 import types_pb2
from tests.support.calls import (
    COST,
    TOKENS,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    expired,
    held,
    model,
    reasons,
    released,
    stands,
    warnings,
)
from tests.support.service import ACME, Client

SOFT, MONITOR = types_pb2.MODE_SOFT, types_pb2.MODE_MONITOR


@pytest.mark.parametrize(("mode", "reason"), [(SOFT, "SOFT_LIMIT"), (MONITOR, "WOULD_DENY")])
async def test_what_does_not_block_lets_pass_and_warns(client: Client, mode: int, reason: str) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(COST), mode=mode, display_name="Gentle")
    assert warnings(await authorized(client, "a")) == []
    answer = await authorized(client, "b")
    assert warnings(answer) == [reason]
    assert answer.warnings[0].source == f"{ACME}/budgets/gentle"
    assert "Gentle" in answer.warnings[0].message
    [status] = answer.budgets
    assert (status.mode, status.held, status.remaining) == (mode, 2 * COST, -COST)
    assert not status.HasField("ceiling")


@pytest.mark.parametrize("mode", [SOFT, MONITOR])
async def test_what_hard_would_have_blocked_is_counted_per_meter(client: Client, mode: int) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=COST, tokens=10 * TOKENS, requests=2)
    await client.budget("gentle", limits=limits, mode=mode)
    for key in "abcd":
        await held(client, key)
    blocked = [
        (each.would_have_blocked_requests, each.would_have_blocked) for each in await client.status("gentle")
    ]
    assert blocked == [(3, 3 * COST), (0, 0), (2, 2)]


async def test_what_was_blocked_stays_counted_when_its_hold_is_gone(client: Client) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(0), mode=MONITOR)
    await released(client, await held(client, "a"))
    await expired(client, "b")
    [status] = await client.status("gentle")
    assert (status.held, status.would_have_blocked_requests, status.would_have_blocked) == (0, 2, 2 * COST)


async def test_a_request_that_another_budget_denies_is_not_counted_as_blocked(client: Client) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(0), mode=MONITOR)
    await client.budget("strict", limits=cost(0))
    answer = await denied(client)
    assert reasons(answer) == ["BUDGET_EXHAUSTED"]
    [status] = await client.status("gentle")
    assert status.would_have_blocked_requests == 0


async def test_a_repeat_is_not_counted_as_blocked_again(client: Client) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(0), mode=MONITOR)
    await held(client)
    await held(client)
    [status] = await client.status("gentle")
    assert (status.would_have_blocked_requests, status.would_have_blocked) == (1, COST)


async def test_a_soft_budget_that_is_overspent_goes_on_warning(client: Client) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(4_000), mode=SOFT)
    await committed(client, await held(client, "a"))
    assert await stands(client, "gentle") == (4_500, 0)
    answer = await authorized(client, "b", estimate=estimate(0, 0))
    assert warnings(answer) == ["SOFT_LIMIT", *["LADDER_STEP"] * 3]


async def test_a_ladder_blocks_at_its_percentage(client: Client) -> None:
    await client.found_acme()
    ladder = [{"at_percent": 80, "notify": {}}, {"at_percent": 150, "block": {}}]
    await client.budget("stretched", limits=cost(2 * COST), ladder=ladder)
    for key in "abc":
        await held(client, key)
    [violation] = (await denied(client, "d")).violations
    assert (violation.limit, violation.ceiling, violation.held) == (2 * COST, 3 * COST, 3 * COST)


async def test_a_restriction_stops_dear_models_before_cheap_ones(client: Client) -> None:
    await client.found_acme()
    await model(client, "cheap", tier=1)
    await model(client, "dear", tier=3)
    await model(client, "plain")
    ladder = [{"at_percent": 50, "restrict": {"max_tier": 1}}, {"at_percent": 100, "block": {}}]
    await client.budget("laddered", limits=cost(100), ladder=ladder)
    asked = {"provider": "house", "estimate": estimate(30, 0)}
    await held(client, "a", model="dear", **asked)
    for name in ("dear", "plain"):
        [violation] = (await denied(client, name, model=name, **asked)).violations
        assert violation.ceiling == 50
    [status] = (await authorized(client, "b", model="cheap", **asked)).budgets
    assert status.ceiling == 100
