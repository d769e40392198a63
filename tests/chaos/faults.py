"""What is done to a world. Each fault lasts a moment and heals what it did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import redis.asyncio
import redis.exceptions

from tests.chaos.journal import Journal, Loss
from tests.chaos.world import World
from tests.support.proxy import Mode

DELAY_S = (0.01, 0.15)
PATIENCE_S, POLL_S = 2.0, 0.05
COPY_AGE_S = (0.3, 3.0)
"""How old the copy is that Valkey is put back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a fault works with. `lasts_s`: how long the world stays broken."""

    world: World
    journal: Journal
    random: Random
    lasts_s: float


Fault = Callable[[Scope], Awaitable[None]]


async def _kill_server(scope: Scope) -> None:
    replica = scope.random.choice(scope.world.replicas)
    replica.kill()
    await asyncio.sleep(scope.lasts_s)
    await replica.start()


async def _kill_all_servers(scope: Scope) -> None:
    for replica in scope.world.replicas:
        replica.kill()
    await asyncio.sleep(scope.lasts_s / 2)
    await _start_servers(scope)


async def _stop_server(scope: Scope) -> None:
    """A rolling restart's step."""
    replica = scope.random.choice(scope.world.replicas)
    await replica.stop()
    await replica.start()


async def _pause_server(scope: Scope) -> None:
    replica = scope.random.choice(scope.world.replicas)
    replica.pause()
    await asyncio.sleep(scope.lasts_s)
    replica.resume()


async def _kill_valkey(scope: Scope) -> None:
    scope.world.valkey.kill()
    await asyncio.sleep(scope.lasts_s)
    await scope.world.valkey.start()


async def _pause_valkey(scope: Scope) -> None:
    scope.world.valkey.pause()
    await asyncio.sleep(scope.lasts_s)
    scope.world.valkey.resume()


async def _flush_valkey(scope: Scope) -> None:
    """Its data are gone, and it is still the same process."""
    began_s = time.time()
    with contextlib.suppress(redis.exceptions.ConnectionError):  # another fault has just ended it
        async with redis.asyncio.from_url(scope.world.valkey.url) as client:
            await client.flushall()
    _lost(scope, "flush-valkey", 0.0, began_s)


async def _empty_valkey(scope: Scope) -> None:
    began_s = time.time()
    await scope.world.valkey.empty()
    _lost(scope, "empty-valkey", 0.0, began_s)


async def _roll_back_valkey(scope: Scope) -> None:
    since_s = time.time()
    scope.world.valkey.copy_data()
    await asyncio.sleep(scope.random.uniform(*COPY_AGE_S) * min(1.0, scope.lasts_s))
    began_s = time.time()
    await scope.world.valkey.restore_copy()
    _lost(scope, "roll-back-valkey", since_s, began_s)


async def _lose_what_is_buffered(scope: Scope) -> None:
    """PostgreSQL is halted, so that charges stay in Valkey alone; then Valkey is emptied."""
    scope.world.postgres.pause()
    await asyncio.sleep(scope.lasts_s)
    began_s = time.time()
    await scope.world.valkey.empty()
    _lost(scope, "lose-what-is-buffered", 0.0, began_s)
    scope.world.postgres.resume()


async def _roll_back_without_postgres(scope: Scope) -> None:
    """The same with an older copy, and with a PostgreSQL that comes back only after Valkey."""
    since_s = time.time()
    scope.world.valkey.copy_data()
    scope.world.postgres.kill()
    await asyncio.sleep(scope.lasts_s)
    began_s = time.time()
    await scope.world.valkey.restore_copy()
    _lost(scope, "roll-back-without-postgres", since_s, began_s)
    await scope.world.postgres.start()


async def _kill_postgres(scope: Scope) -> None:
    scope.world.postgres.kill()
    await asyncio.sleep(scope.lasts_s)
    await scope.world.postgres.start()


async def _pause_postgres(scope: Scope) -> None:
    scope.world.postgres.pause()
    await asyncio.sleep(scope.lasts_s)
    scope.world.postgres.resume()


async def _kill_server_and_valkey(scope: Scope) -> None:
    scope.random.choice(scope.world.replicas).kill()
    await _kill_valkey(scope)
    await _start_servers(scope)


async def _kill_server_and_postgres(scope: Scope) -> None:
    scope.random.choice(scope.world.replicas).kill()
    await _kill_postgres(scope)
    await _start_servers(scope)


async def _kill_both_stores(scope: Scope) -> None:
    scope.world.valkey.kill()
    scope.world.postgres.kill()
    await asyncio.sleep(scope.lasts_s)
    await asyncio.gather(scope.world.valkey.start(), scope.world.postgres.start())


async def _restart_everything(scope: Scope) -> None:
    for part in scope.world.processes:
        part.kill()
    await asyncio.gather(scope.world.valkey.start(), scope.world.postgres.start())
    await _start_servers(scope)


async def _start_servers(scope: Scope) -> None:
    await asyncio.gather(*(replica.start() for replica in scope.world.replicas))


async def _on_the_way(scope: Scope, place: str, mode: Mode) -> None:
    """One replica's way to a store, or all of them; one way of clients."""
    routes = scope.world.routes(place)
    if place == "clients" or scope.random.random() < 0.5:
        routes = [scope.random.choice(routes)]
    lost_before = await scope.world.proxies.lost()
    await scope.world.switch(routes, mode, delay_s=scope.random.uniform(*DELAY_S))
    await asyncio.sleep(scope.lasts_s)
    if mode is Mode.SWALLOW:
        await _until_lost(scope, lost_before + 1)
    await scope.world.switch(routes, Mode.PASS)


async def _until_lost(scope: Scope, replies: int) -> None:
    """Goes on until some reply has been swallowed, if anybody gets one."""
    for _ in range(round(PATIENCE_S / POLL_S)):
        if await scope.world.proxies.lost() >= replies:
            return
        await asyncio.sleep(POLL_S)


def _lost(scope: Scope, fault: str, since_s: float, began_s: float) -> None:
    scope.journal.tell(Loss(fault=fault, since_s=since_s, began_s=began_s, ended_s=time.time()))


_ALONE: Mapping[str, Fault] = {
    "kill-server": _kill_server,
    "kill-all-servers": _kill_all_servers,
    "stop-server": _stop_server,
    "pause-server": _pause_server,
    "kill-valkey": _kill_valkey,
    "pause-valkey": _pause_valkey,
    "flush-valkey": _flush_valkey,
    "empty-valkey": _empty_valkey,
    "roll-back-valkey": _roll_back_valkey,
    "lose-what-is-buffered": _lose_what_is_buffered,
    "roll-back-without-postgres": _roll_back_without_postgres,
    "kill-postgres": _kill_postgres,
    "pause-postgres": _pause_postgres,
    "kill-server-and-valkey": _kill_server_and_valkey,
    "kill-server-and-postgres": _kill_server_and_postgres,
    "kill-both-stores": _kill_both_stores,
    "restart-everything": _restart_everything,
}
FAULTS: Mapping[str, Fault] = {
    **_ALONE,
    **{
        f"{place}-{mode}": partial(_on_the_way, place=place, mode=mode)
        for place in ("valkey", "postgres", "clients")
        for mode in Mode
        if mode is not Mode.PASS
    },
}
"""Every kind of fault by its name."""

LOSING_DATA = (
    "flush-valkey",
    "empty-valkey",
    "roll-back-valkey",
    "lose-what-is-buffered",
    "roll-back-without-postgres",
)
"""Those that take data from Valkey."""
