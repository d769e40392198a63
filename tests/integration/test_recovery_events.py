"""What still waits for the ledger when keys are made anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.health import Health
from quota_service.application.ledger_ports import WindowBalance
from quota_service.application.recovery import Recovery
from quota_service.domain.commands import Event
from quota_service.domain.reservation import Hold
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.prices import GenaiAliases
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.events import REMEMBER_MS
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.recovery import ValkeyKeys
from quota_service.stores.valkey.runner import Runner
from quota_service.telemetry import StoreLog
from tests.support.commands import authorize, commit, draft, granted, settled, term, window

NO_TTL = -1
NEWEST = 1_000_000


class NobodyWatches:
    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        pass


class Watched(Delivery):
    """Something happens whenever it has carried events."""

    async def carry(self, events: Sequence[Event]) -> Sequence[WindowBalance]:
        balances = await super().carry(events)
        await self.then()
        return balances

    async def then(self) -> None:
        """Nothing, unless a test says otherwise."""


class Replica:
    """As far as recovery needs one; nobody writes its events."""

    def __init__(self, connection: Connection, prefix: str, pool: asyncpg.Pool) -> None:
        self.connection = connection
        self.runner = Runner(connection, Keys(prefix))
        self.holds, self.keys = ValkeyHoldStore(self.runner), ValkeyKeys(self.runner)
        self.delivery = Watched(PostgresLedger(pool), PostgresDeadLetters(pool), StoreLog())
        self.recovery = Recovery(
            self.keys,
            PostgresEpochs(pool),
            self.delivery,
            Configurations(PostgresConfigurationStore(pool), GenaiAliases(), Health()),
            NobodyWatches(),
            Health(),
            StoreLog(),
        )
        self.runner.establish = self.recovery.establish

    async def hold(self, name: str) -> Hold:
        hold = draft("acme", name, windows=(window(),))
        return granted(await self.holds.authorize(authorize(hold, term(), version=NEWEST))).hold

    async def waiting(self) -> tuple[int, int]:
        """How many bytes are counted, and how many events there are."""
        meta, _, events = self.runner.keys.common("acme")
        counted = await self.connection.call("HGET", meta, "waiting")
        return int(counted or 0), int(await self.connection.call("XLEN", events))

    async def time_left_ms(self, key: str) -> int:
        return int(await self.connection.call("PTTL", key))


@pytest.fixture
async def replicas(
    valkey_url: str, key_prefix: str, pool: asyncpg.Pool, store: PostgresConfigurationStore
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two, of organization `acme`."""
    connections = [Connection(valkey_url, timeout_s=10) for _ in range(2)]
    one, other = (Replica(connection, f"{key_prefix}/", pool) for connection in connections)
    yield one, other
    for connection in connections:
        await connection.close()


async def fence_off(replica: Replica) -> None:
    """As if these were the keys of a server that is no more."""
    meta = replica.runner.keys.common("acme")[0]
    await replica.connection.call("HSET", meta, "fence", "1 another")


async def test_what_was_carried_is_forgotten_like_what_was_acknowledged(
    replicas: tuple[Replica, Replica],
) -> None:
    replica, _ = replicas
    ended, live = await replica.hold("ended"), await replica.hold("live")
    settled(await replica.holds.commit(commit(ended, 10)))
    await fence_off(replica)
    await replica.recovery.establish("acme")

    assert await replica.waiting() == (0, 0)
    keys = replica.runner.keys
    for key in (keys.hold("acme", "ended"), keys.idempotency("acme", ended.idempotency_key)):
        assert 0 < await replica.time_left_ms(key) <= REMEMBER_MS
    for key in (keys.hold("acme", "live"), keys.idempotency("acme", live.idempotency_key)):
        assert await replica.time_left_ms(key) == NO_TTL


async def test_only_what_ran_before_is_carried_when_another_replica_was_quicker(
    replicas: tuple[Replica, Replica],
) -> None:
    quick, slow = replicas
    await quick.hold("before")
    await fence_off(quick)
    carried = 0

    async def calls_go_on() -> None:
        nonlocal carried
        carried += 1
        assert carried < 5, "it carries what runs by now, and there is no end of it"
        await quick.recovery.establish("acme")
        await quick.hold(f"after {carried}")

    slow.delivery.then = calls_go_on  # type: ignore[method-assign]
    assert await slow.recovery.establish("acme") == quick.runner.epoch_of("acme")
    counted, events = await quick.waiting()
    assert (counted > 0, events) == (True, 1)
