"""Valkey is compared with the ledger while both are in use: what differs is named, and can be set right."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from quota.v1 import audit_pb2, budget_pb2, money_pb2, operations_pb2, quota_pb2, types_pb2
from tests.support.calls import cost, released, stands
from tests.support.service import ACME, Client, authorize_request, commit_request
from tests.support.stores import Stores

SPENT, MOVED = 0, 7
"""Their places in a window as Valkey keeps it."""


async def reconciled(
    client: Client, **fields: Any
) -> tuple[list[operations_pb2.Drift], list[operations_pb2.ReconcileSummary]]:
    """Every drift that is told, and every summary."""
    request = operations_pb2.ReconcileRequest(name=ACME, **fields)
    told = [each async for each in client.operations.Reconcile(request)]
    assert told[-1].WhichOneof("content") == "summary"
    drifts = [each.drift for each in told if each.HasField("drift")]
    return drifts, [each.summary for each in told if each.HasField("summary")]


async def window_key(stores: Stores, budget: str, each_value: str = "") -> bytes:
    [key] = [key for key in await stores.keys(f"window/{budget}/") if key.endswith(f"/{each_value}".encode())]
    return key


async def tampered(stores: Stores, key: bytes, place: int, value: object) -> None:
    """Sets one part of a window in Valkey, as if by a fault."""
    raw = await stores.valkey.get(key)
    assert isinstance(raw, bytes)
    window = msgspec.msgpack.decode(raw)
    window[place] = value
    await stores.valkey.set(key, msgspec.msgpack.encode(window), keepttl=True)


async def spend(client: Client, *keys: str) -> None:
    for key in keys:
        granted = await client.quota.Authorize(authorize_request(key))
        await client.quota.Commit(commit_request(granted.reservation.name, 1_000, 500))


async def founded(client: Client, **fields: Any) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(1_000_000_000), **fields)


async def test_where_nothing_differs_there_is_no_drift(client: Client, stores: Stores) -> None:
    await founded(client)
    await spend(client, "k1", "k2")
    await client.quota.Authorize(authorize_request("k3"))
    await stores.drained()
    drifts, [summary] = await reconciled(client, repair=True, search=True)
    assert not drifts
    assert (summary.windows, summary.holds, summary.drifts, summary.undecided) == (1, 1, 0, 0)
    assert not summary.repaired


async def test_a_window_that_differs_is_named_with_both_numbers_and_mended(
    client: Client, other: Client, stores: Stores
) -> None:
    await founded(client)
    await spend(client, "k1", "k2")
    await stores.drained()
    [status] = await client.status("team")
    await tampered(stores, await window_key(stores, "team"), SPENT, [15_100, 3_000, 2])

    [drift], [summary] = await reconciled(other)
    assert (drift.source, drift.each_value) == (f"{ACME}/budgets/team", "")
    assert drift.window_start == status.window_start
    assert (drift.quantity, drift.meter) == (drift.QUANTITY_SPENT, types_pb2.METER_COST)
    assert (drift.valkey, drift.ledger, drift.difference) == (15_100, 15_000, 100)
    assert (summary.drifts, summary.repaired) == (1, False)
    assert await stands(client, "team") == (15_100, 0)  # looking mends nothing

    drifts, summaries = await reconciled(other, repair=True)
    assert [drift.difference for drift in drifts] == [100]
    assert [(each.drifts, each.repaired) for each in summaries] == [(1, False), (0, True)]
    assert await stands(client, "team") == (15_000, 0)
    events = await client.audit.ListAuditEvents(audit_pb2.ListAuditEventsRequest(parent=ACME))
    [event] = [each for each in events.audit_events if each.resource == f"{ACME}/keys"]
    assert event.method == "quota.v1.OperationsService/Reconcile"


async def test_a_lost_window_is_named_in_every_meter_that_it_had(client: Client, stores: Stores) -> None:
    await founded(client)
    await spend(client, "k1")
    await stores.drained()
    await stores.valkey.delete(await window_key(stores, "team"))
    drifts, [summary] = await reconciled(client)
    assert [(drift.meter, drift.valkey, drift.ledger) for drift in drifts] == [
        (types_pb2.METER_COST, 0, 7_500),
        (types_pb2.METER_TOKENS, 0, 1_500),
        (types_pb2.METER_REQUESTS, 0, 1),
    ]
    assert summary.drifts == 3


async def test_a_lost_hold_is_named_and_comes_back(client: Client, stores: Stores) -> None:
    await founded(client)
    name = (await client.quota.Authorize(authorize_request("k1"))).reservation.name
    await stores.drained()
    await asyncio.sleep(5)  # younger holds may not be in the ledger yet
    [key] = await stores.keys("hold:")
    await stores.valkey.delete(key)
    [index] = await stores.keys("}/holds")
    await stores.valkey.zrem(index, name.rpartition("/")[2])

    drifts, [summary] = await reconciled(client)
    *of_window, of_hold = drifts
    assert [(each.quantity, each.valkey, each.ledger) for each in of_window] == [
        (operations_pb2.Drift.QUANTITY_HELD, 7_500, 0),
        (operations_pb2.Drift.QUANTITY_HELD, 1_500, 0),
        (operations_pb2.Drift.QUANTITY_HELD, 1, 0),
        (operations_pb2.Drift.QUANTITY_HOLDS, 1, 0),
    ]
    assert (of_hold.reservation, of_hold.missing_in) == (name, of_hold.STORE_VALKEY)
    assert summary.drifts == 5

    _, summaries = await reconciled(client, repair=True)
    assert [each.drifts for each in summaries] == [5, 0]
    await released(client, name)
    assert await stands(client, "team") == (0, 0)


async def test_a_hold_that_the_ledger_never_saw_is_named(client: Client, stores: Stores) -> None:
    await founded(client)
    name = (await client.quota.Authorize(authorize_request("k1"))).reservation.name
    await stores.drained()
    await asyncio.sleep(5)
    await stores.execute("DELETE FROM open_holds")
    [drift], _ = await reconciled(client)
    assert (drift.reservation, drift.missing_in) == (name, drift.STORE_LEDGER)


async def test_a_window_that_nobody_knows_is_found_when_it_is_searched_for(
    client: Client, stores: Stores
) -> None:
    await founded(client, scope=budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER)))
    await spend(client, "k1")
    await stores.drained()
    key = await window_key(stores, "team", "ada")
    await stores.valkey.copy(key.decode(), key.decode().replace("/ada", "/bob"))
    assert not (await reconciled(client))[0]

    drifts, summaries = await reconciled(client, search=True, repair=True)
    assert {(drift.each_value, drift.ledger) for drift in drifts} == {("bob", 0)}
    assert [each.drifts for each in summaries] == [3, 0]
    assert await stands(client, "team", "bob") == (0, 0)
    assert await stands(client, "team", "ada") == (7_500, 0)


async def test_what_windows_begin_with_and_changes_of_their_limits_are_no_drift(
    client: Client, stores: Stores
) -> None:
    await founded(client)
    await spend(client, "k1")
    await client.budget("later", limits=cost(1_000_000))  # begins with what was spent before it was made
    adjust = money_pb2.AdjustBudgetRequest(
        name=f"{ACME}/budgets/team", amounts=cost(500), reason="more", request_id="r1"
    )
    await client.budgets.AdjustBudget(adjust)
    move = money_pb2.ReallocateBudgetRequest(
        source=f"{ACME}/budgets/team",
        destination=f"{ACME}/budgets/later",
        amounts=cost(70),
        reason="elsewhere",
        request_id="r2",
    )
    await stores.drained()
    assert not (await reconciled(client, search=True))[0]
    await client.budgets.ReallocateBudget(move)
    await spend(client, "k2")
    assert not (await reconciled(client, search=True))[0]

    key = await window_key(stores, "later")
    await tampered(stores, key, MOVED, [71, 0, 0])
    [drift], _ = await reconciled(client)
    assert (drift.quantity, drift.valkey, drift.ledger) == (drift.QUANTITY_MOVED, 71, 70)


async def test_under_load_there_is_no_false_drift_and_true_drift_is_found(
    client: Client, other: Client, stores: Stores
) -> None:
    await founded(client)
    await client.budget("each", limits=cost(1_000_000_000), scope=budget_pb2.Scope(team="engineering"))

    async def work(one: Client, worker: int) -> None:
        for number in range(10_000):
            granted = await one.quota.Authorize(authorize_request(f"{worker}-{number}"))
            name = granted.reservation.name
            if number % 3:
                await one.quota.Commit(commit_request(name, 900, 400 + 10 * worker))
            elif number % 2:
                await one.quota.Release(quota_pb2.ReleaseRequest(name=name))

    workers = [asyncio.ensure_future(work((client, other)[i % 2], i)) for i in range(8)]
    try:
        await asyncio.sleep(0.5)
        for _ in range(2):
            drifts, [summary] = await reconciled(client)
            assert (list(drifts), summary.undecided) == ([], 0)

        key = await window_key(stores, "each")
        await stores.valkey.eval(ADD, 1, key, 5_000)
        drifts, [summary] = await reconciled(other)
        assert [(each.source, each.quantity, each.meter, each.difference) for each in drifts] == [
            (f"{ACME}/budgets/each", operations_pb2.Drift.QUANTITY_SPENT, types_pb2.METER_COST, 5_000)
        ]
        _, summaries = await reconciled(other, repair=True)
        assert [each.drifts for each in summaries] == [1, 0]
    finally:
        for worker in workers:
            worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*workers)


ADD = """
local window = cmsgpack.unpack(redis.call('GET', KEYS[1]))
window[1][1] = window[1][1] + tonumber(ARGV[1])
redis.call('SET', KEYS[1], cmsgpack.pack(window), 'KEEPTTL')
"""
