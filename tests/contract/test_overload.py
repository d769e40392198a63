"""More calls than a server takes on: what is refused was not done, and what is spent can still be settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from quota.v1 import quota_pb2, types_pb2
from quota_service import compose
from quota_service.config import Settings
from quota_service.domain.commands import Inspect, InspectAnswer
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.support.calls import committed, held, requests, stands
from tests.support.refusals import answer
from tests.support.service import Client, authorize_request

CALLS_MAX = 4
FLOOD = 200


@pytest.fixture
async def small(valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[Client]:
    """A client of a server that takes on few calls at a time."""
    settings = Settings(
        dev=True,
        address="127.0.0.1:0",
        valkey_url=valkey_url,
        postgres_url=postgres_url,
        key_prefix=f"{key_prefix}/",
        grace_ms=1_000,
        calls_max=CALLS_MAX,
    )
    async with compose.running(settings) as address, grpc.aio.insecure_channel(address) as channel:
        client = Client(channel, address)
        await client.found_acme()
        await client.budget("engineering", limits=requests(10_000))
        yield client


async def asked(client: Client, key: str) -> Any:
    """The decision, or the error."""
    try:
        return (await client.quota.Authorize(authorize_request(key), timeout=30)).decision
    except grpc.aio.AioRpcError as error:
        return error


async def flooded(client: Client, prefix: str) -> tuple[list[str], list[grpc.aio.AioRpcError]]:
    """Many calls at once: the keys that were refused, and with what. All others were allowed."""
    keys = [f"{prefix}{number}" for number in range(FLOOD)]
    answers = await asyncio.gather(*(asked(client, key) for key in keys))
    refused = {
        key: found
        for key, found in zip(keys, answers, strict=True)
        if isinstance(found, grpc.aio.AioRpcError)
    }
    allowed = [found for found in answers if not isinstance(found, Exception)]
    assert set(allowed) == {types_pb2.DECISION_ALLOW}
    return list(refused), list(refused.values())


async def test_what_a_flood_is_refused_was_not_done_and_may_be_asked_again(small: Client) -> None:
    refused, errors = await flooded(small, "f")
    assert 0 < len(refused) < FLOOD
    assert {answer(error) for error in errors} == {("RESOURCE_EXHAUSTED", "OVERLOADED")}
    assert "nothing was done" in (errors[0].details() or "")
    assert retry_ms(errors[0]) > 0

    allowed = FLOOD - len(refused)
    assert await stands(small, "engineering") == (0, allowed)
    for key in refused[:20]:
        await held(small, key)
    assert await stands(small, "engineering") == (0, allowed + 20)


def retry_ms(error: grpc.aio.AioRpcError) -> int:
    """After how long the server says that it may be tried again."""
    status, retry = rpc_status.from_call(error), RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    return int(retry.retry_delay.ToMilliseconds())


async def test_what_is_spent_is_settled_while_a_flood_is_refused(small: Client) -> None:
    names = [await held(small, f"h{number}") for number in range(40)]
    flood = asyncio.ensure_future(flooded(small, "f"))
    answers = await asyncio.gather(*(committed(small, name) for name in names))
    refused, _ = await flood
    assert refused
    assert all(found.reservation.state == quota_pb2.Reservation.STATE_COMMITTED for found in answers)
    spent, _ = await stands(small, "engineering")
    assert spent == 40


async def test_those_who_look_are_bounded_apart_from_those_who_ask_for_money(
    small: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = asyncio.ensure_future(flooded(small, "f"))
    await asyncio.sleep(0)
    await small.status("engineering")
    assert (await flood)[0]
    inspect = ValkeyHoldStore.inspect

    async def slowly(store: ValkeyHoldStore, command: Inspect) -> InspectAnswer:
        await asyncio.sleep(0.2)  # so that they meet, however quickly they would be answered
        return await inspect(store, command)

    monkeypatch.setattr(ValkeyHoldStore, "inspect", slowly)
    looks = (small.status("engineering") for _ in range(FLOOD))
    found = await asyncio.gather(*looks, return_exceptions=True)
    refused = [error for error in found if isinstance(error, grpc.aio.AioRpcError)]
    assert {answer(error) for error in refused} == {("RESOURCE_EXHAUSTED", "OVERLOADED")}
    assert len(refused) < FLOOD
