"""A store is down: callers are answered as the organization wants it, and no charge is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import directory_pb2, quota_pb2, types_pb2
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.reservation import Hold
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.support.calls import cost, record_request, subject
from tests.support.proxy import Mode, Proxy, proxied
from tests.support.service import ACME, Client, authorize_request, commit_request, running_service
from tests.support.stores import Stores

ALLOW, DENY = types_pb2.DECISION_ALLOW, types_pb2.DECISION_DENY
LEDGER, BUFFERED = types_pb2.DURABILITY_LEDGER, types_pb2.DURABILITY_BUFFERED


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    async with proxied(valkey_url) as found:
        yield found


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    async with proxied(postgres_url) as found:
        yield found


@pytest.fixture
async def cut_off(
    valkey: tuple[Proxy, str], postgres: tuple[Proxy, str], key_prefix: str
) -> AsyncIterator[Client]:
    """A client of a server whose stores can be cut off."""
    async with running_service(valkey[1], postgres[1], key_prefix, patience_ms=40) as client:
        yield client


async def standing(client: Client, budget: str = "team") -> tuple[int, int]:
    [status] = await client.status(budget)
    return status.spent, status.held


async def stands(client: Client, *expected: int) -> None:
    """Waits until the deciding store has learnt of everything."""
    async with asyncio.timeout(20):
        while True:
            try:
                found = await standing(client)
            except grpc.aio.AioRpcError:
                found = (-1, -1)
            if found == expected:
                return
            await asyncio.sleep(0.05)


async def authorized(client: Client, key: str) -> str:
    async with asyncio.timeout(20):
        while True:
            answer = await client.quota.Authorize(authorize_request(key))
            if answer.decision == ALLOW:
                return answer.reservation.name
            assert answer.violations[0].reason == types_pb2.REASON_STORE_UNAVAILABLE
            await asyncio.sleep(0.05)


async def commit_unless_full(client: Client, name: str) -> quota_pb2.CommitResponse | None:
    call = client.quota.Commit(commit_request(name, 1_000, 500))
    if await call.code() is grpc.StatusCode.UNAVAILABLE:
        return None
    return await call


OUTAGES = [Mode.REFUSE, Mode.BLACKHOLE]


@pytest.mark.parametrize("mode", OUTAGES)
async def test_without_valkey_a_request_is_denied_at_once_and_may_be_tried_again(
    cut_off: Client, valkey: tuple[Proxy, str], mode: Mode
) -> None:
    await cut_off.found_acme()
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await valkey[0].switch(mode)

    took = []
    for number in range(20):
        begun = time.monotonic()
        answer = await cut_off.quota.Authorize(authorize_request(f"k{number}"))
        took.append(time.monotonic() - begun)
        assert answer.decision == DENY
        [violation] = answer.violations
        assert (violation.reason, violation.retryable) == (types_pb2.REASON_STORE_UNAVAILABLE, True)
        assert answer.message
    # What the machine adds to the patience is not known; a timeout of the connection would be 2 s.
    assert sorted(took)[10] < 0.05 + 0.05
    assert max(took) < 1

    await valkey[0].switch(Mode.PASS)
    await authorized(cut_off, "k0")


@pytest.mark.parametrize("mode", OUTAGES)
async def test_what_is_settled_without_valkey_is_in_the_ledger_and_then_in_valkey(
    cut_off: Client, other: Client, stores: Stores, valkey: tuple[Proxy, str], mode: Mode
) -> None:
    await cut_off.found_acme()
    await cut_off.budget("team", limits=cost(1_000_000))
    names = [await authorized(cut_off, f"k{number}") for number in range(4)]
    await stores.drained()
    await valkey[0].switch(mode)

    usage = commit_request(names[0], 1_000, 1_000)
    done = await cut_off.quota.Commit(usage)
    assert (done.durability, done.charged.cost_micros, done.overrun.cost_micros) == (LEDGER, 12_500, 5_000)
    again = await cut_off.quota.Commit(usage)
    assert (again.replayed, again.charged, again.durability) == (True, done.charged, LEDGER)
    part = commit_request(names[1], 1_000, 100, keep_open=True)
    assert (await cut_off.quota.Commit(part)).charged.cost_micros == 3_500
    final = await cut_off.quota.Commit(commit_request(names[1], 1_000, 200))
    assert final.charged.cost_micros == 1_000
    released = await cut_off.quota.Release(quota_pb2.ReleaseRequest(name=names[2]))
    assert released.returned.cost_micros == 7_500
    recorded = await cut_off.quota.Record(
        record_request("r1", subject=subject(organization="acme", user="ada"))
    )
    assert recorded.durability == LEDGER
    found = await cut_off.quota.GetReservation(quota_pb2.GetReservationRequest(name=names[3]))
    assert found.state == quota_pb2.Reservation.STATE_HELD

    spent = 12_500 + 4_500 + recorded.entry.charged.cost_micros
    assert await stores.balance("team") == (spent, 5_000)
    await valkey[0].switch(Mode.PASS)
    await stands(other, spent, 7_500)
    assert (await cut_off.quota.Commit(usage)).replayed
    assert await stores.balance("team") == (spent, 5_000)


async def test_an_organization_may_have_requests_allowed_up_to_a_cap(
    cut_off: Client, other: Client, stores: Stores, valkey: tuple[Proxy, str]
) -> None:
    await cut_off.found_acme(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=16_000
    )
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await valkey[0].switch(Mode.REFUSE)

    first = await cut_off.quota.Authorize(authorize_request("k1"))
    assert (first.decision, first.reservation.degraded) == (ALLOW, True)
    assert first.reservation.held.cost_micros == 0
    again = await cut_off.quota.Authorize(authorize_request("k1"))
    assert (again.replayed, again.reservation) == (True, first.reservation)
    second = await cut_off.quota.Authorize(authorize_request("k2"))
    assert second.decision == DENY, "the repeat counts too: nobody knows whether the first was written"
    done = await cut_off.quota.Commit(commit_request(first.reservation.name, 1_000, 500))
    assert (done.charged.cost_micros, done.late) == (7_500, False)

    await valkey[0].switch(Mode.PASS)
    await stands(other, 7_500, 7_500)
    assert await stores.balance("team") == (7_500, 7_500)


async def test_each_of_a_replicas_workers_allows_its_share_of_the_cap(
    valkey: tuple[Proxy, str], postgres: tuple[Proxy, str], key_prefix: str
) -> None:
    async with running_service(valkey[1], postgres[1], key_prefix, patience_ms=40, workers=2) as worker:
        await worker.found_acme(
            outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=16_000
        )
        await worker.budget("team", limits=cost(1_000_000))
        await authorized(worker, "before")
        await valkey[0].switch(Mode.REFUSE)
        answers = [await worker.quota.Authorize(authorize_request(f"k{number}")) for number in range(2)]
        assert [answer.decision for answer in answers] == [ALLOW, DENY], "7,500 of 8,000 micro-USD"


async def test_a_degraded_reservation_is_committed_when_valkey_is_back(
    cut_off: Client, other: Client, stores: Stores, valkey: tuple[Proxy, str]
) -> None:
    await cut_off.found_acme(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=16_000
    )
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await valkey[0].switch(Mode.REFUSE)
    granted = await cut_off.quota.Authorize(authorize_request("k1"))
    assert granted.reservation.degraded
    await valkey[0].switch(Mode.PASS)

    done = await other.quota.Commit(commit_request(granted.reservation.name, 1_000, 500))
    assert (done.charged.cost_micros, done.late, done.durability) == (7_500, False, LEDGER)
    assert done.reservation.degraded
    await stands(other, 7_500, 7_500)


async def test_a_degraded_reservation_is_extended_though_valkey_comes_back_only_meanwhile(
    cut_off: Client, other: Client, valkey: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await cut_off.found_acme(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=1_000_000
    )
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await valkey[0].switch(Mode.REFUSE)
    granted = await cut_off.quota.Authorize(authorize_request("k1"))
    assert granted.reservation.degraded
    get, looks = ValkeyHoldStore.get, iter([StoreUnavailable("Valkey is away.")])

    async def away_at_first(store: ValkeyHoldStore, organization: str, name: str) -> Hold | None:
        for away in looks:
            raise away
        return await get(store, organization, name)

    monkeypatch.setattr(ValkeyHoldStore, "get", away_at_first)
    more = quota_pb2.ExtendRequest(
        name=granted.reservation.name, additional_output_tokens=10, request_id="more"
    )
    extended = await other.quota.Extend(more)
    assert extended.decision == ALLOW
    assert extended.reservation.granted_output_tokens == granted.granted_output_tokens + 10


@pytest.mark.parametrize("mode", OUTAGES)
async def test_without_postgresql_charges_are_buffered_and_reach_the_ledger_later(
    cut_off: Client, stores: Stores, postgres: tuple[Proxy, str], mode: Mode
) -> None:
    await cut_off.found_acme()
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await postgres[0].switch(mode)

    for number in range(3):
        name = await authorized(cut_off, f"k{number}")
        done = await cut_off.quota.Commit(commit_request(name, 1_000, 500))
        assert done.durability == BUFFERED
    begun = time.monotonic()
    name = await authorized(cut_off, "quick")
    done = await cut_off.quota.Commit(commit_request(name, 1_000, 500))
    assert done.durability == BUFFERED
    assert time.monotonic() - begun < 1, "nobody waits for what is known not to answer"
    assert await standing(cut_off) == (30_000, 7_500)

    await postgres[0].switch(Mode.PASS)
    await stores.drained()
    assert await stores.balance("team") == (30_000, 0)


@pytest.mark.parametrize("mode", OUTAGES)
async def test_without_both_nothing_is_answered_but_quickly(
    cut_off: Client, valkey: tuple[Proxy, str], postgres: tuple[Proxy, str], mode: Mode
) -> None:
    await cut_off.found_acme()
    await cut_off.budget("team", limits=cost(1_000_000))
    name = await authorized(cut_off, "before")
    await postgres[0].switch(mode)
    await valkey[0].switch(mode)
    with pytest.raises(grpc.aio.AioRpcError):  # silence is found out by who asks
        await cut_off.quota.Release(quota_pb2.ReleaseRequest(name=name))
    await asyncio.sleep(4)

    for call in (
        lambda: cut_off.quota.Authorize(authorize_request("k1")),
        lambda: cut_off.quota.Commit(commit_request(name, 1_000, 500)),
        lambda: cut_off.quota.Release(quota_pb2.ReleaseRequest(name=name)),
        lambda: cut_off.quota.GetReservation(quota_pb2.GetReservationRequest(name=name)),
        lambda: cut_off.quota.Record(record_request("r", subject=subject(organization="acme", user="ada"))),
    ):
        begun = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - begun < 1


async def test_what_waits_for_the_ledger_is_bounded(
    valkey_url: str, postgres: tuple[Proxy, str], key_prefix: str, stores: Stores
) -> None:
    async with running_service(valkey_url, postgres[1], key_prefix, buffer_bytes_max=12_000) as client:
        await client.found_acme()
        await client.budget("team", limits=cost(100_000_000))
        names = [await authorized(client, f"early{number}") for number in range(30)]
        await stores.drained()
        await postgres[0].switch(Mode.REFUSE)
        count = 0
        while (answer := await client.quota.Authorize(authorize_request(f"k{count}"))).decision == ALLOW:
            count += 1
        assert answer.violations[0].reason == types_pb2.REASON_STORE_UNAVAILABLE
        assert 5 < count < 40

        buffered = 0
        while done := await commit_unless_full(client, names[buffered]):
            assert done.durability == BUFFERED
            buffered += 1
        assert buffered > 2, "Commits go on where Authorize has stopped"

        await postgres[0].switch(Mode.PASS)
        await stores.drained()
        assert await stores.balance("team") == (buffered * 7_500, 0)
        await authorized(client, "afterwards")


async def test_what_was_settled_meanwhile_counts_once_where_valkey_comes_back_empty(
    cut_off: Client,
    stores: Stores,
    valkey: tuple[Proxy, str],
    valkey_url: str,
    postgres_url: str,
    key_prefix: str,
) -> None:
    await cut_off.found_acme()
    await cut_off.budget("team", limits=cost(1_000_000))
    names = [await authorized(cut_off, f"k{number}") for number in range(20)]
    await stores.drained()
    await valkey[0].switch(Mode.REFUSE)
    for name in names:
        await cut_off.quota.Commit(commit_request(name, 1_000, 500))
    await stores.valkey.delete(*await stores.keys())

    # Its first look finds that something is pending, while the keys are made anew with just that in them.
    async with running_service(valkey_url, postgres_url, key_prefix) as client:
        await stands(client, 150_000, 0)
        await asyncio.sleep(1.5)
        assert await standing(client) == (150_000, 0)


async def test_who_is_frozen_during_an_outage_is_granted_nothing_more(
    cut_off: Client, other: Client, valkey: tuple[Proxy, str]
) -> None:
    await cut_off.found_acme(
        outage_policy=directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED, degraded_cost_cap_micros=10_000_000
    )
    await cut_off.budget("team", limits=cost(1_000_000))
    await authorized(cut_off, "before")
    await valkey[0].switch(Mode.REFUSE)
    assert (await cut_off.quota.Authorize(authorize_request("k1"))).reservation.degraded

    frozen = directory_pb2.User(name=f"{ACME}/users/ada", disabled=True)
    mask = FieldMask(paths=["disabled"])
    await other.directory.UpdateUser(directory_pb2.UpdateUserRequest(user=frozen, update_mask=mask))
    async with asyncio.timeout(20):
        count = 0
        while (answer := await cut_off.quota.Authorize(authorize_request(f"n{count}"))).decision == ALLOW:
            count += 1
            await asyncio.sleep(0.1)
    assert answer.violations[0].reason == types_pb2.REASON_SUBJECT_DISABLED
