"""How long an organization's keys take to be made anew from the ledger: `python -m benchmarks.recovery`.

Fills a ledger with windows and open holds, as many as are asked for, and has the keys established some times
over: on an empty Valkey, or (`--stale`) on one that has come back with what it had, as an older copy does.
The target is 2 s for 10,000 windows and 100,000 holds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

from benchmarks.processes import processor_ticks, stolen_percent
from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.health import Health
from quota_service.application.recovery import Recovery
from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.budget import Budget
from quota_service.domain.errors import QuotaError
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Subject
from quota_service.embedded import EmbeddedStores
from quota_service.stores.hold_documents import encode_kept
from quota_service.stores.postgres import documents, migrate
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, open_pool
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.prices import GenaiAliases
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.recovery import ValkeyKeys, fence_of
from quota_service.stores.valkey.runner import Runner
from quota_service.telemetry import StoreLog

TARGET_S = 2.0
HOUR_MS = 3_600_000
BUDGETS = 10

_BALANCES = """
INSERT INTO window_balances (organization, budget, each_value, window_start, window_end,
    spent_cost_micros, spent_tokens, spent_requests, overrun_cost_micros, overrun_tokens, overrun_requests)
SELECT 'acme', 'budget-' || n % 10, 'user-' || n, to_timestamp($2), to_timestamp($3), n, n, 1, 0, 0, 0
FROM generate_series(1, $1::int) AS n
"""

_HOLDS = """
INSERT INTO open_holds (organization, reservation, kept, progress, expire_time)
SELECT 'acme', r, k, 1, to_timestamp(e / 1000.0)
FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS t (r, k, e)
"""


class NoWatch:
    """Nobody looks at what is spent."""

    async def charged(self, balances: object) -> None: ...


def hold(number: int, windows: int, start_ms: int) -> Hold:
    """One live hold in four windows."""
    refs = tuple(
        WindowRef(f"budget-{user % BUDGETS}", f"user-{user}", start_ms, start_ms + 1_000 * HOUR_MS)
        for user in ((number * 4 + position) % windows + 1 for position in range(4))
    )
    return Hold(
        organization="acme",
        reservation=f"0193{number:08x}-0000-7000-8000-{number:012x}",
        idempotency_key=f"request-{number}",
        content_hash=f"{number:032x}",
        subject=Subject(organization="acme", team="engineering", user=f"user-{number % 1000}", api_key="key"),
        provider="openai",
        model="gpt-4o",
        requested_model="gpt-4o",
        rates=(),
        input_tokens=1_000,
        windows=refs,
        granted_output_tokens=500,
        held=Amounts(7_500, 1_500, 1),
        create_ms=start_ms,
        expire_ms=start_ms + 500 * HOUR_MS + number,
    )


def budget(number: int) -> Budget:
    """One that counts every user, or, one in five, every value of a tag."""
    each = Each(dimension=Dimension.USER)
    if number % 5 == 0:
        each = Each(dimension=Dimension.TAG, tag="feature", max_values=100_000)
    return Budget(id=f"budget-{number}", scope=Scope(each=each), limits=Limits(cost_micros=10_000_000))


async def fill(pool: asyncpg.Pool, windows: int, holds: int, start_ms: int) -> None:
    """The ledger as it would be, without its entries."""
    await pool.execute(
        "INSERT INTO organizations (id, document, version, settings_version, first_version)"
        " VALUES ('acme', '{\"id\": \"acme\"}', 1, 1, 1)"
    )
    budgets = [(each.id, documents.encode(each)) for each in map(budget, range(BUDGETS))]
    await pool.executemany(
        "INSERT INTO resources (organization, kind, id, document, version)"
        " VALUES ('acme', 'budget', $1, $2, 1)",
        budgets,
    )
    end_ms = start_ms + 1_000 * HOUR_MS
    await pool.execute(_BALANCES, windows, start_ms / 1000, end_ms / 1000, timeout=60)
    made = (hold(number, windows, start_ms) for number in range(holds))
    rows = [(each.reservation, encode_kept(each), each.expire_ms) for each in made]
    for start in range(0, len(rows), 5_000):
        await pool.execute(
            _HOLDS,
            *map(list, zip(*rows[start : start + 5_000], strict=True)),
        )


async def measure(windows: int, holds: int, rounds: int, *, is_stale: bool) -> list[float]:
    """Seconds, one a round."""
    with tempfile.TemporaryDirectory(prefix="quota-recovery-") as directory:
        async with EmbeddedStores(Path(directory)) as stores:
            await asyncio.to_thread(migrate.migrate, stores.postgres_url)
            pool = await open_pool(PoolSettings(url=stores.postgres_url))
            connection = Connection(stores.valkey_url)
            start_ms = int(time.time() * 1000) - HOUR_MS
            await fill(pool, windows, holds, start_ms)
            took = []
            for number in range(rounds + is_stale):
                if is_stale and number:
                    await age(Runner(connection, Keys("")))
                    await stores.valkey.stop()
                    await stores.valkey.start()
                    await reached(connection)
                else:
                    await connection.call("FLUSHALL")
                took.append(await one_round(pool, connection, holds))
            await connection.close()
            await pool.close()
            return took[is_stale:]


async def reached(connection: Connection) -> None:
    """Waits until it is connected again."""
    with contextlib.suppress(QuotaError):
        await connection.call("PING")
    while not connection.available:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0.05)


async def one_round(pool: asyncpg.Pool, connection: Connection, holds: int) -> float:
    runner = Runner(connection, Keys(""))
    delivery = Delivery(PostgresLedger(pool), PostgresDeadLetters(pool), StoreLog())
    configurations = Configurations(PostgresConfigurationStore(pool), GenaiAliases(), Health())
    recovery = Recovery(
        ValkeyKeys(runner), PostgresEpochs(pool), delivery, configurations, NoWatch(), Health(), StoreLog()
    )
    begun, own, ticks = time.monotonic(), time.process_time(), processor_ticks()
    await recovery.establish("acme")
    took_s = time.monotonic() - begun
    print(
        f"{took_s:.2f} s, of which this process worked {time.process_time() - own:.2f} s;"
        f" {stolen_percent(ticks, processor_ticks()):.0f} % of the processors were stolen",
        flush=True,
    )
    found = await connection.call("ZCARD", Keys("").holds("acme"))
    if found != holds:
        raise QuotaError(f"{found} of {holds} holds were restored")
    return took_s


async def age(runner: Runner) -> None:
    """Has every hold read by a script, as holds are in daily work, and what was left forgotten."""
    meta, index, _ = runner.keys.common("acme")
    fence = fence_of((await runner.connection.call("HGET", meta, "fence")).decode(), "")
    runner.adopt("acme", fence.epoch)
    store = ValkeyHoldStore(runner)
    found = [id_.decode() for id_ in await runner.connection.call("ZRANGE", index, 0, -1)]
    for start in range(0, len(found), 1_000):
        await asyncio.gather(*(store.get("acme", each) for each in found[start : start + 1_000]))
    while await store.sweep("acme"):
        pass


def main() -> int:
    """Exit code 1: the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--holds", type=int, default=100_000)
    parser.add_argument("--stale", action="store_true", help="Valkey is full of keys of another time")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    gc.collect()
    gc.freeze()  # as the service does once it is warm
    took = uvloop.run(measure(given.windows, given.holds, given.rounds, is_stale=given.stale))
    print(
        f"{given.windows:,} windows and {given.holds:,} holds: median {median(took):.2f} s of"
        f" {', '.join(f'{each:.2f}' for each in took)} (target {TARGET_S:g} s)"
    )
    return int(median(took) > TARGET_S)


if __name__ == "__main__":
    sys.exit(main())
