"""A budget watched: WatchBudgetStatus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from quota.v1 import budget_pb2
from tests.support.calls import COST, cost, held, limit, released
from tests.support.refusals import answer
from tests.support.service import ACME, Client, running_service


class Watcher:
    """One stream, message by message."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def next(self) -> tuple[int, ...]:
        """Limit and held of each meter, as the next message says."""
        async with asyncio.timeout(10):
            message = await self.stream.read()
        assert message is not grpc.aio.EOF
        return tuple(number for status in message.statuses for number in (status.limit, status.held))

    async def end(self) -> tuple[str, str | None]:
        """Status and reason that the stream ends with, after any messages before."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self._read_all()
        return answer(raised.value)

    async def _read_all(self) -> None:
        async with asyncio.timeout(10):
            while await self.stream.read() is not grpc.aio.EOF:
                pass


@asynccontextmanager
async def watching(client: Client, budget: str = "b", each_value: str = "") -> AsyncIterator[Watcher]:
    request = budget_pb2.WatchBudgetStatusRequest(name=f"{ACME}/budgets/{budget}", each_value=each_value)
    stream = client.budgets.WatchBudgetStatus(request)
    yield Watcher(stream)
    stream.cancel()


async def delete(client: Client) -> None:
    await client.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/b"))


async def test_a_stream_tells_where_a_budget_stands_now_and_after_every_change(
    client: Client, other: Client
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000))
    async with watching(client) as first, watching(client) as second, watching(other) as elsewhere:
        watchers = (first, second, elsewhere)
        assert [await each.next() for each in watchers] == [(100_000, 0)] * 3
        name = await held(other)
        assert [await each.next() for each in watchers] == [(100_000, COST)] * 3
        await limit(client, "b", cost(50_000))
        assert [await each.next() for each in watchers] == [(50_000, COST)] * 3
        await released(client, name)
        assert [await each.next() for each in watchers] == [(50_000, 0)] * 3


async def test_each_value_is_watched_by_itself(client: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000), scope={"each": {"dimension": "DIMENSION_USER"}})
    async with watching(client, each_value="ada") as ada, watching(client, each_value="bob") as bob:
        assert [await ada.next(), await bob.next()] == [(100_000, 0)] * 2
        await held(client)
        assert await ada.next() == (100_000, COST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await bob.stream.read()


async def test_a_stream_ends_when_the_budget_is_deleted_and_begins_anew_when_it_is_back(
    client: Client,
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000))
    async with watching(client) as watcher:
        await watcher.next()
        await delete(client)
        assert await watcher.end() == ("NOT_FOUND", "BUDGET_NOT_FOUND")
    await client.budget("b", limits=cost(7))
    async with watching(client) as watcher:
        assert await watcher.next() == (7, 0)


async def test_what_cannot_be_watched_is_an_error(client: Client) -> None:
    async with watching(client) as watcher:
        assert await watcher.end() == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    await client.found_acme()
    await client.budget("b", limits=cost(100_000))
    for budget, value, expected in (
        ("c", "", ("NOT_FOUND", "BUDGET_NOT_FOUND")),
        ("b", "ada", ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ("%", "", ("INVALID_ARGUMENT", "NAME_MALFORMED")),
    ):
        async with watching(client, budget, value) as watcher:
            assert await watcher.end() == expected


async def test_a_server_that_stops_ends_its_streams(
    client: Client, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(100_000))
    async with running_service(valkey_url, postgres_url, key_prefix) as leaving:
        request = budget_pb2.WatchBudgetStatusRequest(name=f"{ACME}/budgets/b")
        channel = grpc.aio.insecure_channel(leaving.address)
        watcher = Watcher(Client(channel, leaving.address).budgets.WatchBudgetStatus(request))
        await watcher.next()
    assert await watcher.end() == ("UNAVAILABLE", "SERVER_STOPPING")
    await channel.close()
