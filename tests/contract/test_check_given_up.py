"""A Check that nobody waits for any more leaves nothing held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import grpc
import pytest

from tests.support.envoy import Envoy, check_request, entries, error, reservation, status
from tests.support.phases import founded
from tests.support.proxy import Mode, Proxy
from tests.support.service import Client, running_service


@pytest.fixture
async def slow(valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[tuple[Client, Proxy]]:
    """A server with a slow line to Valkey."""
    target = urlsplit(valkey_url)
    proxy = Proxy(target.hostname or "", target.port or 0)
    there = target._replace(netloc=f"{target.netloc.rpartition('@')[0]}@127.0.0.1:{await proxy.start()}")
    async with running_service(there.geturl(), postgres_url, key_prefix) as client:
        yield client, proxy
    await proxy.close()


async def nothing_more_held(client: Client, kept_micros: int) -> None:
    """Than one hold of that much: within a second, and after something was."""
    for _ in range(20):
        await asyncio.sleep(0.05)
        held, returned = await entries(client, "HOLD"), await entries(client, "RELEASE")
        [state] = await client.status("engineering")
        if len(held) > 1 and len(returned) == len(held) - 1 and state.held == kept_micros:
            return
    pytest.fail("something more is held, or nothing ever was")


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_check_that_takes_too_long_or_is_given_up_holds_nothing_a_second_later(
    slow: tuple[Client, Proxy], how: str
) -> None:
    client, proxy = slow
    headers, envoy = await founded(client), Envoy(client)
    assert status(await envoy.check(check_request(b"", path="/v1/models"))) == 200
    assert status(await envoy.check(check_request(headers=headers))) == 200  # by now all is warm
    [kept] = await client.status("engineering")
    # Both ways: the key is known after 0.6 s, the hold is made after 0.9, and told of after 1.2.
    await proxy.switch(Mode.DELAY, delay_s=0.3)
    call = envoy.check(check_request(headers=headers), timeout=1.3 if how == "deadline" else None)
    if how == "cancel":
        await asyncio.sleep(1.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    else:
        denied = await call  # in time: without an answer Envoy might let it pass
        assert (status(denied), error(denied)["code"]) == (503, "deadline_passed")
    await proxy.switch(Mode.PASS)
    await nothing_more_held(client, kept.held)


async def test_an_answer_that_would_come_too_late_is_none(client: Client) -> None:
    headers, envoy = await founded(client), Envoy(client)
    heard = [await envoy.check(check_request(headers=headers))]  # by now all is warm
    for milliseconds in (5, 10, 15, 20, 24, 26, 28, 30, 40, 60):
        with suppress(grpc.aio.AioRpcError):
            heard.append(await envoy.check(check_request(headers=headers), timeout=milliseconds / 1_000))
    kept = [each for each in heard if status(each) == 200]
    await asyncio.sleep(1)
    held, returned = await entries(client, "HOLD"), await entries(client, "RELEASE")
    assert returned
    assert len(held) - len(returned) == len(kept)
    [state] = await client.status("engineering")
    assert state.held == sum([(await reservation(client, each)).held.cost_micros for each in kept])
