"""A caller whose reply was lost repeats the call, wherever it gets through, and is told what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from quota.v1 import quota_pb2
from tests.support.calls import cost, record_request, subject
from tests.support.money import adjust_request, reallocate_request
from tests.support.proxy import Mode, Proxy
from tests.support.service import Client, authorize_request, commit_request, running_service
from tests.support.stores import Stores

RECORD = record_request("r1", subject=subject(organization="acme", user="ada"))
LOST_S = 2.0
"""Long enough for a call to have its effect, on a busy machine too."""

WHERE = ["the same server", "another replica", "a server started since", "after Valkey was emptied"]


@asynccontextmanager
async def losing_replies(client: Client) -> AsyncIterator[Client]:
    """A client whose requests arrive and whose replies do not."""
    host, _, port = client.address.rpartition(":")
    proxy = Proxy(host, int(port))
    address = f"127.0.0.1:{await proxy.start()}"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        await channel.channel_ready()
        await proxy.switch(Mode.SWALLOW)
        yield Client(channel, address)
    await proxy.close()


def _essence(answer: Message) -> dict[str, object]:
    """What must be the same. Where budgets stand is told as of now, and a repeat says that it is one."""
    moving = {"replayed", "budgets", "warnings", "statuses", "status", "durability", "entry_status"}
    return {field.name: str(value) for field, value in answer.ListFields() if field.name not in moving}


def _calls(held: list[str]) -> dict[str, tuple[Callable[[Client], Any], Message]]:
    """Every verb: its method and what it is asked."""
    extend = quota_pb2.ExtendRequest(
        name=held[0], ttl=Duration(seconds=600), additional_output_tokens=100, request_id="x1"
    )
    part = commit_request(held[1], 100, 100, keep_open=True)
    return {
        "Authorize": (lambda client: client.quota.Authorize, authorize_request("k1")),
        "Extend": (lambda client: client.quota.Extend, extend),
        "Commit, left open": (lambda client: client.quota.Commit, part),
        "Commit": (lambda client: client.quota.Commit, commit_request(held[2], 1_000, 600)),
        "Release": (lambda client: client.quota.Release, quota_pb2.ReleaseRequest(name=held[3])),
        "Record": (lambda client: client.quota.Record, RECORD),
        "AdjustBudget": (
            lambda client: client.budgets.AdjustBudget,
            adjust_request("team", cost(5_000), request_id="a1"),
        ),
        "ReallocateBudget": (
            lambda client: client.budgets.ReallocateBudget,
            reallocate_request("team", "spare", cost(5_000), request_id="m1"),
        ),
    }


@pytest.mark.parametrize("where", WHERE)
async def test_a_repeated_call_has_one_effect_and_the_first_ones_answer(
    client: Client,
    other: Client,
    stores: Stores,
    valkey_url: str,
    postgres_url: str,
    key_prefix: str,
    where: str,
) -> None:
    await client.found_acme()
    for budget in ("team", "spare"):
        await client.budget(budget, limits=cost(1_000_000))
    held = []
    for number in range(4):
        granted = await client.quota.Authorize(authorize_request(f"early{number}"))
        held.append(granted.reservation.name)
    calls = _calls(held)
    async with losing_replies(client) as unlucky:
        lost = [method(unlucky)(request, timeout=LOST_S).code() for method, request in calls.values()]
        assert set(await asyncio.gather(*lost)) == {grpc.StatusCode.DEADLINE_EXCEEDED}
    await stores.drained()
    if where == "after Valkey was emptied":
        await stores.valkey.delete(*await stores.keys())
    async with running_service(valkey_url, postgres_url, key_prefix) as fresh:
        again = {"the same server": client, "a server started since": fresh}.get(where, other)
        first = await _answers(again, calls)
        for server in (client, other, fresh):
            assert await _answers(server, calls) == first
    await stores.drained()

    spent = 1_250 + 8_500 + await _recorded(client)
    assert await stores.balance("team") == (spent, 1_000)
    assert await stores.changes("team") == (5_000, -5_000)
    [status] = await client.status("team")
    assert (status.spent, status.limit) == (spent, 1_000_000)
    # One as it was and one with 100 tokens more, one of which 1,250 is spent, and k1.
    assert status.held == 8_500 + (7_500 - 1_250) + 7_500


async def _answers(
    client: Client, calls: dict[str, tuple[Callable[[Client], Any], Message]]
) -> dict[str, dict[str, object]]:
    return {name: _essence(await method(client)(request)) for name, (method, request) in calls.items()}


async def _recorded(client: Client) -> int:
    charged: int = (await client.quota.Record(RECORD)).entry.charged.cost_micros
    return charged
