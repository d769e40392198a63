"""Money moves back and forth between two budgets that are being spent, on two servers."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

import grpc

from quota.v1 import money_pb2, types_pb2
from tests.support.calls import committed, cost, model, released, subject, user
from tests.support.crowd import house_request
from tests.support.money import reallocate_request
from tests.support.refusals import answer
from tests.support.service import Client, connections
from tests.support.stores import Stores

SPENDERS, MOVERS = 50, 6
TURNS, MOVES = 12, 25
LIMIT = 1_500
TOKENS = 100
BUDGETS = {"sales": "ada", "support": "bob"}
"""Each counts one user, so that it is spent apart from the other."""


class Move(NamedTuple):
    """A reallocation of so much, and its answer."""

    giver: str
    amount: int
    answer: money_pb2.ReallocateBudgetResponse


async def keep_spending(caller: Client, number: int) -> list[types_pb2.BudgetStatus]:
    """Where the budget stood at every grant. A few holds are committed, the others come back."""
    who = subject(user=list(BUDGETS.values())[number % 2])
    seen = []
    for turn in range(TURNS):
        request = house_request(f"k{number}-{turn}", TOKENS, subject=who)
        granted = await caller.quota.Authorize(request)
        if granted.decision == types_pb2.DECISION_ALLOW:
            seen.append(granted.budgets[0])
            await asyncio.sleep(random.random() / 50)
            if turn == number % TURNS and number < 10:
                await committed(caller, granted.reservation.name, TOKENS - 50, 0)
            else:
                await released(caller, granted.reservation.name)
        await asyncio.sleep(random.random() / 50)
    return seen


async def keep_moving(caller: Client, number: int) -> list[Move]:
    """Random amounts in random directions, as often as they are there."""
    moves, refused = [], set()
    for turn in range(MOVES):
        giver, taker = random.sample(sorted(BUDGETS), 2)
        wanted = random.randint(1, LIMIT)
        request = reallocate_request(giver, taker, cost(wanted), f"m{number}-{turn}")
        try:
            moves.append(Move(giver, wanted, await caller.budgets.ReallocateBudget(request)))
        except grpc.aio.AioRpcError as error:
            refused.add(answer(error))
        await asyncio.sleep(random.random() / 50)
    assert refused == {("FAILED_PRECONDITION", "HEADROOM_MISSING")}
    return moves


async def test_no_grant_exceeds_a_limit_and_no_money_is_made_or_lost(
    client: Client, other: Client, stores: Stores
) -> None:
    await client.found_acme()
    await user(client, "bob", "engineering")
    await model(client, "plain")
    for budget, who in BUDGETS.items():
        await client.budget(budget, limits=cost(LIMIT), scope={"user": who})

    async with connections(client, 10) as here, connections(other, 10) as there:
        lines = [*here, *there]
        spending = [keep_spending(lines[number % 20], number) for number in range(SPENDERS)]
        moving = [keep_moving(lines[-1 - number * 7 % 20], number) for number in range(MOVERS)]
        seen, moves = await asyncio.gather(asyncio.gather(*spending), asyncio.gather(*moving))

    grants = [status for some in seen for status in some]
    assert len(grants) > 50
    for status in grants:
        assert status.spent + status.held <= status.limit == status.ceiling
    done = [move for some in moves for move in some]
    assert len(done) > 20
    for move in done:
        [source], [destination] = move.answer.source_statuses, move.answer.destination_statuses
        assert source.limit + destination.limit == 2 * LIMIT
        assert source.spent + source.held <= source.limit

    await stores.drained()
    for budget in BUDGETS:
        given = sum(move.amount if move.giver != budget else -move.amount for move in done)
        [status] = await client.status(budget)
        assert status.limit == LIMIT + given
        assert status.held == 0
        assert (await stores.balance(budget))[0] == status.spent
        assert await stores.changes(budget) == (0, given)
