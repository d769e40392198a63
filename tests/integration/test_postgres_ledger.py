"""Every entry is in the ledger exactly once, in whatever order and however often it is written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import reduce
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota_service.application.ports import LedgerFilter, Written
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.ledger import Entry, EntryType, key_of_hold, key_of_record
from quota_service.domain.reservation import State
from quota_service.domain.subject import Subject
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.times import to_time
from tests.integration.postgres_lives import START_MS, WINDOWS, Life, a_hold, open_reservations, spent

NEW, REPLAYED, CONFLICT = Written.NEW, Written.REPLAYED, Written.CONFLICT


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(PoolSettings(url=postgres_url))
    yield pool
    await close_pool(pool)


@pytest.fixture
def ledger(pool: asyncpg.Pool) -> PostgresLedger:
    return PostgresLedger(pool)


def a_record(key: str = "job-1", *, organization: str = "acme", content_hash: str = "h") -> Entry:
    hold = replace(a_hold(organization, ""), reservation="")
    charged = Amounts(100, 20, 1)
    return Entry(
        key=key_of_record(key), content_hash=content_hash, type=EntryType.RECORD, at_ms=START_MS, hold=hold,
        charged=charged, overrun=charged, occur_ms=START_MS,
    )  # fmt: skip


async def test_an_entry_comes_back_as_it_was_written(ledger: PostgresLedger) -> None:
    life = Life(a_hold()).extend(100, ttl_ms=600_000).commit(100, keep_open=True).commit(700)

    assert await ledger.write(life.entries) == [NEW] * 4

    rows, following = await ledger.list("acme", LedgerFilter(), 10, None)
    assert [row.entry for row in rows] == life.entries[::-1]
    assert following is None


async def test_writing_again_replays_and_charges_nothing_twice(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    entries = Life(a_hold()).commit(400).entries
    await ledger.write(entries)
    once = await spent(pool, "acme")

    assert await ledger.write(entries) == [REPLAYED, REPLAYED]

    assert await spent(pool, "acme") == once
    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == 2


async def test_the_same_key_with_other_content_is_a_conflict_without_effect(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    await ledger.write([a_record()])
    once = await spent(pool, "acme")

    assert await ledger.write([a_record(content_hash="other"), a_record()]) == [CONFLICT, REPLAYED]

    assert await spent(pool, "acme") == once


async def test_repeats_and_conflicts_within_one_batch_are_told_apart(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    batch = [a_record(), a_record(), a_record(content_hash="other"), a_record(organization="other")]

    assert await ledger.write(batch) == [NEW, REPLAYED, CONFLICT, NEW]

    assert (await spent(pool, "acme"))["each-user", "ada"] == Amounts(100, 20, 1)


async def test_an_expiry_after_a_commit_is_a_conflict(ledger: PostgresLedger) -> None:
    hold = a_hold()
    await ledger.write(Life(hold).commit(400).entries)

    assert await ledger.write(Life(hold).end(State.EXPIRED).entries) == [REPLAYED, CONFLICT]


async def test_an_end_before_its_hold_writes_the_hold_and_leaves_nothing_open(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    hold, end = Life(a_hold()).commit(400).entries

    assert await ledger.write([end]) == [NEW]
    implied = await ledger.find("acme", key_of_hold("r1"))
    assert implied is not None
    assert (implied.entry.type, implied.entry.hold, implied.entry.charged) == (
        EntryType.HOLD,
        hold.hold,
        NOTHING,
    )

    assert await ledger.write([hold]) == [REPLAYED]
    assert await open_reservations(pool, "acme") == set()


async def test_within_a_batch_the_hold_is_listed_before_its_end_whatever_their_order(
    ledger: PostgresLedger,
) -> None:
    entries = Life(a_hold()).commit(400).entries

    assert await ledger.write(entries[::-1]) == [NEW, NEW]

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


@pytest.mark.parametrize("end_first", [False, True])
async def test_hold_and_end_written_at_once_by_two_connections_leave_nothing_open(
    ledger: PostgresLedger, pool: asyncpg.Pool, end_first: bool
) -> None:
    lives = [Life(a_hold(id_=f"r{number:03}")).commit(400) for number in range(100)]
    holds, ends = ([life.entries[part] for life in lives] for part in (0, 1))
    batches = (ends, holds[::-1]) if end_first else (holds[::-1], ends)

    results = await asyncio.gather(*map(ledger.write, batches))

    assert set(results[0 if end_first else 1]) == {NEW}
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
            "INSERT INTO open_holds VALUES ('acme', 'r1', '{}', 0, now())"
        )
        writing = asyncio.ensure_future(ledger.write([end]))
        await asyncio.sleep(0.1)
        assert not writing.done()
        await transaction.commit()

    assert await writing == [NEW]
    assert await open_reservations(pool, "acme") == set()
    assert await ledger.write([hold]) == [REPLAYED]


async def test_many_writers_of_the_same_entries_write_each_once(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    lives = [Life(a_hold(id_=f"r{number}")).commit(10 * number) for number in range(40)]
    entries = [entry for life in lives for entry in life.entries]
    batches = [entries, entries[::-1], entries[20:], entries[:50], entries[::3]]

    results = await asyncio.gather(*map(ledger.write, batches))

    assert sum(result.count(NEW) for result in map(list, results)) == len(entries)
    assert CONFLICT not in itertools.chain(*results)
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
        assert await ledger.write([a_record("z")]) == [NEW]

    assert await waiting == [REPLAYED, CONFLICT, NEW]


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
        assert await ledger.write(charging("r2", "z")) == [NEW, NEW]

    assert await waiting == [NEW, NEW]


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
        assert await ledger.write([Life(a_hold(id_="z")).extend(1).entries[-1]]) == [NEW]

    assert await waiting == [NEW] * 3
    assert await open_reservations(pool, "acme") == set()


moves = st.lists(
    st.one_of(
        st.tuples(st.just("extend"), st.integers(0, 200)),
        st.tuples(st.just("part"), st.integers(0, 900)),
        st.tuples(st.sampled_from(["release", "expire"]), st.just(0)),
        st.tuples(st.just("commit"), st.integers(0, 900)),
    ),
    max_size=6,
)


def live(organization: str, id_: str, steps: list[tuple[str, int]]) -> Life:
    life = Life(a_hold(organization, id_))
    for verb, amount in steps:
        if verb == "extend" and life.hold.state is State.HELD:
            life.extend(amount)
        elif verb in ("release", "expire"):
            life.end(State.RELEASED if verb == "release" else State.EXPIRED)
        elif verb in ("part", "commit") and life.hold.settlement is None:
            life.commit(amount, keep_open=verb == "part")
    return life


numbers = itertools.count()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=st.lists(moves, min_size=1, max_size=4), data=st.data())
async def test_any_order_any_batches_and_any_repeats_give_the_same_ledger(
    ledger: PostgresLedger, pool: asyncpg.Pool, scripts: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    organization = f"o{next(numbers)}"
    lives = [live(organization, f"r{number}", steps) for number, steps in enumerate(scripts)]
    entries = [entry for life in lives for entry in life.entries]
    repeats = data.draw(st.lists(st.sampled_from(entries), max_size=4))
    shuffled = data.draw(st.permutations(entries + repeats))
    borders = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    batches = [shuffled[a:b] for a, b in itertools.pairwise([0, *borders, len(shuffled)])]
    at_once = data.draw(st.booleans())

    if at_once:
        results = list(itertools.chain(*await asyncio.gather(*map(ledger.write, batches))))
    else:
        results = [result for batch in batches for result in await ledger.write(batch)]

    assert CONFLICT not in results
    assert await open_reservations(pool, organization) == {
        life.hold.reservation for life in lives if life.hold.state is State.HELD
    }
    total = reduce(Amounts.plus, (entry.charged for entry in entries), NOTHING)
    expected = {(window.budget, window.each_value): total for window in WINDOWS} if total != NOTHING else {}
    assert await spent(pool, organization) == expected
    rows, _ = await ledger.list(organization, LedgerFilter(), 100, None)
    assert sorted(row.entry.key for row in rows) == sorted(entry.key for entry in entries)
    for life in lives:
        assert await ledger.hold(organization, life.hold.reservation) == life.hold


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
    window = WINDOWS[0]
    first = Life(a_hold(id_="r1", windows=(window,))).commit(1)
    second = Life(a_hold(id_="r2", windows=(window._replace(end_ms=START_MS + 9_000),))).commit(1)

    await ledger.write([*first.entries, *second.entries])
    await ledger.write(Life(a_hold(id_="r3", windows=(window,))).commit(1).entries)

    rows = await pool.fetch("SELECT window_end, spent_requests FROM window_balances")
    assert [tuple(row) for row in rows] == [(to_time(START_MS + 9_000), 3)]


async def test_a_reservation_nobody_wrote_is_unknown(ledger: PostgresLedger) -> None:
    assert await ledger.hold("acme", "r1") is None
    assert await ledger.find("acme", "r1/hold") is None


async def test_lists_go_on_page_by_page_and_stay_in_their_organization(ledger: PostgresLedger) -> None:
    await ledger.write([a_record(f"job-{number}") for number in range(5)])
    await ledger.write([a_record("theirs", organization="other")])

    seen, before = [], None
    while True:
        rows, before = await ledger.list("acme", LedgerFilter(), 2, before)
        seen += [row.entry.key for row in rows]
        if before is None:
            break

    assert seen == [f"rec/job-{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("filter_", "matches"),
    [
        (LedgerFilter(), True),
        (LedgerFilter(subject=Subject(team="core", user="ada", api_key="k1", project="p")), True),
        (LedgerFilter(subject=Subject(user="bob")), False),
        (LedgerFilter(subject=Subject(tags=(("bb", "2"),))), True),
        (LedgerFilter(subject=Subject(tags=(("bb", "1"),))), False),
        (LedgerFilter(budget="each-user"), True),
        (LedgerFilter(budget="ada"), False),
        (LedgerFilter(type=EntryType.COMMIT), True),
        (LedgerFilter(type=EntryType.RECORD), False),
        (LedgerFilter(reservation="r1"), True),
        (LedgerFilter(reservation="r2"), False),
        (LedgerFilter(reservation="r1", budget="other"), False),
        (LedgerFilter(from_ms=START_MS + 5, until_ms=START_MS + 6), True),
        (LedgerFilter(from_ms=START_MS + 6), False),
        (LedgerFilter(until_ms=START_MS + 5), False),
    ],
)
async def test_filters_choose_entries(ledger: PostgresLedger, filter_: LedgerFilter, matches: bool) -> None:
    await ledger.write(Life(a_hold()).commit(5).entries)

    rows, _ = await ledger.list("acme", filter_, 10, None)

    assert bool(rows) is matches


async def test_text_that_postgresql_cannot_store_does_not_keep_others_from_the_ledger(
    ledger: PostgresLedger,
) -> None:
    bad = a_record("nul-\0")
    subject = replace(bad.hold.subject, user="\0", tags=(("\0", "\\u0000\0"),))
    windows = (WINDOWS[1]._replace(each_value="\0"),)
    bad = replace(
        bad, reason="\0", hold=replace(bad.hold, subject=subject, windows=windows, idempotency_key="\0")
    )

    assert await ledger.write([bad, a_record("good")]) == [NEW, NEW]
    assert await ledger.write([bad]) == [REPLAYED]

    row = await ledger.find("acme", "rec/nul-\0")
    assert row is not None
    assert row.entry.hold.subject.tags == (("␀", "\\u0000␀"),)


async def test_a_server_that_is_gone_is_store_unavailable(postgres_url: str) -> None:
    pool = await open_pool(PoolSettings(url=postgres_url))
    await close_pool(pool)

    with pytest.raises(StoreUnavailable):
        await PostgresLedger(pool).write([a_record()])


async def test_a_statement_that_takes_too_long_is_store_unavailable(
    postgres_url: str, pool: asyncpg.Pool
) -> None:
    impatient = await open_pool(PoolSettings(url=postgres_url, command_timeout_ms=200))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE ledger_keys")
        with pytest.raises(StoreUnavailable):
            await PostgresLedger(impatient).write([a_record()])
    await close_pool(impatient)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("{url}_not", "does not exist"),
        ("postgresql://nobody:s3cret@{host}/db?sslmode=disable", "refuses the connection"),
        ("postgresql://u:s3cret@127.0.0.1:1/db", "did not answer"),
        ("postgresql://u:s3cret@127.0.0.1:s3cret/db", "malformed"),
    ],
)
async def test_a_pool_that_cannot_connect_says_why_but_not_the_password(
    postgres_url: str, url: str, text: str
) -> None:
    base, _, query = postgres_url.partition("?")
    host = urlsplit(postgres_url).netloc.rpartition("@")[2]

    with pytest.raises(StoreUnavailable, match=text) as raised:
        await open_pool(
            PoolSettings(url=url.format(url=base, host=host) + (query and "?" + query) * ("{url}" in url))
        )

    assert "s3cret" not in str(raised.value)
