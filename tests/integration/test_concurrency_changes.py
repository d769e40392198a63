"""Callers on two servers: while a third client keeps changing the limit, and when they repeat themselves."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    amount,
    cost,
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

LIMITS = (5_000, 12_000, 2_000, 20_000, 0, 8_000)
SECONDS = 4.0


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


async def keep_changing(client: Client, until: float) -> list[Change]:
    changes = []
    while time.monotonic() < until:
        for value in LIMITS:
            began = time.monotonic()
            await limit(client, "one", cost(value))
            changes.append(Change(value, began, time.monotonic()))
            await asyncio.sleep(0.25)
    return changes


async def keep_asking(caller: Client, number: int, until: float) -> list[Seen]:
    """Holds and releases in turn; every fifth hold is kept."""
    seen = []
    for turn in range(1_000):
        if time.monotonic() >= until:
            break
        asked = time.monotonic()
        request = house_request(f"k{number}-{turn}", 100, subject=subject(user="ada"))
        answer = await caller.quota.Authorize(request)
        allowed = answer.decision == types_pb2.DECISION_ALLOW
        seen.append(Seen(asked, time.monotonic(), allowed, answer.budgets[0]))
        if allowed and turn % 5:
            await released(caller, answer.reservation.name)
        await asyncio.sleep(0.3)
    return seen


def assert_in_force(seen: list[Seen], changes: list[Change]) -> int:
    """Every answer was given under a limit that was in force while it was asked for. Returns how many could
    have been given under one only.
    """
    certain = 0
    for each in seen:
        last = max((c for c in changes if c.answered <= each.asked), default=None, key=lambda c: c.answered)
        begun = [c.limit for c in changes if c.began < each.answered and c.answered > each.asked]
        possible = {last.limit if last else LIMITS[-1], *begun}
        assert each.status.limit in possible
        certain += len(possible) == 1
    return certain


async def test_no_grant_is_ever_made_above_the_limit_in_force(client: Client, other: Client) -> None:
    await client.found_acme()
    await model(client, "plain")
    await client.budget("one", limits=cost(LIMITS[-1]))
    async with crowd(client, other) as callers:
        until = time.monotonic() + SECONDS
        changing = asyncio.create_task(keep_changing(client, until))
        asking = (keep_asking(caller, number, until) for number, caller in enumerate(callers))
        seen = [each for some in await asyncio.gather(*asking) for each in some]
        changes = await changing
    granted = [each.status for each in seen if each.allowed]
    assert len(granted) > 100
    assert len({status.limit for status in granted}) > 2
    for status in granted:
        assert status.spent + status.held <= status.ceiling == status.limit
    assert max(status.held for status in granted) <= max(LIMITS)
    assert assert_in_force(seen, changes) > 100
    spent, held = await stands(client, "one")
    assert spent == 0
    assert held == 100 * await live(client)


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
                caller.quota.Authorize(house_request(f"k{number // 10}", 100, subject=subject(user="ada")))
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
