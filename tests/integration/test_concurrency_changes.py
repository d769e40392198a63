"""Callers on two servers: while a third client keeps changing the limit, and when they repeat themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    amount,
    committed,
    entries,
    limit,
    model,
    released,
    requests,
    stands,
    subject,
    types,
)
from tests.support.crowd import CALLERS, crowd, house_request
from tests.support.service import Client
from tests.support.stores import Stores

LIMITS = (50, 120, 20, 200, 0, 80)
"""In requests; of the other meters a request takes as many units as it has tokens."""

ROUNDS = 2
TOKENS = 100
UNITS = {"cost_micros": TOKENS, "tokens": TOKENS, "requests": 1}
"""What one request takes of each meter."""
ADA = subject(api_key="key-ada")


class Change(NamedTuple):
    """A limit, and when its change began and had been answered."""

    limit: int
    began: float
    answered: float


class Seen(NamedTuple):
    """What an answer said of the budget, and when it was asked and answered."""

    asked: float
    answered: float
    allowed: bool
    status: types_pb2.BudgetStatus


async def keep_changing(
    changer: Client, servers: Sequence[Client], meter: str, seen: Sequence[Seen]
) -> list[Change]:
    """Once a change is answered, every server decides under it. Each stays until every caller could ask."""
    changes = []
    for value in (UNITS[meter] * number for number in LIMITS * ROUNDS):
        began = time.monotonic()
        await limit(changer, "one", types_pb2.Amounts(**{meter: value}))
        changes.append(Change(value, began, time.monotonic()))
        for server in servers:
            explained = await server.quota.Authorize(
                house_request("probe", TOKENS, subject=ADA, validate_only=True)
            )
            assert explained.budgets[0].limit == value
        async with asyncio.timeout(30):
            while sum(each.asked > changes[-1].answered for each in seen) < CALLERS:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.01)
    return changes


async def keep_asking(caller: Client, number: int, seen: list[Seen], stop: asyncio.Event) -> None:
    """Holds in turn; of five holds one is kept, one committed in full, and the others are released."""
    for turn in range(1_000):
        if stop.is_set():
            break
        asked = time.monotonic()
        answer = await caller.quota.Authorize(house_request(f"k{number}-{turn}", TOKENS, subject=ADA))
        allowed = answer.decision == types_pb2.DECISION_ALLOW
        seen.append(Seen(asked, time.monotonic(), allowed, answer.budgets[0]))
        if allowed and turn % 5 == 1:
            await committed(caller, answer.reservation.name, TOKENS, 0)
        elif allowed and turn % 5:
            await released(caller, answer.reservation.name)
        await asyncio.sleep(0.1)


def assert_in_force(seen: list[Seen], changes: list[Change], first: int) -> None:
    """Every answer was given under a limit that was in force at some time while it was asked for."""
    for each in seen:
        before = [change.limit for change in changes if change.answered <= each.asked]
        meanwhile = [c.limit for c in changes if c.began < each.answered and c.answered > each.asked]
        assert each.status.limit in {before[-1] if before else first, *meanwhile}


@pytest.mark.parametrize(
    ("meter", "scope"),
    [
        ("cost_micros", {}),
        ("tokens", {"team": "engineering"}),
        ("requests", {"user": "ada"}),
        ("cost_micros", {"api_key": "key-ada"}),
    ],
)
async def test_no_grant_is_ever_made_above_the_limit_in_force(
    client: Client, other: Client, stores: Stores, meter: str, scope: dict[str, str]
) -> None:
    await client.found_acme()
    await model(client, "plain")
    unit = UNITS[meter]
    await client.budget("one", limits=types_pb2.Amounts(**{meter: unit * LIMITS[-1]}), scope=scope)
    seen: list[Seen] = []
    stop = asyncio.Event()
    async with crowd(client, other) as callers:
        asking = asyncio.gather(
            *(keep_asking(each, number, seen, stop) for number, each in enumerate(callers))
        )
        changes = await keep_changing(client, (client, other), meter, seen)
        stop.set()
        await asking
    granted = [each.status for each in seen if each.allowed]
    assert len(granted) > 20
    assert len({status.limit for status in granted}) > 1
    for status in granted:
        assert status.spent + status.held <= status.ceiling == status.limit
    assert_in_force(seen, changes, unit * LIMITS[-1])
    await stores.drained()
    charged, _ = await stores.balance("one")
    assert await stands(client, "one") == (charged // TOKENS * unit, unit * await live(client))


async def live(client: Client) -> int:
    """How many holds are listed."""
    request = quota_pb2.ListReservationsRequest(parent="organizations/acme", page_size=1_000)
    page = await client.quota.ListReservations(request)
    assert not page.next_page_token
    return len(page.reservations)


async def test_of_concurrent_duplicates_of_one_key_there_is_exactly_one_hold(
    client: Client, other: Client, stores: Stores
) -> None:
    await client.found_acme()
    await model(client, "plain")
    await client.budget("one", limits=requests(CALLERS // 10))
    async with crowd(client, other) as callers:
        answers = await asyncio.gather(
            *(
                caller.quota.Authorize(house_request(f"k{number // 10}", 100, subject=ADA))
                for number, caller in enumerate(callers)
            )
        )
    assert {each.decision for each in answers} == {types_pb2.DECISION_ALLOW}
    assert {amount(each.reservation.held).cost for each in answers} == {100}
    for first in range(0, CALLERS, 10):
        same = answers[first : first + 10]
        assert len({each.reservation.name for each in same}) == 1
        assert sum(not each.replayed for each in same) == 1
    assert await stands(client, "one") == (0, CALLERS // 10)
    await stores.drained()
    assert types(await entries(client, CALLERS // 10)) == ["HOLD"] * (CALLERS // 10)
