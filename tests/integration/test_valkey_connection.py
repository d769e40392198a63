"""What a call meets when Valkey is slow, silent or gone: an error in time, and never a second run."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.errors import StoreUnavailable
from quota_service.embedded.process import until
from quota_service.embedded.valkey import EmbeddedValkey
from quota_service.stores.valkey.keys import LAYOUT
from tests.support.commands import (
    authorize,
    commit,
    draft,
    granted,
    inspect,
    inspected,
    settled,
    term,
    window,
)
from tests.support.valkey import Proxy, Stores, opened

ROOMY = Limits(1_000, 1_000, 1_000)
TIMEOUT_S = 0.4


async def _let_it_know_the_scripts(stores: Stores, organization: str) -> None:
    """A script that the server has never seen takes a second command, and is not run by the first."""
    await stores.holds.commit(commit(draft(organization, "nobody's")))
    await stores.holds.inspect(inspect(organization, window()))


async def test_a_reply_that_is_too_late_is_an_error_and_the_command_is_never_sent_again(
    valkey_url: str, key_prefix: str
) -> None:
    hold, limited = draft(key_prefix, "r"), term(ceilings=ROOMY)
    async with Proxy(valkey_url) as proxy, opened(proxy.url, timeout_s=TIMEOUT_S) as stores:
        await stores.holds.authorize(authorize(hold, limited))
        await _let_it_know_the_scripts(stores, key_prefix)
        proxy.mute()
        proxy.sent = b""
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await stores.holds.commit(commit(hold, 10))
        assert time.monotonic() - began < 2
        found = inspected(await stores.holds.inspect(inspect(key_prefix, window())))[0]
        assert found.spent == Amounts(10, 10, 1)  # it did run: only the caller, who has a key, may repeat it
        assert proxy.sent.count(b"EVALSHA") == 2
        assert settled(await stores.holds.commit(commit(hold, 10))).replayed


async def test_all_calls_behind_a_late_reply_fail_together(valkey_url: str, key_prefix: str) -> None:
    async with Proxy(valkey_url) as proxy, opened(proxy.url, timeout_s=TIMEOUT_S) as stores:
        await stores.connection.call("PING")
        proxy.mute()
        began = time.monotonic()
        calls = (stores.holds.authorize(authorize(draft(key_prefix, f"r{n}"), term())) for n in range(50))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert time.monotonic() - began < 3


async def test_callers_do_not_wait_for_one_vain_attempt_to_connect_after_the_other() -> None:
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, opened(f"redis://127.0.0.1:{port}", timeout_s=TIMEOUT_S) as stores:
        began = time.monotonic()
        calls = (stores.connection.call("PING") for _ in range(50))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert time.monotonic() - began < 3


async def test_a_server_that_is_not_there_is_unavailable_at_once(free_port: int) -> None:
    async with opened(f"redis://127.0.0.1:{free_port}") as stores:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await stores.connection.call("PING")
        assert time.monotonic() - began < 1


async def test_a_lost_connection_fails_its_calls_and_the_next_call_has_a_new_one(
    valkey_url: str, key_prefix: str
) -> None:
    hold = draft(key_prefix, "r")
    async with Proxy(valkey_url) as proxy, opened(proxy.url) as stores:
        await stores.holds.authorize(authorize(hold, term()))
        await _let_it_know_the_scripts(stores, key_prefix)
        proxy.mute()
        waiting = asyncio.create_task(stores.holds.commit(commit(hold)))
        await asyncio.sleep(0.05)
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await waiting
        assert settled(await stores.holds.commit(commit(hold))).replayed


async def test_a_caller_that_gives_up_does_not_disturb_the_replies_of_others(
    valkey_url: str, key_prefix: str
) -> None:
    async with opened(valkey_url) as stores:
        await stores.connection.call("PING")
        hold, other = draft(key_prefix, "r1"), draft(key_prefix, "r2")
        given_up = asyncio.create_task(stores.holds.authorize(authorize(hold, term())))
        patient = asyncio.create_task(stores.holds.authorize(authorize(other, term())))
        await asyncio.sleep(0)
        given_up.cancel()
        assert granted(await patient).hold.reservation == "r2"
        assert granted(await stores.holds.authorize(authorize(hold, term()))).hold.reservation == "r1"


async def test_a_connection_knows_the_run_of_the_server_that_it_has_reached(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", durable=False)
    await server.start()
    try:
        async with opened(server.url) as stores:
            connection = stores.connection
            assert connection.known_run_id == ""
            first = await connection.run_id()
            assert re.fullmatch(f"[0-9a-f]{{40}}/{LAYOUT}", first)
            assert connection.known_run_id == first
            await server.stop()
            await server.start()
            assert await _until(lambda: connection.known_run_id not in ("", first))
            assert await connection.run_id() == connection.known_run_id
    finally:
        await server.stop()


async def test_asking_for_the_run_of_a_server_that_is_not_there_is_unavailable(free_port: int) -> None:
    async with opened(f"redis://127.0.0.1:{free_port}") as stores:
        with pytest.raises(StoreUnavailable):
            await stores.connection.run_id()
        assert stores.connection.known_run_id == ""


async def _until(condition: Callable[[], bool]) -> bool:
    return await until(condition, timeout_s=10)
