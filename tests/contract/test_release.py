"""Release: the whole hold returns; an ended reservation stays as it is."""

from __future__ import annotations

import asyncio

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    NOWHERE,
    TOKENS,
    amount,
    authorized,
    committed,
    cost,
    entries,
    expired,
    held,
    released,
    stands,
    types,
)
from tests.support.refusals import answer, refusal
from tests.support.service import Client
from tests.support.stores import Stores

RELEASED = quota_pb2.Reservation.STATE_RELEASED


async def test_a_release_returns_the_whole_hold_and_charges_nothing(client: Client) -> None:
    await client.found_acme()
    limits = types_pb2.Amounts(cost_micros=COST, tokens=TOKENS, requests=1)
    await client.budget("engineering", limits=limits)
    done = await released(client, await held(client, "a"), "the client went away")
    assert amount(done.returned) == (COST, TOKENS, 1)
    assert (done.replayed, done.reservation.state) == (False, RELEASED)
    assert [(each.spent, each.held) for each in await client.status("engineering")] == [(0, 0)] * 3
    await authorized(client, "b")
    _, entry, _ = await entries(client, 3)
    assert (types([entry]), entry.reason) == (["RELEASE"], "the client went away")
    assert not entry.HasField("charged")


async def test_the_release_of_an_ended_reservation_returns_it_unchanged(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    names = {
        quota_pb2.Reservation.STATE_COMMITTED: await held(client, "committed"),
        quota_pb2.Reservation.STATE_RELEASED: await held(client, "released"),
        quota_pb2.Reservation.STATE_EXPIRED: await expired(client, "expired"),
    }
    await committed(client, names[quota_pb2.Reservation.STATE_COMMITTED])
    await released(client, names[RELEASED])
    for state, name in names.items():
        for _ in range(2):
            done = await released(client, name, "deferred")
            assert (done.replayed, done.reservation.state) == (True, state)
            assert amount(done.returned) == (0, 0, 0)
    assert await stands(client, "engineering") == (4_500, 0)
    assert sorted(types(await entries(client, 6))) == [
        *["COMMIT", "EXPIRE", "HOLD", "HOLD", "HOLD", "RELEASE"]
    ]


async def test_the_release_of_an_unknown_reservation_is_not_found(client: Client, stores: Stores) -> None:
    await client.found_acme()
    before = await stores.snapshot()
    for name in (NOWHERE, NOWHERE.replace("acme", "nowhere")):
        assert answer(await refusal(released(client, name))) == ("NOT_FOUND", "RESERVATION_NOT_FOUND")
    assert await stores.snapshot() == before


async def test_the_release_of_a_forgotten_reservation_finds_it_in_the_ledger(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    name = await held(client)
    await committed(client, name)
    await stores.forget(name)
    done = await released(client, name)
    assert (done.replayed, done.reservation.state) == (True, quota_pb2.Reservation.STATE_COMMITTED)


async def test_concurrent_releases_return_the_hold_once(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    name = await held(client, "a")
    await held(client, "b")
    done = await asyncio.gather(*(released(each, name) for _ in range(20) for each in (client, other)))
    assert sum(not each.replayed for each in done) == 1
    assert await stands(client, "engineering") == (0, COST)
