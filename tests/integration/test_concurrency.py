"""Two hundred callers at once on one hard budget, through real servers.

Never more is granted than there is, and afterwards everything adds up.
"""

from __future__ import annotations

import pytest

from quota.v1 import types_pb2
from tests.support.calls import Amount, api_key, entries, model, subject, user
from tests.support.crowd import CALLERS, Asked, all_ask, all_end, crowd, total
from tests.support.service import Client
from tests.support.stores import Stores

LIMITS = {"cost_micros": 10_000, "tokens": 10_000, "requests": 100}
"""Of each meter, about half of what two hundred callers ask for."""

METERS = tuple(LIMITS)
LEVELS = {
    "organization": {},
    "team": {"team": "engineering"},
    "user": {"user": "ada"},
    "key": {"api_key": "key-ada"},
}
ADA = [subject(api_key="key-ada")]


async def found(client: Client, scope: dict[str, str], **limits: int) -> None:
    await client.found_acme()
    await model(client, "plain")
    await client.budget("one", limits=types_pb2.Amounts(**limits), scope=scope)


def assert_within(asked: list[Asked], meter: int, limit: int) -> list[Asked]:
    """Nobody was granted what was not there, nobody denied what was. Returns who was granted."""
    granted = [each for each in asked if each.allowed]
    room = limit - total([each.demand for each in granted])[meter]
    assert room >= 0
    for each in granted:
        [status] = each.answer.budgets
        assert status.spent + status.held <= status.ceiling == limit
    # Nothing has ended in between, so the room has only become less: what was denied does not fit now either.
    assert all(each.demand[meter] > room for each in asked if not each.allowed)
    return granted


async def assert_adds_up(
    client: Client, stores: Stores, meter: int, charged: Amount, left: Amount, holds: int
) -> None:
    """Valkey, the ledger's entries and the ledger's balances say what the callers were told."""
    [status] = await client.status("one")
    assert (status.spent, status.held) == (charged[meter], left[meter])
    await stores.drained()
    found_ = await entries(client, holds + -(-holds // 3) + -(-(holds - 1) // 3))
    assert total([Amount(*_amounts(each.charged)) for each in found_])[meter] == charged[meter]
    assert (await stores.balance("one"))[0] == charged.cost
    assert await stores.open_holds() == holds // 3


def _amounts(message: types_pb2.Amounts) -> tuple[int, int, int]:
    return message.cost_micros, message.tokens, message.requests


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("meter", METERS)
async def test_a_crowd_is_never_granted_more_than_a_budget_has(
    client: Client, stores: Stores, meter: str, level: str
) -> None:
    await found(client, LEVELS[level], **{meter: LIMITS[meter]})
    async with crowd(client) as callers:
        asked = await all_ask(callers, ADA, seed=1)
        granted = assert_within(asked, METERS.index(meter), LIMITS[meter])
        charged, left = await all_end(granted)
    await assert_adds_up(client, stores, METERS.index(meter), charged, left, len(granted))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("meter", METERS)
async def test_a_crowd_on_two_servers_is_never_granted_more_than_a_budget_has(
    client: Client, other: Client, stores: Stores, meter: str, level: str
) -> None:
    await found(client, LEVELS[level], **{meter: LIMITS[meter]})
    async with crowd(client, other) as callers:
        asked = await all_ask(callers, ADA, seed=2)
        granted = assert_within(asked, METERS.index(meter), LIMITS[meter])
        charged, left = await all_end(granted)
    await assert_adds_up(client, stores, METERS.index(meter), charged, left, len(granted))
    assert await client.status("one") == await other.status("one")


async def test_of_nested_budgets_none_is_ever_passed_and_all_hold_the_same(
    client: Client, other: Client
) -> None:
    """Several teams' and users' budgets under one: what one of them denies is held nowhere."""
    await client.found_acme()
    await model(client, "plain")
    people = [f"user{number}" for number in range(8)]
    for person in people:
        await user(client, person, "engineering")
        await api_key(client, f"key-{person}", user=person)
    await client.budget("one", limits=types_pb2.Amounts(cost_micros=12_000, requests=110))
    each = {"dimension": "DIMENSION_USER"}
    await client.budget("each", limits=types_pb2.Amounts(tokens=1_800), scope={"each": each})
    async with crowd(client, other) as callers:
        asked = await all_ask(callers, [subject(api_key=f"key-{person}") for person in people], seed=3)
    granted = [each for each in asked if each.allowed]
    for answer in granted:
        assert all(status.spent + status.held <= status.limit for status in answer.answer.budgets)
    held = total([each.demand for each in granted])
    assert [status.held for status in await client.status("one")] == [held.cost, held.requests]
    by_user = [(await client.status("each", person))[0].held for person in people]
    assert sum(by_user) == held.tokens
    assert max(by_user) <= 1_800
    assert 0 < len(granted) < CALLERS
