"""Every entry is in the ledger exactly once, with what it charges."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from quota_service.application.ledger_ports import LedgerFilter, Written
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import Entry, EntryType, key_of_end, key_of_hold
from quota_service.domain.reservation import State
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.times import to_time
from tests.integration.postgres_lives import START_MS, WINDOWS, Life, a_hold, open_reservations, spent
from tests.integration.postgres_values import GPT, a_record, put

NEW, REPLAYED, CONFLICT, VOID = Written.NEW, Written.REPLAYED, Written.CONFLICT, Written.VOID


async def test_an_entry_comes_back_as_it_was_written(ledger: PostgresLedger) -> None:
    life = Life(a_hold()).extend(100, ttl_ms=600_000).commit(100, keep_open=True).commit(700)

    assert (await ledger.write(life.entries)).results == [NEW] * 4

    rows, following = await ledger.list("acme", LedgerFilter(), 10, None)
    assert [row.entry for row in rows] == life.entries[::-1]
    assert following is None


async def test_writing_again_replays_and_charges_nothing_twice(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    entries = Life(a_hold()).commit(400).entries
    await ledger.write(entries)
    once = await spent(pool, "acme")

    assert (await ledger.write(entries)).results == [REPLAYED, REPLAYED]

    assert await spent(pool, "acme") == once
    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == 2


async def test_the_same_key_with_other_content_is_a_conflict_without_effect(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    await ledger.write([a_record()])
    once = await spent(pool, "acme")

    assert (await ledger.write([a_record(content_hash="other"), a_record()])).results == [CONFLICT, REPLAYED]

    assert await spent(pool, "acme") == once


async def test_repeats_and_conflicts_within_one_batch_are_told_apart(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    batch = [a_record(), a_record(), a_record(content_hash="other"), a_record(organization="other")]

    assert (await ledger.write(batch)).results == [NEW, REPLAYED, CONFLICT, NEW]

    assert (await spent(pool, "acme"))["each-user", "ada"] == Amounts(100, 20, 1)


async def test_an_expiry_after_a_commit_is_void(ledger: PostgresLedger) -> None:
    hold = a_hold()
    await ledger.write(Life(hold).commit(400).entries)

    assert (await ledger.write(Life(hold).end(State.EXPIRED).entries)).results == [REPLAYED, VOID]


async def test_an_end_before_its_hold_writes_the_hold_and_leaves_nothing_open(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    hold, end = Life(a_hold()).commit(400).entries

    assert (await ledger.write([end])).results == [NEW]
    implied = await ledger.find("acme", key_of_hold("r1"))
    assert implied is not None
    assert (implied.entry.type, implied.entry.hold, implied.entry.charged) == (
        EntryType.HOLD,
        hold.hold,
        NOTHING,
    )

    assert (await ledger.write([hold])).results == [REPLAYED]
    assert await open_reservations(pool, "acme") == set()


async def test_a_degraded_hold_that_held_nothing_is_implied_by_its_end_all_the_same(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    hold, end = Life(replace(a_hold(), held=NOTHING, degraded=True)).commit(400).entries

    assert (await ledger.write([end])).results == [NEW]
    implied = await ledger.find("acme", key_of_hold("r1"))
    assert implied is not None
    assert implied.entry.hold == hold.hold
    assert implied.entry.hold.degraded

    assert (await ledger.write([hold])).results == [REPLAYED]
    assert await open_reservations(pool, "acme") == set()


@pytest.mark.parametrize("state", [State.EXPIRED, State.RELEASED])
async def test_a_late_settlement_before_the_end_it_comes_after_writes_that_end(
    ledger: PostgresLedger, pool: asyncpg.Pool, state: State
) -> None:
    hold, end, part, final = Life(a_hold()).end(state).commit(100, keep_open=True).commit(400).entries

    assert (await ledger.write([part])).results == [NEW]
    assert await open_reservations(pool, "acme") == set()
    implied = await ledger.find("acme", key_of_end("r1"))
    assert implied is not None
    assert (implied.entry.type, implied.entry.hold.state, implied.entry.charged) == (end.type, state, NOTHING)
    assert (await ledger.write([final, hold, end])).results == [NEW, REPLAYED, REPLAYED]


async def test_within_a_batch_the_hold_is_listed_before_its_end_whatever_their_order(
    ledger: PostgresLedger,
) -> None:
    entries = Life(a_hold()).commit(400).entries

    assert (await ledger.write(entries[::-1])).results == [NEW, NEW]

    rows, _ = await ledger.list("acme", LedgerFilter(), 10, None)
    assert [row.entry for row in rows] == entries[::-1]


async def test_a_hold_is_open_until_its_end_is_written(ledger: PostgresLedger, pool: asyncpg.Pool) -> None:
    life = Life(a_hold()).extend(50)
    await ledger.write(life.entries)
    assert await open_reservations(pool, "acme") == {"r1"}

    await ledger.write(life.end(State.RELEASED).entries[-1:])

    assert await open_reservations(pool, "acme") == set()


async def test_an_older_state_does_not_replace_a_newer_one(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    hold, first, second = Life(a_hold()).extend(50).extend(50).entries
    for entry in (hold, second, first):
        await ledger.write([entry])

    progress = await pool.fetchval("SELECT progress FROM open_holds")
    assert progress == second.hold.granted_output_tokens + second.hold.expire_ms
    assert await ledger.hold("acme", "r1") == second.hold


async def test_overruns_and_charges_add_up_in_the_balances(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    await ledger.write(Life(a_hold(id_="r1")).commit(700).entries)
    await ledger.write(Life(a_hold(id_="r2")).commit(100).entries)

    row = await pool.fetchrow("SELECT * FROM window_balances WHERE budget = 'team-monthly'")
    assert row is not None
    assert (row["spent_cost_micros"], row["spent_tokens"], row["spent_requests"]) == (9_500 + 3_500, 2_800, 2)
    assert (row["overrun_cost_micros"], row["overrun_tokens"], row["overrun_requests"]) == (2_000, 200, 0)


async def test_a_window_whose_end_was_changed_is_still_one(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    def charging(id_: str, end_ms: int) -> list[Entry]:
        window = WINDOWS[0]._replace(end_ms=START_MS + end_ms)
        return Life(a_hold(id_=id_, windows=(window,))).commit(1).entries

    await ledger.write([*charging("r1", 1_000), *charging("r2", 2_000)])
    await ledger.write(charging("r3", 3_000))
    await ledger.write(charging("r4", 1_000))

    rows = await pool.fetch("SELECT window_end, spent_requests FROM window_balances")
    assert [tuple(row) for row in rows] == [(to_time(START_MS + 3_000), 4)]


async def test_text_that_postgresql_cannot_store_does_not_keep_others_from_the_ledger(
    ledger: PostgresLedger,
) -> None:
    bad = a_record("nul-\0")
    subject = replace(bad.hold.subject, user="\0", tags=(("\0", "\\u0000\0"),))
    windows = (WINDOWS[1]._replace(each_value="\0"),)
    bad = replace(
        bad, reason="\0", hold=replace(bad.hold, subject=subject, windows=windows, idempotency_key="\0")
    )

    assert (await ledger.write([bad, a_record("good")])).results == [NEW, NEW]
    assert (await ledger.write([bad])).results == [REPLAYED]

    row = await ledger.find("acme", "rec/nul-\0")
    assert row is not None
    assert row.entry.hold.subject.tags == (("␀", "\\u0000␀"),)


async def test_writing_tells_where_the_windows_stand_also_when_it_replays(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    entries = Life(a_hold()).commit(400).entries
    first = await ledger.write(entries)
    again = await ledger.write(entries)

    assert {balance.window for balance in first.balances} == set(entries[0].hold.windows)
    assert {balance.spent for balance in first.balances} == {entries[-1].charged}
    assert set(again.balances) == set(first.balances)
    assert (await ledger.write(Life(a_hold(id_="r2")).entries)).balances == ()


async def test_a_balance_names_the_configuration_under_which_to_look_at_it(
    ledger: PostgresLedger, store: PostgresConfigurationStore
) -> None:
    entries = Life(a_hold()).commit(400).entries
    version = await put(store, GPT)

    assert {balance.version for balance in (await ledger.write(entries)).balances} == {version}
    assert {balance.version for balance in (await ledger.write(_elsewhere(entries))).balances} == {0}


def _elsewhere(entries: list[Entry]) -> list[Entry]:
    return [replace(entry, hold=replace(entry.hold, organization="gone")) for entry in entries]
