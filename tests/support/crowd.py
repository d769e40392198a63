"""Many callers at once on one budget: what they were granted, and how it must all add up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import Any, NamedTuple

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import Amount, amount, committed, released
from tests.support.service import Client, authorize_request, connections

CALLERS = 200
CONNECTIONS = 20


class Asked(NamedTuple):
    """One caller's request and its answer."""

    caller: Client
    answer: quota_pb2.AuthorizeResponse
    demand: Amount

    @property
    def allowed(self) -> bool:
        return self.answer.decision == types_pb2.DECISION_ALLOW


@asynccontextmanager
async def crowd(*servers: Client) -> AsyncIterator[list[Client]]:
    """Callers on connections of their own, spread evenly over the servers."""
    async with AsyncExitStack() as stack:
        groups = [
            await stack.enter_async_context(connections(server, CONNECTIONS // len(servers)))
            for server in servers
        ]
        lines = cycle(line for group in zip(*groups, strict=True) for line in group)
        yield [next(lines) for _ in range(CALLERS)]


async def all_ask(callers: Sequence[Client], subjects: Sequence[types_pb2.Subject], seed: int) -> list[Asked]:
    """Everybody asks at once, each for another amount, of a model that costs a micro-USD per token."""
    chance = random.Random(seed)

    async def ask(number: int, caller: Client) -> Asked:
        tokens = chance.randint(50, 150)
        request = house_request(f"k{number}", tokens, subject=subjects[number % len(subjects)])
        answer = await caller.quota.Authorize(request)
        return Asked(caller, answer, Amount(tokens, tokens, 1))

    return await asyncio.gather(*(ask(number, caller) for number, caller in enumerate(callers)))


def house_request(key: str, tokens: int, **fields: Any) -> quota_pb2.AuthorizeRequest:
    """A request for so many tokens of acme's model `house/plain`, half of them output."""
    estimate = quota_pb2.Estimate(input_tokens=tokens - tokens // 2, max_output_tokens=tokens // 2)
    return authorize_request(key, provider="house", model="plain", estimate=estimate, **fields)


async def all_end(granted: Sequence[Asked]) -> tuple[Amount, Amount]:
    """Of three holds one is committed, at up to its estimate, one released, one left. What was charged, and
    what is still held.
    """
    charged, left = [], []

    async def end(number: int, asked: Asked) -> None:
        name = asked.answer.reservation.name
        if number % 3 == 0:
            done = await committed(asked.caller, name, asked.demand.tokens - number % 50, 0)
            charged.append(amount(done.charged))
        elif number % 3 == 1:
            await released(asked.caller, name)
        else:
            left.append(asked.demand)

    await asyncio.gather(*(end(number, asked) for number, asked in enumerate(granted)))
    return total(charged), total(left)


def total(amounts: Sequence[Amount]) -> Amount:
    return Amount(*(sum(each[meter] for each in amounts) for meter in range(3)))
