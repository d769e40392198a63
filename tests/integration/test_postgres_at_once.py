"""The usual transaction in one statement: it does what the one of many steps does, or nothing at all."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from quota_service.application.ledger_ports import WriteResult, Written
from quota_service.domain.ledger import Entry, Origin
from quota_service.domain.reservation import State
from quota_service.stores.postgres import at_once
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.entry_rows import COLUMNS
from quota_service.stores.postgres.ledger import PostgresLedger, write
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.transaction import write_batch
from tests.integration.postgres_lives import WINDOWS, Life, a_hold
from tests.integration.postgres_values import a_record

EVENTS = itertools.count(1)
WAITING = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
OWN_COLUMNS = ("id", "create_time", "organization")
"""Of tables that are compared: what differs between two organizations."""


def run(entry: Entry, epoch: int = 0) -> Entry:
    """As the deciding store's scripts ran it."""
    return replace(entry, origin=Origin(epoch, f"{next(EVENTS)}-0"))


def runs(life: Life) -> list[Entry]:
    return [run(entry) for entry in life.entries]


@pytest.fixture
async def connection(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection:
        yield connection


async def rows(connection: Connection, organization: str) -> dict[str, list[Any]]:
    """What the tables have of an organization, without its name and what a transaction gives by itself."""
    found = {}
    for table in ("ledger_keys", "ledger_entries", "open_holds", "window_balances", "pending_applications"):
        kept = await connection.fetch(f"SELECT * FROM {table} WHERE organization = $1", organization)
        left_out = (*OWN_COLUMNS, "entry_id", "kept", "entry")  # which have the organization's name inside
        told = [{name: str(part) for name, part in row.items() if name not in left_out} for row in kept]
        found[table] = sorted(told, key=str)
    return found


def a_life(chance: random.Random, organization: str, id_: str) -> Life:
    """What may happen to a reservation."""
    life = Life(a_hold(organization, id_, WINDOWS[: chance.randint(0, 2)]))
    for _ in range(chance.randint(0, 2)):
        life.extend(chance.randint(1, 50))
    if chance.random() < 0.2:
        life.commit(chance.randint(1, 300), keep_open=True)
    if chance.random() < 0.4:
        life.end(chance.choice([State.EXPIRED, State.RELEASED]))
    if chance.random() < 0.6:
        life.commit(chance.randint(300, 900))
    return life


def batches(seed: int, organization: str) -> list[list[Entry]]:
    """Lives cut into batches: mostly in order, some entries late, twice, or of another epoch."""
    chance = random.Random(seed)
    lives = [a_life(chance, organization, f"r{number}") for number in range(30)]
    entries = [
        *itertools.chain.from_iterable(life.entries for life in lives),
        *(a_record(f"job-{number}", organization=organization) for number in range(10)),
    ]
    if chance.random() < 0.5:
        entries.sort(key=lambda _: chance.random())
    entries += chance.sample(entries, 5)
    number = itertools.count(1)
    told = [
        replace(
            entry,
            origin=None if chance.random() < 0.05 else Origin(chance.random() < 0.03, f"{next(number)}-0"),
        )
        for entry in entries
    ]
    cut, found = chance.choice([1, 4, 20]), []
    while told:
        size = chance.randint(1, cut)
        found.append(told[:size])
        told = told[size:]
    return found


async def test_what_is_written_at_once_is_what_many_steps_write(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[bool] = []
    real = at_once.write

    async def noted(*arguments: Any) -> WriteResult | None:
        written = await real(*arguments)
        ways.append(written is not None)
        return written

    monkeypatch.setattr(at_once, "write", noted)
    for seed in range(12):
        one, two = f"one-{seed}", f"two-{seed}"
        for batch, other in zip(batches(seed, one), batches(seed, two), strict=True):
            told = await write(connection, Batch(batch))
            async with connection.transaction():
                expected = await write_batch(connection, Batch(other))
            assert list(told.results) == list(expected.results)
            assert standing(told) == standing(expected)
        assert await rows(connection, one) == await rows(connection, two)
    assert min(ways.count(True), ways.count(False)) > 100


def standing(result: WriteResult) -> set[Any]:
    return {balance._replace(organization="") for balance in result.balances}


async def test_the_usual_life_of_a_reservation_takes_one_statement_a_batch(
    connection: Connection,
) -> None:
    life = runs(Life(a_hold()).extend(10).commit(400))
    for entry in [*life, run(a_record())]:
        written = await at_once.write(connection, Batch([entry]))
        assert written is not None
        assert written.results == [Written.NEW]
    assert not await connection.fetchval("SELECT count(*) FROM open_holds")
    together = await at_once.write(connection, Batch(runs(Life(a_hold(id_="r2")).commit(400))))
    assert together is not None
    assert {balance.spent.requests for balance in together.balances} == {3}


HELD = Life(a_hold())
SETTLED = Life(a_hold()).commit(400)
UNUSUAL: dict[str, Callable[[], tuple[Sequence[Entry], Sequence[Entry]]]] = {
    "a key is taken": lambda: (runs(SETTLED), [run(a_record()), run(SETTLED.entries[1])]),
    "a key comes twice": lambda: ((), [run(a_record()), run(a_record())]),
    "what it implies is not there": lambda: ((), [run(SETTLED.entries[1])]),
    "it ran in an epoch that has not begun": lambda: ((), [run(HELD.entries[0], epoch=1)]),
    "it ran in different epochs": lambda: ((), [run(HELD.entries[0], epoch=1), run(a_record())]),
    "no script ran it": lambda: ((), HELD.entries),
    "it is a part": lambda: (runs(HELD), runs(Life(a_hold()).commit(100, keep_open=True))[1:]),
    "it is late": lambda: (runs(HELD), runs(Life(a_hold()).end(State.EXPIRED).commit(100))[1:]),
    "something of it was settled without the script": lambda: (
        [*runs(HELD), Life(a_hold()).commit(100, keep_open=True).entries[1]],
        [run(SETTLED.entries[1])],
    ),
}


@pytest.mark.parametrize("what", UNUSUAL)
async def test_where_something_is_not_as_usual_nothing_is_done(
    ledger: PostgresLedger, connection: Connection, what: str
) -> None:
    before, asked = UNUSUAL[what]()
    await ledger.write(before)
    written = await rows(connection, "acme")
    assert await at_once.write(connection, Batch(asked)) is None
    assert await rows(connection, "acme") == written


async def test_where_another_writes_the_same_first_nothing_is_done(
    connection: Connection, pool: asyncpg.Pool
) -> None:
    entries = [run(a_record()), run(a_record("job-2"))]
    async with pool.acquire() as other:
        async with other.transaction():
            await write_batch(other, Batch(entries[1:]))
            told = asyncio.create_task(at_once.write(connection, Batch(entries)))
            while not await other.fetchval(WAITING, connection.get_server_pid()):  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.01)
        assert await told is None
    assert len((await rows(connection, "acme"))["ledger_entries"]) == 1


async def test_the_database_s_types_have_the_columns_that_are_written(owner: asyncpg.Pool) -> None:
    attributes = await owner.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'new_ledger_entry'::regclass AND attnum > 0 "
        "ORDER BY attnum"
    )
    assert [row["attname"] for row in attributes] == [*COLUMNS[2:], "origin"]
