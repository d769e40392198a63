"""Keys made anew in Valkey: whoever has lost them to another sets nothing more, whoever has not sets all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from quota_service.application.recovery_ports import LiveHold, Restored
from quota_service.domain.amounts import Amounts
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Keeping
from quota_service.stores.hold_documents import decode_windows, kept
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.looks import ValkeyLooks
from quota_service.stores.valkey.making import KEYS_PASSED_BY, PLACES_MS, SET_BATCH, ValkeyMaking
from quota_service.stores.valkey.recovery import ValkeyKeys
from quota_service.stores.valkey.runner import Runner
from tests.support.commands import draft, window


@pytest.fixture
async def connection(valkey_url: str) -> AsyncIterator[Connection]:
    connection = Connection(valkey_url, timeout_s=10)
    yield connection
    await connection.close()


@pytest.fixture
def runner(connection: Connection, key_prefix: str) -> Runner:
    return Runner(connection, Keys(f"{key_prefix}/"))


@pytest.fixture
def keys(runner: Runner) -> ValkeyKeys:
    return ValkeyKeys(runner)


def spent(*values: str) -> list[Restored]:
    return [Restored(window(each_value=value), Counters(spent=Amounts(5, 5, 1)), None) for value in values]


async def is_set(runner: Runner, value: str) -> bool:
    key = runner.keys.window("acme", window(each_value=value))
    return bool(await runner.connection.call("EXISTS", key))


async def test_what_a_making_still_sends_when_another_has_taken_over_does_nothing(
    runner: Runner, keys: ValkeyKeys
) -> None:
    async with keys.make("acme", await keys.fence("acme"), 7) as older:
        assert await older.clear(every_window=False)
        assert await older.put_windows(spent("u1"))
        async with keys.make("acme", await keys.fence("acme"), 8) as newer:
            assert await newer.clear(every_window=False)
            assert not await older.put_windows(spent("u2"))
            assert not await older.raise_fence(1)
            assert not await is_set(runner, "u2")
            assert await newer.put_windows(spent("u3"))
            assert await newer.raise_fence(1)
    assert await is_set(runner, "u3")
    assert (await keys.fence("acme")).epoch == 8


async def test_what_a_change_of_the_organization_made_void_is_set_once_more(
    runner: Runner, keys: ValkeyKeys
) -> None:
    meta = runner.keys.common("acme")[0]
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_windows(spent("u1"))
        await runner.connection.call("HSET", meta, "time", 5)  # after the fence was seen, before the next
        assert await making.put_windows(spent("u2"))
        assert await making.put_windows(spent("u3"))
    assert [await is_set(runner, value) for value in ("u1", "u2", "u3")] == [True] * 3


async def test_all_windows_are_set_however_many_there_are(runner: Runner, keys: ValkeyKeys) -> None:
    values = [f"u{number}" for number in range(2 * SET_BATCH + 1)]
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_windows(spent(*values))
    assert all([await is_set(runner, value) for value in values])


def live(id_: str, *, each_value: str = "u1") -> LiveHold:
    windows_ = (window(each_value=each_value),)
    return kept(replace(draft("acme", id_, output_tokens=5), windows=windows_, expire_ms=2**41))


async def in_parts(*holds: LiveHold) -> AsyncIterator[Sequence[LiveHold]]:
    for hold in holds:
        yield [hold]


def places_of(hold: LiveHold) -> Sequence[tuple[WindowRef, Keeping | None]]:
    return [(each, None) for each in decode_windows(hold.windows)]


@pytest.mark.parametrize("strangers", [0, 2 * KEYS_PASSED_BY])
async def test_live_holds_that_are_not_set_again_are_forgotten_with_their_windows(
    runner: Runner, keys: ValkeyKeys, strangers: int
) -> None:
    call = runner.connection.call
    stays, goes = (runner.keys.hold("acme", id_) for id_ in ("r1", "r2"))
    counted, index = runner.keys.values("acme", window()), runner.keys.holds("acme")
    for number in range(strangers):
        await call("SET", f"{index}/{number}/strange", "")
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_windows(spent("u1"))
        assert await making.put_holds(in_parts(live("r1"), live("r2")), places_of)
    await call("SADD", counted, "u1")
    assert await call("ZRANGE", index, 0, -1) == [stays.encode(), goes.encode()]
    async with keys.make("acme", await keys.fence("acme"), 8) as making:
        assert await making.clear(every_window=False)
        assert not await is_set(runner, "u1")
        assert not await call("EXISTS", counted)
        assert await making.put_holds(in_parts(live("r1")), places_of)
        assert await making.raise_fence(1)
    assert [await call("EXISTS", key) for key in (stays, goes)] == [1, 0]
    assert await call("ZRANGE", index, 0, -1) == [stays.encode()]


async def test_windows_that_only_the_keys_have_are_forgotten_where_the_keys_are_known_to_be_wrong(
    runner: Runner, keys: ValkeyKeys
) -> None:
    counted = runner.keys.values("acme", window())
    for every_window in (False, True):
        async with keys.make("acme", await keys.fence("acme"), 7) as making:
            assert await making.clear(every_window=False)
            assert await making.put_windows(spent("u1"))
        await runner.connection.call("SADD", counted, "u1")
        async with keys.make("acme", await keys.fence("acme"), 8) as making:
            assert await making.clear(every_window=every_window)
        assert await is_set(runner, "u1") is not every_window
        assert await runner.connection.call("SISMEMBER", counted, "u1") is not every_window


async def test_a_hold_whose_key_was_to_be_forgotten_is_kept(runner: Runner, keys: ValkeyKeys) -> None:
    hold = live("r1")
    own, again = runner.keys.hold("acme", "r1"), runner.keys.idempotency("acme", hold.idempotency_key)
    for command in (("HSET", own, "marks", "old"), ("SET", again, "old")):
        await runner.connection.call(*command)
        await runner.connection.call("PEXPIRE", command[1], 60_000)
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_holds(in_parts(hold), places_of)
    assert [await runner.connection.call("PTTL", key) for key in (own, again)] == [-1, -1]


async def test_holds_that_were_set_are_read_by_whoever_reads_holds(runner: Runner, keys: ValkeyKeys) -> None:
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_holds(in_parts(live("r1"), live("r2")), places_of)
        assert await making.raise_fence(1)
    keys.adopt("acme", 7)
    holds = ValkeyHoldStore(runner)
    looks = ValkeyLooks(runner, holds)
    for _ in range(2):  # the first script that reads one keeps it in another way
        moment = await looks.moment("acme", [window()])
        assert moment.holds is not None
        assert [(each.reservation, each.windows) for each in moment.holds] == [
            ("r1", (window(each_value="u1"),)),
            ("r2", (window(each_value="u1"),)),
        ]
        [part] = [part async for part in looks.holds("acme")]
        assert [each.reservation for each in part] == ["r1", "r2"]
        assert [each.reservation for each in (await holds.live("acme", "", 5)).items] == ["r1", "r2"]
        found = await holds.get("acme", "r1")
        assert found is not None
        assert kept(found) == live("r1")


async def test_a_hold_of_which_nobody_tells_where_it_counts_is_not_there(
    runner: Runner, keys: ValkeyKeys
) -> None:
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear(every_window=False)
        assert await making.put_holds(in_parts(live("r1")), places_of)
        assert await making.raise_fence(1)
    keys.adopt("acme", 7)
    places = runner.keys.places("acme")
    assert 0 < await runner.connection.call("PTTL", places) <= PLACES_MS
    await runner.connection.call("DEL", places)
    assert await ValkeyHoldStore(runner).get("acme", "r1") is None


async def test_a_lost_connection_ends_the_making(
    connection: Connection, runner: Runner, keys: ValkeyKeys
) -> None:
    seen = await keys.fence("acme")
    async with connection.apart() as own:
        making = ValkeyMaking(connection, (own,), runner.keys, "acme", seen, 7)
        assert await making.clear(every_window=False)
        assert await making.put_windows(spent("u1"))
        own.close()
        with pytest.raises(StoreUnavailable):
            await making.put_windows(spent("u2"))
    assert not await is_set(runner, "u2")
