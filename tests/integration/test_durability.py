"""LEDGER means that PostgreSQL has it; what PostgreSQL does not have yet is BUFFERED, and gets there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from quota.v1 import quota_pb2, report_pb2, types_pb2
from quota_service.domain import commands
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold
from quota_service.domain.terms import Basis
from tests.support import stores, valkey
from tests.support.calls import cost
from tests.support.commands import alternative
from tests.support.service import ACME, Client, authorize_request, commit_request


@asynccontextmanager
async def ledger_at_a_standstill(postgres_url: str) -> AsyncIterator[None]:
    """Nobody can write to the ledger meanwhile."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger_keys IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def commits(client: Client) -> list[report_pb2.LedgerEntry]:
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, type=report_pb2.LedgerEntry.TYPE_COMMIT)
    return list((await client.reports.ListLedgerEntries(request)).ledger_entries)


async def committed_once(client: Client) -> report_pb2.LedgerEntry:
    """Waits for the one COMMIT entry there is to be."""
    async with asyncio.timeout(30):
        while True:
            found = await commits(client)
            if found:
                [entry] = found
                return entry
            await asyncio.sleep(0.1)


async def authorized(client: Client) -> quota_pb2.AuthorizeResponse:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    return await client.quota.Authorize(authorize_request("k"))


async def test_a_commit_is_buffered_while_the_ledger_stands_still_and_written_once_afterwards(
    client: Client, postgres_url: str
) -> None:
    name = (await authorized(client)).reservation.name
    async with ledger_at_a_standstill(postgres_url):
        done = await client.quota.Commit(commit_request(name, 1_000, 100))
        again = await client.quota.Commit(commit_request(name, 1_000, 100))
    assert done.durability == types_pb2.DURABILITY_BUFFERED
    assert (again.replayed, again.durability) == (True, types_pb2.DURABILITY_BUFFERED)
    entry = await committed_once(client)
    assert entry.charged == done.charged
    last = await client.quota.Commit(commit_request(name, 1_000, 100))
    assert (last.replayed, last.durability) == (True, types_pb2.DURABILITY_LEDGER)
    assert [status.spent for status in await client.status("engineering")] == [entry.charged.cost_micros]


async def test_authorize_does_not_wait_for_the_ledger(client: Client, postgres_url: str) -> None:
    await authorized(client)
    async with ledger_at_a_standstill(postgres_url), asyncio.timeout(3):
        answer = await client.quota.Authorize(authorize_request("other"))
    assert answer.decision == types_pb2.DECISION_ALLOW


async def test_what_a_dead_replica_left_behind_is_written_by_another(
    client: Client, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    """The scripts have run, and whoever ran them died before it wrote anything."""
    answer = await authorized(client)
    async with valkey.opened(valkey_url, prefix=f"{key_prefix}/") as dead:
        known = await dead.holds.get("acme", answer.reservation.name.rpartition("/")[2])
        assert known is not None
        mine = replace(known, reservation="01890000-0000-7000-8000-000000000001", idempotency_key="mine")
        granted = await dead.holds.authorize(authorize_again(mine))
        assert isinstance(granted, commands.Granted)
        settled = await dead.holds.commit(
            commands.Commit(
                organization="acme",
                reservation=mine.reservation,
                usage=Usage(input_tokens=10, output_tokens=1),
                content_hash="c",
            )
        )
        assert isinstance(settled, commands.Settled)
        entry = await committed_once(client)
        assert entry.reservation == f"{ACME}/reservations/{mine.reservation}"
        assert entry.charged.cost_micros == settled.settlement.charged.cost_micros
        async with stores.opened(valkey_url, postgres_url, key_prefix) as looked_into:
            await looked_into.drained()


def authorize_again(hold: Hold) -> commands.Authorize:
    """The same in no window at all, under a configuration that nobody can call stale."""
    basis = Basis(organization="acme", version=2**52)
    return commands.Authorize(basis=basis, alternatives=(alternative(hold),), ttl_ms=60_000)
