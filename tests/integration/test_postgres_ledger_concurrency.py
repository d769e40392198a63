"""Several writers at once write each entry once, and never wait for each other in a circle."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from functools import reduce

import asyncpg
import pytest

from quota_service.application.ledger_ports import Written
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType, key_of_hold
from quota_service.domain.reservation import State
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import WINDOWS, Life, a_hold, open_reservations, spent
from tests.integration.postgres_values import a_record

NEW, REPLAYED, CONFLICT = Written.NEW, Written.REPLAYED, Written.CONFLICT


@pytest.mark.parametrize("end_first", [False, True])
async def test_hold_and_end_written_at_once_by_two_connections_leave_nothing_open(
    ledger: PostgresLedger, pool: asyncpg.Pool, end_first: bool
) -> None:
    lives = [Life(a_hold(id_=f"r{number:03}")).commit(400) for number in range(100)]
    holds, ends = ([life.entries[part] for life in lives] for part in (0, 1))
    batches = (ends, holds[::-1]) if end_first else (holds[::-1], ends)

    results = await asyncio.gather(*map(ledger.write, batches))

    assert set(results[0 if end_first else 1].results) == {NEW}
    assert await open_reservations(pool, "acme") == set()
    assert (await spent(pool, "acme"))["each-user", "ada"] == Amounts(6_500 * 100, 1_400 * 100, 100)
    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == 200


async def test_an_end_waits_for_a_hold_that_is_not_committed_yet(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    hold, end = Life(a_hold()).commit(400).entries
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO ledger_keys VALUES ('acme', 'r1/hold', 'hash-r1', 0, now());"
            "INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)"
            " VALUES ('acme', 'r1', '', 0, now())"
        )
        writing = asyncio.ensure_future(ledger.write([end]))
        await asyncio.sleep(0.1)
        assert not writing.done()
        await transaction.commit()

    assert (await writing).results == [NEW]
    assert await open_reservations(pool, "acme") == set()
    assert (await ledger.write([hold])).results == [REPLAYED]


async def test_many_writers_of_the_same_entries_write_each_once(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    lives = [Life(a_hold(id_=f"r{number}")).commit(10 * number) for number in range(40)]
    entries = [entry for life in lives for entry in life.entries]
    batches = [entries, entries[::-1], entries[20:], entries[:50], entries[::3]]

    results = [written.results for written in await asyncio.gather(*map(ledger.write, batches))]

    told = zip(itertools.chain(*batches), itertools.chain(*results), strict=True)
    new = Counter(entry.key for entry, written in told if written is NEW)
    assert all(new[entry.key] == 1 for entry in entries if entry.type is EntryType.COMMIT)
    # The last batch has ends without their holds: one that it writes first was new to no batch.
    first_by_its_end = {entry.key for entry in entries} - new.keys()
    ends_alone = {entry.hold.reservation for entry in batches[-1]} - {
        entry.hold.reservation for entry in batches[-1] if entry.type is EntryType.HOLD
    }
    assert first_by_its_end <= {key_of_hold(reservation) for reservation in ends_alone}
    assert set(new.values()) == {1}
    assert CONFLICT not in itertools.chain(*results)
    rows = await pool.fetch("SELECT key FROM ledger_entries ORDER BY key")
    assert [row["key"] for row in rows] == sorted(entry.key for entry in entries)
    total = reduce(Amounts.plus, (entry.charged for entry in entries))
    assert set((await spent(pool, "acme")).values()) == {total}


async def test_keys_are_claimed_in_sorted_order_so_that_nobody_waits_in_a_circle(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO ledger_keys VALUES ('acme', 'rec/m', 'other', 0, now())")
        waiting = asyncio.ensure_future(ledger.write([a_record("z"), a_record("m"), a_record("a")]))
        await asyncio.sleep(0.1)

        # Whoever waits for m does not have z yet.
        assert (await ledger.write([a_record("z")])).results == [NEW]

    assert (await waiting).results == [REPLAYED, CONFLICT, NEW]


async def test_balances_are_locked_in_sorted_order_so_that_nobody_waits_in_a_circle(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    def charging(id_: str, *budgets: str) -> list[Entry]:
        windows = tuple(WINDOWS[0]._replace(budget=budget) for budget in budgets)
        return Life(a_hold(id_=id_, windows=windows)).commit(1).entries

    await ledger.write(charging("r0", "z", "m", "a"))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM window_balances WHERE budget = 'm' FOR UPDATE")
        waiting = asyncio.ensure_future(ledger.write(charging("r1", "z", "m", "a")))
        await asyncio.sleep(0.1)

        # Whoever waits for m does not have z yet.
        assert (await ledger.write(charging("r2", "z"))).results == [NEW, NEW]

    assert (await waiting).results == [NEW, NEW]


async def test_open_holds_are_locked_in_sorted_order_so_that_nobody_waits_in_a_circle(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    lives = {id_: Life(a_hold(id_=id_)) for id_ in "zma"}
    await ledger.write([life.entries[0] for life in lives.values()])
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM open_holds WHERE reservation = 'm' FOR UPDATE")
        ends = [life.end(State.RELEASED).entries[-1] for life in lives.values()]
        waiting = asyncio.ensure_future(ledger.write(ends))
        await asyncio.sleep(0.1)

        # Whoever waits for m does not have z yet.
        assert (await ledger.write([Life(a_hold(id_="z")).extend(1).entries[-1]])).results == [NEW]

    assert (await waiting).results == [NEW] * 3
    assert await open_reservations(pool, "acme") == set()
