"""What is append-only stays so, and who changes it behind the service's back is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from quota.v1 import audit_pb2, types_pb2
from quota.v1.audit_pb2 import Tampering
from quota_service.stores.postgres import seals as seals_module
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.seals import PostgresSeals
from tests.support.service import ACME, Client, authorize_request, commit_request
from tests.support.stores import Stores

FREED = "SET session_replication_role = replica; "  # as only a superuser can: no trigger fires


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    """As the service has one."""
    pool = await open_pool(PoolSettings(url=postgres_url))
    yield pool
    await close_pool(pool)


async def verify(client: Client, **fields: Any) -> audit_pb2.VerifyAuditTrailResponse:
    return await client.audit.VerifyAuditTrail(audit_pb2.VerifyAuditTrailRequest(parent=ACME, **fields))


async def named(client: Client, **fields: Any) -> list[tuple[str, str]]:
    """What the verifier finds, and where."""
    found: list[tuple[str, str]] = []
    token = ""
    while True:
        page = await verify(client, page_token=token, **fields)
        found += [
            (Tampering.Kind.Name(each.kind)[5:], each.name.removeprefix(f"{ACME}/")) for each in page.findings
        ]
        token = page.next_page_token
        if not token:
            return found


async def spent(client: Client, stores: Stores, pool: asyncpg.Pool, times: int = 3) -> list[int]:
    """The numbers of sealed ledger entries: a hold and a commit each."""
    for _ in range(times):
        held = await client.quota.Authorize(authorize_request(f"k{len(await entries(stores))}"))
        await client.quota.Commit(commit_request(held.reservation.name, 10, 10))
    await stores.drained()
    await PostgresSeals(pool).seal()
    return await entries(stores)


async def entries(stores: Stores) -> list[int]:
    return [row["id"] for row in await stores.fetch("SELECT id FROM ledger_entries ORDER BY id")]


@pytest.fixture
async def numbers(client: Client, stores: Stores, pool: asyncpg.Pool) -> list[int]:
    """Of the sealed entries of acme's ledger."""
    await client.found_acme()
    await client.budget("b", limits=types_pb2.Amounts(cost_micros=1_000_000_000))
    return await spent(client, stores, pool)


async def test_the_application_s_role_cannot_change_what_is_append_only(pool: asyncpg.Pool) -> None:
    [(partition,)] = await pool.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'ledger_entries'::regclass ORDER BY 1 LIMIT 1"
    )
    tables = ("ledger_entries", "ledger_keys", "audit_events", "ledger_seals", partition, "ledger_keys_0")
    changes = ("UPDATE {} SET organization = 'x'", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}")
    for table in tables:
        for change in (*changes, "ALTER TABLE {} DISABLE TRIGGER append_only"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(change.format(table))


async def test_nothing_is_found_where_nobody_has_tampered(client: Client, numbers: list[int]) -> None:
    found = await verify(client)
    assert not found.findings
    assert found.verified_ledger_entries == len(numbers) == 6
    assert (found.verified_events, found.unsealed_ledger_entries, found.next_page_token) == (5, 0, "")
    assert (found.head.event, found.head.seal) == (5, 1)


async def test_an_entry_that_a_superuser_changed_took_away_or_put_there_is_named(
    client: Client, stores: Stores, pool: asyncpg.Pool, numbers: list[int]
) -> None:
    one, two, three, four, *_ = numbers
    await stores.execute("SELECT setval('ledger_entry_ids', 5000)")
    await spent(client, stores, pool, 1)
    for statement in (
        f"UPDATE ledger_entries SET charged_tokens = 7 WHERE id = {one}",
        f"UPDATE ledger_entries SET actor = 'eve' WHERE id = {two}",
        f"DELETE FROM ledger_entries WHERE id = {three}",
        f"UPDATE ledger_entries SET id = id + 1000 WHERE id = {four}",
    ):
        await stores.execute(FREED + statement)
    assert await named(client) == [
        ("CHANGED", f"ledgerEntries/{one}"),
        ("CHANGED", f"ledgerEntries/{two}"),
        ("MISSING", f"ledgerEntries/{three}"),
        ("MISSING", f"ledgerEntries/{four}"),
        ("ADDED", f"ledgerEntries/{four + 1000}"),
    ]


async def test_an_event_that_a_superuser_changed_took_away_or_made_anew_is_named(
    client: Client, stores: Stores, numbers: list[int]
) -> None:
    change = FREED + "UPDATE audit_events SET {} WHERE sequence = {}"
    await stores.execute(change.format("actor = 'nobody'", 2))
    assert await named(client) == [("CHANGED", "auditEvents/2")]
    await stores.execute(change.format("after = 'garbage'", 4))
    assert await named(client) == [("CHANGED", "auditEvents/2"), ("CHANGED", "auditEvents/4")]
    listed = await client.audit.ListAuditEvents(audit_pb2.ListAuditEventsRequest(parent=ACME))
    assert not listed.audit_events[1].HasField("after")
    await stores.execute(FREED + "DELETE FROM audit_events WHERE sequence IN (2, 4)")
    assert await named(client) == [("MISSING", "auditEvents/2"), ("MISSING", "auditEvents/4")]


async def test_a_seal_that_was_made_anew_to_fit_breaks_the_chain(
    client: Client, stores: Stores, pool: asyncpg.Pool, numbers: list[int]
) -> None:
    await spent(client, stores, pool, 1)
    await stores.execute(f"{FREED}UPDATE ledger_entries SET reason = 'x' WHERE id = {numbers[0]}")
    await stores.execute(
        f"{FREED}UPDATE ledger_seals s SET entries = ("
        " SELECT string_agg(int8send(e.id) || ledger_digest(e), '' ORDER BY e.id)"
        " FROM ledger_entries e WHERE e.id <= s.last_id) WHERE sequence = 1"
    )
    assert await named(client) == [("CHANGED", "ledgerSeals/1")]
    await stores.execute(
        f"{FREED}UPDATE ledger_seals SET"
        " hash = seal_hash(previous_hash, organization, sequence, last_id, entries) WHERE sequence = 1"
    )
    assert await named(client) == [("UNCHAINED", "ledgerSeals/2")]


async def test_a_trail_whose_end_is_gone_does_not_have_the_head_that_was_kept(
    client: Client, stores: Stores, numbers: list[int]
) -> None:
    head = (await verify(client)).head
    assert await named(client, known_head=head) == []
    await stores.execute(FREED + "DELETE FROM audit_events WHERE sequence = 5; DELETE FROM ledger_seals")
    assert ("HEAD_CHANGED", "auditEvents/5") in await named(client, known_head=head)
    assert ("HEAD_CHANGED", "ledgerSeals/1") in await named(client, known_head=head)


async def test_what_was_put_where_nothing_is_ever_written_is_named(
    client: Client, stores: Stores, numbers: list[int]
) -> None:
    """Below the first, beyond the newest, where the sealer has been, and a second time."""
    newest = numbers[-1]
    copied = (
        "INSERT INTO ledger_entries SELECT (e).* FROM ("
        " SELECT jsonb_populate_record(e, jsonb_build_object('id', {})) AS e FROM ledger_entries e"
        f" WHERE id = {numbers[0]} LIMIT 1) made"
    )
    await stores.execute("UPDATE ledger_sealed SET last_id = last_id + 2")
    await stores.execute("SELECT setval('ledger_entry_ids', last_value + 1) FROM ledger_entry_ids")
    for id_ in (0, newest + 1, newest + 1000, newest):
        await stores.execute(copied.format(id_))
    await stores.execute(
        "INSERT INTO audit_events SELECT organization, -1, create_time, actor, method, request_id, reason,"
        " resource, before, after, previous_hash, hash FROM audit_events WHERE sequence = 1"
    )
    assert await named(client) == [
        ("ADDED", "auditEvents/-1"),
        ("CHANGED", f"ledgerEntries/{newest}"),
        ("ADDED", "ledgerEntries/0"),
        ("UNSEALED", f"ledgerEntries/{newest + 1}"),
        ("UNSEALED", f"ledgerEntries/{newest + 1000}"),
    ]


async def test_what_was_made_unreadable_is_named_and_hides_nothing_else(
    client: Client, stores: Stores, numbers: list[int]
) -> None:
    await stores.execute(FREED + "UPDATE ledger_seals SET entries = entries || '\\x00'")
    for sequence, document in enumerate(("[]", '{"windows":[{"window":1}]}', '{"windows":', "7"), 2):
        await stores.execute(
            f"{FREED}UPDATE audit_events SET after = '{document}' WHERE sequence = {sequence}"
        )
    assert await named(client) == [
        *(("CHANGED", f"auditEvents/{sequence}") for sequence in (2, 3, 4, 5)),
        ("CHANGED", "ledgerSeals/1"),
    ]
    listed = await client.audit.ListAuditEvents(audit_pb2.ListAuditEventsRequest(parent=ACME))
    assert [each.HasField("after") for each in listed.audit_events] == [False] * 4 + [True]


async def test_the_newest_writer_of_all_is_waited_for(
    client: Client, pool: asyncpg.Pool, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "PATIENCE_S", 0.3)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT * FROM begin_ledger_write(ARRAY['acme'], '{}', '{}', '{}')")
        id_ = await connection.fetchval("SELECT nextval('ledger_entry_ids')")
        await PostgresSeals(pool).seal()  # nobody has begun or ended anything since
        await connection.execute(
            "INSERT INTO ledger_entries SELECT (e).* FROM ("
            f" SELECT jsonb_populate_record(e, '{{\"id\": {id_}}}') AS e FROM ledger_entries e"
            f" WHERE id = {numbers[-1]}) made"
        )
    await PostgresSeals(pool).seal()
    assert await named(client) == []


async def test_what_is_still_being_written_is_not_passed_over(
    client: Client, stores: Stores, pool: asyncpg.Pool, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "PATIENCE_S", 0.3)
    begin = "SELECT * FROM begin_ledger_write(ARRAY['acme'], '{}', '{}', '{}')"
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(begin)
        early = await connection.fetchval("SELECT nextval('ledger_entry_ids')")
        late = (await spent(client, stores, pool, 1))[-1]
        assert early < late
        assert (await verify(client)).unsealed_ledger_entries == 2
        await connection.execute(
            "INSERT INTO ledger_entries SELECT (e).* FROM ("
            f" SELECT jsonb_populate_record(e, '{{\"id\": {early}}}') AS e FROM ledger_entries e"
            f" WHERE id = {late}) made"
        )
        await transaction.commit()
    await PostgresSeals(pool).seal()
    found = await verify(client)
    assert (found.verified_ledger_entries, found.unsealed_ledger_entries) == (9, 0)
    assert not found.findings


async def test_several_replicas_that_seal_at_once_seal_everything_once(
    client: Client, stores: Stores, pool: asyncpg.Pool, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "IDS_PER_TRANSACTION", 3)
    for _ in range(5):
        await client.quota.Authorize(authorize_request(f"x{_}"))
    await stores.drained()
    await asyncio.gather(*(PostgresSeals(pool).seal() for _ in range(5)))
    await PostgresSeals(pool).seal()
    found = await verify(client, page_size=2)
    assert found.next_page_token
    assert await named(client, page_size=2) == []
    assert (await verify(client)).verified_ledger_entries == 11


async def test_a_sealer_rests_between_its_transactions_and_leaves_the_rest_to_one_who_came_meanwhile(
    client: Client, stores: Stores, pool: asyncpg.Pool, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_module, "IDS_PER_TRANSACTION", 2)
    rests_s: list[float] = []

    async def rest(seconds: float) -> None:
        rests_s.append(seconds)

    async def overtaken(seconds: float) -> None:
        await rest(seconds)
        with monkeypatch.context() as only:
            only.setattr(seals_module, "TRANSACTIONS_PER_ROUND", 1)
            await PostgresSeals(pool, rest).seal()

    async def sealed_by(sealer: PostgresSeals) -> int:
        """How often it rested."""
        for each in range(6):
            await client.quota.Authorize(authorize_request(f"{len(numbers)}/{len(rests_s)}/{each}"))
        await stores.drained()
        before = len(rests_s)
        await sealer.seal()
        return len(rests_s) - before

    assert await sealed_by(PostgresSeals(pool, rest)) == 2
    assert all(0 < seconds <= seals_module.RESTS_S for seconds in rests_s)
    assert await sealed_by(PostgresSeals(pool, overtaken)) == 2  # its own, and the other's
    found = await verify(client)
    assert (found.verified_ledger_entries, found.unsealed_ledger_entries) == (len(numbers) + 10, 2)
    await PostgresSeals(pool).seal()
    found = await verify(client)
    assert (found.verified_ledger_entries, found.unsealed_ledger_entries) == (len(numbers) + 12, 0)
    assert not found.findings
