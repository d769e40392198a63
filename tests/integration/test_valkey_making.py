"""Keys made anew in Valkey: whoever has lost them to another sets nothing more, whoever has not sets all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from quota_service.application.recovery_ports import LiveHold, Restored
from quota_service.domain.amounts import Amounts
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.terms import Counters
from quota_service.embedded.valkey import EmbeddedValkey
from quota_service.stores.hold_documents import kept, whole_hold
from quota_service.stores.valkey import codec
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.looks import ValkeyLooks
from quota_service.stores.valkey.making import KEYS_PASSED_BY, SET_BATCH, ValkeyMaking
from quota_service.stores.valkey.recovery import ValkeyKeys
from quota_service.stores.valkey.replying import information
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
        assert await older.clear()
        assert await older.put_windows(spent("u1"))
        async with keys.make("acme", await keys.fence("acme"), 8) as newer:
            assert await newer.clear()
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
        assert await making.clear()
        assert await making.put_windows(spent("u1"))
        await runner.connection.call("HSET", meta, "time", 5)  # after the fence was seen, before the next
        assert await making.put_windows(spent("u2"))
        assert await making.put_windows(spent("u3"))
    assert [await is_set(runner, value) for value in ("u1", "u2", "u3")] == [True] * 3


async def test_all_windows_are_set_however_many_there_are(runner: Runner, keys: ValkeyKeys) -> None:
    values = [f"u{number}" for number in range(2 * SET_BATCH + 1)]
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear()
        assert await making.put_windows(spent(*values))
    assert all([await is_set(runner, value) for value in values])


def live(id_: str, *, each_value: str = "u1") -> LiveHold:
    windows_ = (window(each_value=each_value),)
    return kept(replace(draft("acme", id_, output_tokens=5), windows=windows_, expire_ms=2**41))


async def in_parts(*holds: LiveHold) -> AsyncIterator[Sequence[LiveHold]]:
    for hold in holds:
        yield [hold]


async def make(keys: ValkeyKeys, epoch: int, *holds: LiveHold) -> None:
    """Makes the keys anew with these holds and nothing in any window."""
    async with keys.make("acme", await keys.fence("acme"), epoch) as making:
        assert await making.clear()
        assert await making.forget_windows(every=False)
        assert await making.put_holds(in_parts(*holds))
        assert await making.raise_fence(1)
    keys.adopt("acme", epoch)


@pytest.mark.parametrize("strangers", [0, 2 * KEYS_PASSED_BY])
async def test_windows_of_live_holds_that_are_not_set_again_are_forgotten(
    runner: Runner, keys: ValkeyKeys, strangers: int
) -> None:
    call = runner.connection.call
    for number in range(strangers):
        await call("SET", f"{runner.keys.holds('acme')}/{number}/strange", "")
    await make(keys, 7, live("r1"), live("r2", each_value="u2"))
    await ValkeyHoldStore(runner).get("acme", "r2")  # is kept in another way from now on
    for value in ("u1", "u2"):
        each = window(each_value=value)
        await call("SET", runner.keys.window("acme", each), codec.pack(Counters()))
        await call("SADD", runner.keys.values("acme", each), value)
    async with keys.make("acme", await keys.fence("acme"), 8) as making:
        assert await making.clear()
        async with keys.make("acme", await keys.fence("acme"), 9) as again:
            assert await again.clear()
            assert not await making.forget_windows(every=False)
            assert await is_set(runner, "u1")
            assert await again.forget_windows(every=False)
    assert [await is_set(runner, value) for value in ("u1", "u2")] == [False, False]
    assert not await call("EXISTS", runner.keys.values("acme", window()))


@pytest.mark.parametrize("is_read", [False, True])
async def test_live_holds_of_an_earlier_epoch_are_not_there_and_are_forgotten_in_time(
    runner: Runner, keys: ValkeyKeys, *, is_read: bool
) -> None:
    holds, looks = ValkeyHoldStore(runner), ValkeyLooks(runner, ValkeyHoldStore(runner))
    await make(keys, 7, live("r1"), live("r2"))
    if is_read:
        assert all([await holds.get("acme", each) for each in ("r1", "r2")])
    await make(keys, 8, live("r1"))
    assert await holds.get("acme", "r2") is None
    assert [each.reservation for each in (await holds.live("acme", "", 5)).items] == ["r1"]
    moment = await looks.moment("acme", [])
    assert [each.reservation for each in moment.holds or ()] == ["r1"]
    assert await looks.live_among("acme", ["r1", "r2"]) == {"r1"}
    while await holds.sweep("acme"):
        pass
    left = {key.decode() for key in await runner.connection.call("KEYS", f"{runner.keys.hold('acme', '')}*")}
    [own] = left
    assert own.startswith(runner.keys.hold("acme", "r1"))
    keys_of_calls = await runner.connection.call("KEYS", f"{runner.keys.idempotency('acme', '')}*")
    assert keys_of_calls == [runner.keys.idempotency("acme", live("r1").idempotency_key).encode()]
    assert not await runner.connection.call("EXISTS", runner.keys.left("acme"))
    found = await holds.get("acme", "r1")
    assert found is not None
    assert kept(found) == live("r1")


async def test_keys_that_are_made_anew_again_before_what_was_left_is_forgotten_leave_more(
    runner: Runner, keys: ValkeyKeys
) -> None:
    await make(keys, 7, live("r1"))
    await make(keys, 8, live("r2"))
    await make(keys, 9, live("r3"))
    left = await runner.connection.call("ZRANGE", runner.keys.left("acme"), 0, -1)
    assert left == [b"r1", b"r2"]


async def test_the_idempotency_key_of_a_hold_that_is_gone_is_kept_where_another_hold_has_it(
    runner: Runner, keys: ValkeyKeys
) -> None:
    await make(keys, 7, live("r1"))
    await make(keys, 8)
    again = runner.keys.idempotency("acme", live("r1").idempotency_key)
    await runner.connection.call("SET", again, f"hash {runner.keys.hold('acme', 'r2')}")
    await ValkeyHoldStore(runner).sweep("acme")
    assert await runner.connection.call("EXISTS", again)


async def test_what_is_left_is_forgotten_at_once_where_memory_is_short(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", durable=False)
    await server.start()
    connection = Connection(server.url, timeout_s=10)
    try:
        runner = Runner(connection, Keys(""))
        keys, call = ValkeyKeys(runner), connection.call
        await make(keys, 7, live("r1"))
        await call("SET", runner.keys.window("acme", window(each_value="u1")), "")
        used = information(await call("INFO", "memory"))["used_memory"]
        await call("CONFIG", "SET", "maxmemory", int(used) * 3 // 2)
        async with keys.make("acme", await keys.fence("acme"), 8) as making:
            assert await making.clear()
        assert not await is_set(runner, "u1")
        assert not await call("EXISTS", runner.keys.left("acme"))
        assert not await call("KEYS", f"{runner.keys.hold('acme', '')}*")
    finally:
        await connection.close()
        await server.stop()


async def test_windows_that_only_the_keys_have_are_forgotten_where_the_keys_are_known_to_be_wrong(
    runner: Runner, keys: ValkeyKeys
) -> None:
    counted = runner.keys.values("acme", window())
    for every_window in (False, True):
        async with keys.make("acme", await keys.fence("acme"), 7) as making:
            assert await making.clear()
            assert await making.put_windows(spent("u1"))
        await runner.connection.call("SADD", counted, "u1")
        async with keys.make("acme", await keys.fence("acme"), 8) as making:
            assert await making.clear()
            assert await making.forget_windows(every=every_window)
        assert await is_set(runner, "u1") is not every_window
        assert await runner.connection.call("SISMEMBER", counted, "u1") is not every_window


async def test_a_hold_whose_key_was_to_be_forgotten_is_kept(runner: Runner, keys: ValkeyKeys) -> None:
    hold = live("r1")
    own, again = runner.keys.hold("acme", "r1"), runner.keys.idempotency("acme", hold.idempotency_key)
    for key in (own, again):
        await runner.connection.call("SET", key, "old", "PX", 60_000)
    await make(keys, 7, hold)
    assert [await runner.connection.call("PTTL", key) for key in (own, again)] == [-1, -1]
    assert await ValkeyHoldStore(runner).get("acme", "r1") == whole_hold(hold)


async def test_holds_that_were_set_are_read_by_whoever_reads_holds(runner: Runner, keys: ValkeyKeys) -> None:
    async with keys.make("acme", await keys.fence("acme"), 7) as making:
        assert await making.clear()
        assert await making.put_holds(in_parts(live("r1"), live("r2")))
        assert await making.raise_fence(1)
    keys.adopt("acme", 7)
    holds = ValkeyHoldStore(runner)
    looks = ValkeyLooks(runner, holds)
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


async def test_a_lost_connection_ends_the_making(
    connection: Connection, runner: Runner, keys: ValkeyKeys
) -> None:
    seen = await keys.fence("acme")
    async with connection.apart() as own:
        making = ValkeyMaking(connection, (own,), runner.keys, "acme", seen, 7)
        assert await making.clear()
        assert await making.put_windows(spent("u1"))
        own.close()
        with pytest.raises(StoreUnavailable):
            await making.put_windows(spent("u2"))
    assert not await is_set(runner, "u2")
