"""The store that decides is lost, replaced or rolled back: its keys become what the ledger says."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import cost
from tests.support.service import Client, authorize_request, commit_request
from tests.support.stores import Stores

ALLOW = types_pb2.DECISION_ALLOW
DENY = types_pb2.DECISION_DENY


async def lose_everything(stores: Stores) -> None:
    """As if the server had come back empty."""
    await stores.drained()
    await stores.valkey.delete(*await stores.keys())


async def standing(client: Client, budget: str = "team") -> tuple[int, int]:
    """Spent and held of a budget, in micro-USD."""
    [status] = await client.status(budget)
    return status.spent, status.held


async def test_an_emptied_store_is_set_from_the_ledger(client: Client, other: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(20_000))
    first = await client.quota.Authorize(authorize_request("k1"))
    await client.quota.Commit(commit_request(first.reservation.name, 1_000, 500))
    held = await client.quota.Authorize(authorize_request("k2"))
    await lose_everything(stores)

    for each in (client, other):
        assert await standing(each) == (7_500, 7_500)
    assert (await other.quota.Authorize(authorize_request("k3"))).decision == DENY
    again = await other.quota.Authorize(authorize_request("k2"))
    assert (again.replayed, again.reservation) == (True, held.reservation)
    done = await other.quota.Commit(commit_request(held.reservation.name, 1_000, 500))
    assert (done.late, done.replayed) == (False, False)
    assert await standing(client) == (15_000, 0)
    assert await stores.balance("team") == (15_000, 0)


async def test_an_older_copy_of_the_keys_is_not_decided_on(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(15_000))
    early = await client.quota.Authorize(authorize_request("k1"))
    await stores.drained()
    copy: dict[bytes, Any] = {key: await stores.valkey.dump(key) for key in await stores.keys()}

    await client.quota.Release(quota_pb2.ReleaseRequest(name=early.reservation.name))
    for key in ("k2", "k3"):
        granted = await client.quota.Authorize(authorize_request(key))
        await client.quota.Commit(commit_request(granted.reservation.name, 1_000, 500))
    await lose_everything(stores)
    for name, dump in copy.items():
        await stores.valkey.restore(name, 0, dump)
    # A server that comes back is another run.
    meta = next(key for key in copy if key.endswith(b"meta")).decode()
    await stores.valkey.hset(meta, "fence", "1 another")

    assert (await client.quota.Authorize(authorize_request("k4"))).decision == DENY
    assert await standing(client) == (15_000, 0)


async def test_keys_that_another_version_wrote_otherwise_are_made_anew(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(20_000))
    held = await client.quota.Authorize(authorize_request("k1"))
    await stores.drained()
    # What it wrote cannot be read; a window that the ledger does not know would never be looked at again.
    [hold], [meta], [window] = [await stores.keys(part) for part in ("hold:", "}/meta", "window/")]
    for key in (hold, window, window + b"another"):
        await stores.valkey.set(key, "in another layout")
    fence: Any = await stores.valkey.hget(meta.decode(), "fence")
    await stores.valkey.hset(meta.decode(), "fence", fence.rpartition(b"/")[0].decode())

    assert await standing(client) == (0, 7_500)
    assert (await client.quota.Authorize(authorize_request("k1"))).reservation == held.reservation
    await client.quota.Commit(commit_request(held.reservation.name, 1_000, 500))
    assert await standing(client) == (7_500, 0)
    assert await stores.keys("window/") == [window]


async def test_a_commit_whose_reply_was_on_its_way_counts_once(
    client: Client, other: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(1_000_000))
    names = []
    for number in range(30):
        granted = await client.quota.Authorize(authorize_request(f"k{number}"))
        names.append(granted.reservation.name)
    await stores.drained()

    async def settle(client: Client, name: str) -> None:
        done = await client.quota.Commit(commit_request(name, 1_000, 500))
        assert done.durability == types_pb2.DURABILITY_LEDGER

    settling = asyncio.gather(*(settle((client, other)[i % 2], name) for i, name in enumerate(names)))
    for _ in range(3):
        await asyncio.sleep(0.01)
        for key in await stores.keys():
            await stores.valkey.delete(key)
    await settling
    await asyncio.gather(*(settle(other, name) for name in names))

    await settled(client, (30 * 7_500, 0))
    assert await stores.balance("team") == (30 * 7_500, 0)


async def test_an_expired_hold_of_the_ledger_is_not_brought_back_to_life(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(7_500))
    await client.quota.Authorize(authorize_request("k1", ttl=Duration(seconds=1)))
    await lose_everything(stores)
    await asyncio.sleep(1)

    assert (await client.quota.Authorize(authorize_request("k2"))).decision == ALLOW


async def settled(client: Client, expected: tuple[int, int]) -> None:
    """Waits until what was pending has been brought to the keys."""
    async with asyncio.timeout(15):
        while True:
            if await standing(client) == expected:
                return
            await asyncio.sleep(0.05)
