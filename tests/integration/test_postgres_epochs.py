"""Entries meet in the ledger that do not know of each other: they ran in different epochs, or in none."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import asyncpg
import msgspec
import pytest

from quota_service.application.ledger_ports import Written
from quota_service.application.recovery_ports import LiveHold
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType, Origin
from quota_service.domain.reservation import State
from quota_service.stores.hold_documents import kept
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.postgres.transaction import write_batch
from tests.integration.postgres_lives import Life, a_hold, spent
from tests.integration.postgres_values import a_record

NEW, REPLAYED, CONFLICT, VOID = Written.NEW, Written.REPLAYED, Written.CONFLICT, Written.VOID
EVENTS = itertools.count()
BUDGET = ("team-monthly", "")


def ran(entry: Entry, epoch: int) -> Entry:
    """The entry as an event of that epoch tells it."""
    return replace(entry, origin=Origin(epoch, f"{next(EVENTS)}-0"))


def all_ran(life: Life, epoch: int) -> list[Entry]:
    return [ran(entry, epoch) for entry in life.entries]


@pytest.fixture
def epochs(pool: asyncpg.Pool) -> PostgresEpochs:
    return PostgresEpochs(pool)


async def begin(epochs: PostgresEpochs) -> int:
    async with epochs.alone("acme") as turn:
        return await turn.begin()


async def pending(epochs: PostgresEpochs) -> list[str]:
    return sorted(found.entry.key for found in await epochs.pending("acme", 100))


async def test_what_ran_in_the_current_epoch_is_not_pending_and_anything_else_is(
    ledger: PostgresLedger, epochs: PostgresEpochs
) -> None:
    old, new = await begin(epochs), await begin(epochs)
    lives = {origin: Life(a_hold(id_=f"r{origin}")).commit(400) for origin in (0, old, new)}
    await ledger.write([*lives[0].entries, *all_ran(lives[old], old), *all_ran(lives[new], new)])

    assert await pending(epochs) == sorted(
        f"r{origin}/{end}" for origin in (0, old) for end in ("hold", "end")
    )
    assert (await epochs.epochs())["acme"].is_pending
    await begin(epochs)  # its keys are made from a ledger that has it all
    assert await pending(epochs) == []


async def test_what_was_pending_may_turn_out_to_have_run(
    ledger: PostgresLedger, epochs: PostgresEpochs
) -> None:
    epoch = await begin(epochs)
    [hold, end] = Life(a_hold()).commit(400).entries
    await ledger.write([ran(hold, epoch)])
    assert (await ledger.write([end])).results == [NEW]
    assert await pending(epochs) == ["r1/end"]

    assert (await ledger.write([ran(end, epoch)])).results == [REPLAYED]

    assert await pending(epochs) == []
    assert not (await epochs.epoch("acme")).broken


async def test_a_script_that_ran_what_the_ledger_had_already_breaks_the_epoch(
    ledger: PostgresLedger, epochs: PostgresEpochs
) -> None:
    epoch = await begin(epochs)
    record = a_record()
    first = ran(record, epoch)
    for again in (first, first):
        await ledger.write([again])
        assert not (await epochs.epoch("acme")).broken

    assert (await ledger.write([ran(record, epoch)])).results == [REPLAYED]

    assert (await epochs.epoch("acme")).broken
    await begin(epochs)
    assert not (await epochs.epoch("acme")).broken


async def test_a_script_that_ran_something_else_than_the_ledger_has_breaks_the_epoch(
    ledger: PostgresLedger, epochs: PostgresEpochs
) -> None:
    epoch = await begin(epochs)
    await ledger.write(Life(a_hold()).commit(400).entries)
    other = Life(a_hold()).commit(450).entries[-1]

    assert (await ledger.write([ran(other, epoch)])).results == [CONFLICT]

    assert (await epochs.epoch("acme")).broken


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED])
async def test_a_commit_that_meets_a_release_or_an_expiry_is_the_late_settlement(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool, state: State
) -> None:
    epoch = await begin(epochs)
    await ledger.write(Life(a_hold()).end(state).entries)
    end = ran(Life(a_hold()).commit(400).entries[-1], epoch)

    assert (await ledger.write([end])).results == [NEW]
    assert (await ledger.write([end])).results == [REPLAYED]

    row = await ledger.find("acme", "r1/late")
    assert row is not None
    assert (row.entry.late, row.entry.charged) == (True, end.charged)
    assert (await spent(pool, "acme"))[BUDGET] == end.charged
    assert not (await epochs.epoch("acme")).broken


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED])
async def test_a_release_or_an_expiry_that_meets_a_commit_is_void(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool, state: State
) -> None:
    epoch = await begin(epochs)
    [hold, end] = Life(a_hold()).commit(400).entries
    await ledger.write([ran(hold, epoch), end])

    assert (await ledger.write([ran(Life(a_hold()).end(state).entries[-1], epoch)])).results == [VOID]

    assert await pending(epochs) == ["r1/end"], "the keys are still to learn of the Commit"
    assert (await spent(pool, "acme"))[BUDGET] == end.charged


def _parted() -> tuple[Entry, Entry, Amounts]:
    """A part, the final Commit of a store that does not know of it, and the total."""
    part = Life(a_hold()).commit(100, keep_open=True).entries[-1]
    final = Life(a_hold()).commit(400).entries[-1]
    return part, final, final.charged


@pytest.mark.parametrize("order", ["part first", "final first", "together", "together, final first"])
async def test_parts_that_the_final_commit_does_not_know_of_are_charged_once(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool, order: str
) -> None:
    old, new = await begin(epochs), await begin(epochs)
    part, final, total = _parted()
    first, second = ran(part, old), ran(final, new)
    if "final first" in order:
        first, second = second, first
    for batch in [[first, second]] if "together" in order else [[first], [second]]:
        assert set((await ledger.write(batch)).results) == {NEW}

    assert (await spent(pool, "acme"))[BUDGET] == total
    rows = await pool.fetch(
        "SELECT sum(charged_cost_micros)::bigint FROM ledger_entries WHERE type = $1", EntryType.COMMIT.value
    )
    assert rows[0][0] == total.cost_micros


@pytest.mark.parametrize("missing", [None, 1, 2])
async def test_parts_count_by_their_total_in_any_order_and_where_one_is_missing(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool, missing: int | None
) -> None:
    epoch = await begin(epochs)
    life = Life(a_hold()).commit(100, keep_open=True).commit(200, keep_open=True).commit(400)
    entries = all_ran(life, epoch)
    for entry in reversed(entries):
        if missing is None or entry is not entries[missing]:
            await ledger.write([entry])

    assert (await spent(pool, "acme"))[BUDGET] == life.hold.charged


async def test_parts_that_two_epochs_counted_alike_are_both_there(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool
) -> None:
    old, new = await begin(epochs), await begin(epochs)
    first = ran(Life(a_hold()).commit(100, keep_open=True).entries[-1], old)
    second = ran(Life(a_hold()).commit(300, keep_open=True).entries[-1], new)
    assert first.key == second.key

    for again in (NEW, REPLAYED):
        assert (await ledger.write([first])).results == [again]
        assert (await ledger.write([second])).results == [again]

    assert (await spent(pool, "acme"))[BUDGET] == second.hold.charged


async def test_an_epoch_waits_for_transactions_of_the_ledger_and_keeps_others_waiting(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool
) -> None:
    await begin(epochs)
    async with pool.acquire() as writing, writing.transaction():
        await writing.fetch("SELECT begin_ledger_write('{acme}', '{}', '{}', '{}')")
        beginning = asyncio.create_task(begin(epochs))
        await asyncio.sleep(0.2)
        assert not beginning.done()
    await beginning
    async with epochs.alone("acme"):
        write = asyncio.create_task(ledger.write(Life(a_hold()).entries))
        other = await ledger.write(Life(a_hold(organization="globex")).entries)
        assert other.results == [NEW], "another organization's ledger goes on"
        await asyncio.sleep(0.2)
        assert not write.done()
    assert (await write).results == [NEW]


@pytest.mark.parametrize("first", ["part", "settled in the ledger"])
async def test_commits_that_do_not_know_of_each_other_are_written_one_after_the_other(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool, first: str
) -> None:
    """Two transactions at once: neither sees what the other is about to charge."""
    epoch = await begin(epochs)
    await ledger.write([ran(Life(a_hold()).entries[0], epoch)])
    if first == "part":
        life = Life(a_hold()).commit(100, keep_open=True).commit(400)
        entries = all_ran(life, epoch)[1:]
    else:
        late = Life(a_hold()).end(State.EXPIRED).commit(400)
        entries = [Life(a_hold()).commit(400).entries[-1], ran(late.entries[-1], epoch)]
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await write_batch(connection, Batch(entries[:1]))
        other = asyncio.create_task(ledger.write(entries[1:]))
        await asyncio.sleep(0.2)
        assert not other.done()
        await transaction.commit()
    assert (await other).results == [NEW]
    assert (await spent(pool, "acme"))[BUDGET] == entries[-1].hold.charged


async def test_open_holds_that_a_former_version_wrote_are_read_and_move_on(
    ledger: PostgresLedger, epochs: PostgresEpochs, pool: asyncpg.Pool
) -> None:
    life = Life(a_hold()).extend(5)
    first, extended = life.entries
    await ledger.write([first])
    in_json = msgspec.json.encode(first.hold).decode()
    await pool.execute("UPDATE open_holds SET hold = $1, kept = NULL", in_json)
    assert await live_holds(epochs) == [kept(first.hold)]

    await ledger.write([extended])
    assert await live_holds(epochs) == [kept(extended.hold)]
    assert extended.hold != first.hold


async def live_holds(epochs: PostgresEpochs) -> list[LiveHold]:
    async with epochs.alone("acme") as turn:
        return [hold async for part in turn.holds() for hold in part]
