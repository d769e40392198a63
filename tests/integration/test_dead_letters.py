"""Entries that PostgreSQL goes on refusing: put aside, counted all the same, and replayed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import asyncpg
import grpc
import pytest

from quota.v1 import audit_pb2, quota_pb2, types_pb2
from quota_service import telemetry
from quota_service.application.dead_letters import DeadLetters
from quota_service.application.ledger_ports import WindowBalance, Written
from quota_service.domain.ledger import Entry, EntryType, LimitChange, Origin, hold_of_changes
from quota_service.domain.reservation import State, WindowRef
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.telemetry import StoreLog
from tests.integration.postgres_lives import START_MS, Life, a_hold
from tests.support.calls import cost
from tests.support.service import ACME, Client, authorize_request, commit_request
from tests.support.stores import Stores

PRICE = 7_500
POISON = types_pb2.Subject(organization="acme", user="ada", tags={"poison": "yes"})
LEDGER, BUFFERED = types_pb2.DURABILITY_LEDGER, types_pb2.DURABILITY_BUFFERED


class Watch:
    """Sees where windows stand."""

    def __init__(self) -> None:
        self.seen: list[WindowBalance] = []

    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        self.seen += balances


@pytest.fixture
def letters(pool: asyncpg.Pool) -> DeadLetters:
    return DeadLetters(PostgresDeadLetters(pool), Watch(), StoreLog())


@asynccontextmanager
async def refusing(owner: asyncpg.Pool, condition: str) -> AsyncIterator[None]:
    """The ledger refuses entries for which a condition holds, for now."""
    await owner.execute(
        f"ALTER TABLE ledger_entries ADD CONSTRAINT no_poison CHECK (NOT ({condition})) NOT VALID"
    )
    try:
        yield
    finally:
        await owner.execute("ALTER TABLE ledger_entries DROP CONSTRAINT no_poison")


def poisoned_of(type_: str) -> str:
    return f"tags->>'poison' = 'yes' AND type = '{type_}'"


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)


async def held(client: Client, key: str, subject: types_pb2.Subject | None = None) -> str:
    fields = {} if subject is None else {"subject": subject}
    return (await client.quota.Authorize(authorize_request(key, **fields))).reservation.name


async def committed(client: Client, name: str) -> quota_pb2.CommitResponse:
    return await client.quota.Commit(commit_request(name, 1_000, 500))


async def standing(client: Client) -> tuple[int, int]:
    """Spent and held, in micro-USD, by what decides."""
    [status] = await client.status("team")
    return status.spent, status.held


async def lose_everything(stores: Stores) -> None:
    await stores.drained()
    await stores.valkey.delete(*await stores.keys())


async def restart_valkey(stores: Stores) -> None:
    """As if the same keys stood in another run of the server: first their events go to the ledger."""
    [meta] = await stores.keys("meta")
    fence = await stores.valkey.hget(meta, "fence")
    assert isinstance(fence, bytes)
    await stores.valkey.hset(meta, "fence", fence.decode().replace(" ", " another"))


async def test_one_refused_entry_among_a_hundred_holds_up_none_and_is_replayed_once(
    client: Client, stores: Stores, pool: asyncpg.Pool, owner: asyncpg.Pool, letters: DeadLetters
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(10_000_000))
    names = [await held(client, f"k{number}") for number in range(99)]
    poisoned = await held(client, "poisoned", POISON)
    await stores.drained()
    async with refusing(owner, poisoned_of("COMMIT")):
        async with asyncio.timeout(5):
            done = await asyncio.gather(
                *(committed(client, name) for name in [*names[:50], poisoned, *names[50:]])
            )
        assert [answer.durability for answer in done] == [*[LEDGER] * 50, BUFFERED, *[LEDGER] * 49]
        assert await letters.count() == 0
        assert await stores.balance("team") == (99 * PRICE, 0)

        await eventually(lambda: _is_count(letters, 1))
        await stores.drained()
        [letter] = (await letters.list("acme", 10, "")).items
        assert (letter.entry.hold.idempotency_key, letter.entry.charged.cost_micros) == ("poisoned", PRICE)
        assert (letter.tries, letter.error) == (5, _CHECK_FAILED.format(await _partition(pool)))
        [refused] = await letters.replay("acme", [])
        assert (refused.id, refused.written, refused.error) == (letter.id, None, letter.error)
        [letter] = (await letters.list("acme", 10, "")).items
        assert letter.tries == 6
        again = await committed(client, poisoned)
        assert (again.replayed, again.durability) == (True, BUFFERED)

    both = await asyncio.gather(letters.replay("acme", [letter.id]), letters.replay("acme", [letter.id]))
    assert sorted(str(each.written) for [each] in both) == ["None", "Written.NEW"]
    assert await letters.count() == 0
    assert await standing(client) == (100 * PRICE, 0)
    assert await stores.balance("team") == (100 * PRICE, 0)
    assert await stores.open_holds() == 0
    assert (await committed(client, poisoned)).durability == LEDGER
    assert await audited(client) == f"{ACME}/deadLetters/{letter.id}"


async def test_keys_made_anew_count_a_dead_letter_once_before_and_after_its_replay(
    client: Client,
    other: Client,
    stores: Stores,
    pool: asyncpg.Pool,
    owner: asyncpg.Pool,
    letters: DeadLetters,
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(10_000_000))
    good, poisoned = await held(client, "good"), await held(client, "poisoned", POISON)
    await committed(client, good)
    await stores.drained()
    async with refusing(owner, poisoned_of("COMMIT")):
        await committed(client, poisoned)
        await restart_valkey(stores)
        assert await standing(client) == (2 * PRICE, 0)
        assert (await letters.count(), await stores.balance("team")) == (1, (PRICE, 0))
        [(window, counters)] = (await PostgresDeadLetters(pool).balances("acme")).items()
        assert (window.budget, counters.spent.cost_micros) == ("team", PRICE)

        await lose_everything(stores)
        assert await standing(other) == (2 * PRICE, 0), "rebuilt with what only the dead letter knows"
        again = await committed(other, poisoned)
        assert (again.replayed, again.late, again.durability) == (True, False, BUFFERED)

    epoch = await pool.fetchrow("SELECT * FROM store_epochs")
    assert [each.written for each in await letters.replay("acme", [])] == [Written.NEW]
    assert await pool.fetchval("SELECT count(*) FROM pending_applications WHERE NOT applied") == 0
    assert await pool.fetchrow("SELECT * FROM store_epochs") == epoch
    for each in (client, other):
        assert await standing(each) == (2 * PRICE, 0)
    assert await stores.balance("team") == (2 * PRICE, 0)

    await lose_everything(stores)
    assert await standing(client) == (2 * PRICE, 0)


async def test_a_reservation_of_which_the_ledger_refused_even_the_beginning_outlives_the_keys(
    client: Client, stores: Stores, pool: asyncpg.Pool, owner: asyncpg.Pool, letters: DeadLetters
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(10_000_000))
    async with refusing(owner, poisoned_of("HOLD")):
        name = await held(client, "poisoned", POISON)
        await restart_valkey(stores)
        assert await standing(client) == (0, PRICE)
        await lose_everything(stores)
        assert await standing(client) == (0, PRICE)

    assert (await committed(client, name)).durability == LEDGER
    assert [each.written for each in await letters.replay("acme", [])] == [Written.REPLAYED]
    await lose_everything(stores)
    assert await standing(client) == (PRICE, 0)
    assert await stores.open_holds() == 0


async def test_a_ledger_that_refuses_everything_makes_no_dead_letters(
    client: Client, stores: Stores, pool: asyncpg.Pool, owner: asyncpg.Pool, letters: DeadLetters
) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(10_000_000))
    name = await held(client, "k")
    await stores.drained()
    async with refusing(owner, "true"):
        assert (await committed(client, name)).durability == BUFFERED
        await restart_valkey(stores)
        with pytest.raises(grpc.RpcError) as raised:
            await standing(client)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await letters.count() == 0

    await eventually(lambda: _stands(client, (PRICE, 0)))
    await stores.drained()
    assert (await letters.count(), await stores.balance("team")) == (0, (PRICE, 0))


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER TABLE ledger_entries RENAME COLUMN reason TO cause",
        "ALTER TABLE window_balances ADD CONSTRAINT full_up CHECK (false) NOT VALID",
        "ALTER TABLE open_holds ADD CONSTRAINT full_up CHECK (false) NOT VALID",
        "DROP TABLE pending_applications",
    ],
)
async def test_a_probe_finds_a_ledger_that_would_refuse_anything(
    pool: asyncpg.Pool, owner: asyncpg.Pool, harm: str
) -> None:
    store = PostgresDeadLetters(pool)
    assert await store.takes_entries() is True
    for table in ("ledger_entries", "ledger_keys", "window_balances", "open_holds", "pending_applications"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    await owner.execute(harm)
    assert await store.takes_entries() is False


def refused_commit(organization: str = "acme", event: str = "1-0", epoch: int = 1) -> Entry:
    """The end of a reservation whose beginning the ledger may know."""
    life = Life(a_hold(organization)).commit(500)
    return replace(life.entries[-1], origin=Origin(epoch, event))


async def test_anything_can_be_kept(pool: asyncpg.Pool, letters: DeadLetters) -> None:
    store = PostgresDeadLetters(pool)
    strange = replace(
        refused_commit(), key="\0" + "long" * 10_000, reason="\0", occur_ms=2**70, model="\ufffe💥"
    )
    assert await store.put(strange, store.reason_of(ValueError("\0" * 1_000)), 5)
    [kept] = (await letters.list("acme", 10, "")).items
    assert (kept.entry, len(kept.error)) == (strange, 500)
    assert (await letters.replay("acme", [kept.id]))[0].written is None


async def test_what_is_told_of_an_error_quotes_no_other_entry(
    pool: asyncpg.Pool, owner: asyncpg.Pool, ledger: PostgresLedger
) -> None:
    await owner.execute(
        "CREATE UNIQUE INDEX one_a_team ON open_holds"
        " ((encode(substring(kept FROM position('core'::bytea IN kept) FOR 4), 'escape')))"
    )
    await ledger.write(Life(a_hold(id_="r1")).entries)
    with pytest.raises(asyncpg.UniqueViolationError, match="core") as raised:
        await ledger.write(Life(a_hold(id_="r2")).entries)
    told = PostgresDeadLetters(pool).reason_of(raised.value)
    assert told == "UniqueViolationError 23505 constraint one_a_team table open_holds"


async def test_lists_are_of_one_organization_and_page_by_age(
    pool: asyncpg.Pool, letters: DeadLetters
) -> None:
    store = PostgresDeadLetters(pool)
    for number in range(5):
        await store.put(replace(refused_commit(), key=f"k{number}"), "error", 5)
    await store.put(refused_commit("other"), "error", 5)

    first = await letters.list("acme", 3, "")
    second = await letters.list("acme", 3, first.next)

    assert [each.entry.key for each in (*first.items, *second.items)] == [f"k{number}" for number in range(5)]
    assert (second.next, await letters.count()) == ("", 6)
    [other] = (await letters.list("other", 10, "")).items
    unknown = [other.id, "x", "-1", "9" * 30]
    assert [each.written for each in await letters.replay("acme", unknown)] == [None] * 4
    assert await letters.count() == 6


async def test_an_entry_is_kept_once_and_not_where_the_ledger_has_it(
    pool: asyncpg.Pool, letters: DeadLetters, ledger: PostgresLedger
) -> None:
    store, entry = PostgresDeadLetters(pool), refused_commit()
    assert [await store.put(entry, "error", 5) for _ in range(2)] == [True, True]
    assert await letters.count() == 1
    [done] = await letters.replay("acme", [])
    assert done.written is Written.NEW
    assert await store.put(entry, "error", 5) is False
    assert (await letters.count(), (await ledger.write([entry])).results) == (0, [Written.REPLAYED])


async def test_keys_that_do_not_count_a_dead_letter_or_count_it_twice_are_made_anew(
    pool: asyncpg.Pool,
) -> None:
    store, epochs = PostgresDeadLetters(pool), PostgresEpochs(pool)
    async with epochs.alone("acme") as turn:
        epoch = await turn.begin()

    await store.put(refused_commit(event="1-0", epoch=epoch), "error", 5)
    assert (await epochs.epoch("acme")).broken is False
    await store.put(refused_commit(event="2-0", epoch=epoch), "error", 5)
    assert (await epochs.epoch("acme")).broken is True, "it ran twice"

    async with epochs.alone("acme") as turn:
        await turn.begin()
    await store.put(refused_commit(event="1-0", epoch=epoch), "error", 5)
    assert (await epochs.epoch("acme")).broken is False, "the keys were made with it"
    late = replace(refused_commit(event="3-0", epoch=epoch), key="k")
    await store.put(late, "error", 5)
    assert (await epochs.epoch("acme")).broken is True, "the keys were made without it"


async def test_what_the_ledger_has_by_another_way_counts_once(
    pool: asyncpg.Pool, letters: DeadLetters, ledger: PostgresLedger
) -> None:
    store, epochs, entry = PostgresDeadLetters(pool), PostgresEpochs(pool), refused_commit()
    await store.put(entry, "error", 5)
    await ledger.write([replace(entry, origin=None)])
    async with epochs.alone("acme") as turn:
        await turn.begin()
        windows = await turn.windows(0)
    assert {counters.spent for _, counters in windows} == {entry.charged}
    assert await store.balances("acme") == {}
    assert [each.written for each in await letters.replay("acme", [])] == [Written.REPLAYED]
    assert (await epochs.epoch("acme")).broken is False


async def test_what_the_ledger_saw_end_otherwise_is_settled_late_and_brought_to_keys_made_without_it(
    pool: asyncpg.Pool, letters: DeadLetters, ledger: PostgresLedger
) -> None:
    store, epochs, entry = PostgresDeadLetters(pool), PostgresEpochs(pool), refused_commit()
    await store.put(entry, "error", 5)
    await ledger.write(Life(a_hold()).end(State.RELEASED).entries)
    async with epochs.alone("acme") as turn:
        await turn.begin()
        assert await turn.windows(0) == []

    assert [each.written for each in await letters.replay("acme", [])] == [Written.NEW]

    late = [pending.entry for pending in await epochs.pending("acme", 10) if pending.entry.late]
    assert [(each.key, each.charged) for each in late] == [("r1/late", entry.charged)]


async def test_what_a_dead_letter_carries_into_a_window_is_not_carried_again(pool: asyncpg.Pool) -> None:
    window = WindowRef("team", "", START_MS, None)
    changes = (LimitChange(window, added=refused_commit().charged),)
    rollover = Entry(
        key="roll/team//1",
        content_hash="",
        type=EntryType.ROLLOVER,
        at_ms=START_MS,
        hold=hold_of_changes("acme", changes),
        changes=changes,
        origin=Origin(1, "1-0"),
    )
    await PostgresDeadLetters(pool).put(rollover, "error", 5)
    async with PostgresEpochs(pool).alone("acme") as turn:
        assert await turn.known(["roll/team//1", "roll/team//2"]) == {"roll/team//1"}
        assert [(ref, counters.added) for ref, counters in await turn.windows(0)] == [
            (window, changes[0].added)
        ]


async def test_a_dead_letter_is_one_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []

    class Log:
        def error(self, event: str, **values: object) -> None:
            lines.append((event, values))

    monkeypatch.setattr(telemetry, "log", Log())
    StoreLog().dead_letter("acme", "r1/end", "CheckViolationError 23514")
    [(event, values)] = lines
    assert "dead letter" in event
    assert {name: values[name] for name in ("organization", "key", "error")} == {
        "organization": "acme",
        "key": "r1/end",
        "error": "CheckViolationError 23514",
    }


_CHECK_FAILED = "CheckViolationError 23514 constraint no_poison table {}"


async def _partition(pool: asyncpg.Pool) -> str:
    """The table that has the ledger's entries of this month."""
    name: str = await pool.fetchval("SELECT tableoid::regclass::text FROM ledger_entries LIMIT 1")
    return name


async def audited(client: Client) -> str:
    """What the newest event of the audit trail is about."""
    request = audit_pb2.ListAuditEventsRequest(parent=ACME, page_size=1)
    return (await client.audit.ListAuditEvents(request)).audit_events[0].resource


async def _is_count(letters: DeadLetters, count: int) -> bool:
    return await letters.count() == count


async def _stands(client: Client, expected: tuple[int, int]) -> bool:
    with suppress(grpc.RpcError):
        return await standing(client) == expected
    return False
