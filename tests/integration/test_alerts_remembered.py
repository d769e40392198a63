"""What has told is remembered, so that it costs nothing; what could not be kept is kept later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from quota_service.application.alert_ports import AlertFilter
from quota_service.application.alerts import Alerts, AlertSettings, Stop
from quota_service.application.configurations import Configurations
from quota_service.application.health import Health
from quota_service.application.ledger_ports import WindowBalance
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import NOTHING, Amounts, Limits, Meter
from quota_service.domain.budget import Block, Budget, EachOverride, LadderStep, Mode, Restrict
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.period import Monthly
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters, Term
from quota_service.stores.postgres.alerts import PostgresAlerts
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.prices import GenaiAliases
from quota_service.telemetry import StoreLog
from tests.integration.postgres_values import put

BUDGET = Budget(
    id="team", period=Monthly(reset_day=1), limits=Limits(cost_micros=1_000), alert_cooldown_ms=50_000
)
WINDOW = WindowRef("team", "", 1_000_000, 9_000_000)
BLOCK = LadderStep(at_percent=100, action=Block())
ADA = Subject(organization="acme", user="ada")


class Store(PostgresAlerts):
    """Counts what it is asked, and can be away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self.asked = 0
        self.away = False

    async def fire(self, alerts: Sequence[Alert]) -> None:
        self._ask()
        await super().fire(alerts)

    async def remind(self, alert: Alert, cooldown_ms: int) -> int:
        self._ask()
        return await super().remind(alert, cooldown_ms)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("PostgreSQL did not answer in time.")

    async def percents(self) -> list[tuple[int, int]]:
        found, _ = await self.list("acme", AlertFilter(), 100, None)
        return sorted((each.alert.step.at_percent, each.alert.repeat) for each in found)


class Bench:
    """Alerts over PostgreSQL, and a clock that only moves when it is told to."""

    def __init__(
        self, pool: asyncpg.Pool, configuration: PostgresConfigurationStore, **settings: Any
    ) -> None:
        self.now_ms = WINDOW.start_ms
        self.store = Store(pool)
        self.configuration = configuration
        self.alerts = Alerts(
            Configurations(configuration, GenaiAliases(), Health()),
            self.store,
            StoreLog(),
            lambda: self.now_ms,
            AlertSettings(pause_ms=1)._replace(**settings),
        )

    async def spent(self, micros: int, version: int, window: WindowRef = WINDOW, added: int = 0) -> None:
        balance = WindowBalance(
            "acme", window, Amounts(cost_micros=micros), Amounts(cost_micros=added), version
        )
        await self.alerts.charged([balance])


@pytest.fixture
def bench(pool: asyncpg.Pool, store: PostgresConfigurationStore) -> Bench:
    return Bench(pool, store)


def a_stop(budget: Budget = BUDGET, step: LadderStep = BLOCK, each_value: str = "") -> Stop:
    term = Term(WINDOW._replace(each_value=each_value), budget.limits, step.at_percent, budget.mode)
    counters = Counters(
        spent=Amounts(cost_micros=900), held=Amounts(cost_micros=50), added=Amounts(-100, 0, 0)
    )
    return Stop(budget, term, counters, Meter.COST, step, ADA)


async def test_what_has_told_is_asked_of_nobody_again(bench: Bench) -> None:
    version = await put(bench.configuration, BUDGET)
    await bench.spent(499, version)
    assert bench.store.asked == 0
    for micros in (500, 600, 799):
        await bench.spent(micros, version)
    assert (bench.store.asked, await bench.store.percents()) == (1, [(50, 0)])
    await bench.spent(5_000, version)
    await bench.spent(6_000, version)
    assert (bench.store.asked, await bench.store.percents()) == (2, [(50, 0), (80, 0), (100, 0)])


async def test_the_limit_is_the_windows_own_and_the_values_own(bench: Bench) -> None:
    override = EachOverride(each_value="ada", limits=Limits(cost_micros=100), until_ms=WINDOW.end_ms)
    version = await put(bench.configuration, replace(BUDGET, overrides=(override,)))
    await bench.spent(500, version, added=1)
    assert await bench.store.percents() == []
    bench.now_ms = 10**12  # a late charge counts under what was in force in its window
    await bench.spent(50, version, WINDOW._replace(each_value="ada"))
    assert await bench.store.percents() == [(50, 0)]


async def test_a_newer_configuration_is_read_before_anything_is_told(bench: Bench) -> None:
    await bench.spent(0, await put(bench.configuration, BUDGET))
    version = await put(bench.configuration, replace(BUDGET, limits=Limits(cost_micros=10_000)))
    await bench.spent(1_000, version)
    assert bench.store.asked == 0


async def test_charges_to_what_is_gone_tell_nothing(bench: Bench) -> None:
    version = await put(bench.configuration, BUDGET)
    await bench.spent(5_000, version, WINDOW._replace(budget="deleted"))
    gone = WindowBalance("nobody", WINDOW, Amounts(cost_micros=5_000), NOTHING, 0)
    await bench.alerts.charged([gone, gone._replace(version=1)])
    assert bench.store.asked == 0


async def test_until_the_cooldown_is_over_nobody_is_asked_for_a_reminder(bench: Bench) -> None:
    version = await put(bench.configuration, replace(BUDGET, mode=Mode.SOFT))
    for micros in range(1_000, 1_010):
        await bench.spent(micros, version)
    assert bench.store.asked == 2
    bench.now_ms += 50_001
    await bench.spent(1_011, version)
    assert (bench.store.asked, await bench.store.percents()) == (3, [(50, 0), (80, 0), (100, 0)])


async def test_what_could_not_be_told_is_told_when_it_is_brought_again(bench: Bench) -> None:
    version = await put(bench.configuration, BUDGET)
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await bench.spent(500, version)
    bench.store.away = False
    await bench.spent(500, version)
    assert await bench.store.percents() == [(50, 0)]


async def test_a_step_that_stops_many_requests_is_kept_once_with_the_first(bench: Bench) -> None:
    for held in (50, 60, 70):
        stop = a_stop()
        counters = stop.counters._replace(held=Amounts(cost_micros=held))
        bench.alerts.stopped("acme", [stop._replace(counters=counters)] * 2)
    await bench.alerts.flush()
    bench.alerts.stopped("acme", [a_stop()])
    await bench.alerts.flush()
    [kept], _ = await bench.store.list("acme", AlertFilter(), 10, None)
    assert (kept.alert.limit, kept.alert.spent, kept.alert.held, kept.alert.subject) == (900, 900, 50, ADA)
    assert bench.store.asked == 1


async def test_only_hard_budgets_stop_anybody(bench: Bench) -> None:
    for mode in (Mode.SOFT, Mode.MONITOR):
        bench.alerts.stopped("acme", [a_stop(replace(BUDGET, mode=mode))])
    await bench.alerts.flush()
    assert bench.store.asked == 0


async def test_stops_wait_in_a_bounded_queue_until_postgresql_is_back(
    pool: asyncpg.Pool, store: PostgresConfigurationStore
) -> None:
    bench = Bench(pool, store, queue_max=3)
    bench.store.away = True
    working = asyncio.create_task(bench.alerts.run())
    for tier in range(10):
        bench.alerts.stopped("acme", [a_stop(step=LadderStep(at_percent=90, action=Restrict(max_tier=tier)))])
    async with asyncio.timeout(10):
        while True:
            bench.store.away = bench.store.asked < 2
            if len(await bench.store.percents()) == 3:
                break
            await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await bench.alerts.flush()
    # What had no room is told by the next request that it stops.
    bench.alerts.stopped("acme", [a_stop(step=LadderStep(at_percent=90, action=Restrict(max_tier=9)))])
    await bench.alerts.flush()
    assert len(await bench.store.percents()) == 4


async def test_forgetting_what_has_told_tells_nothing_twice(
    pool: asyncpg.Pool, store: PostgresConfigurationStore
) -> None:
    bench = Bench(pool, store, remembered_bytes=2_000)
    version = await put(store, BUDGET)
    for _ in range(2):
        for value in "abc":
            await bench.spent(500, version, WINDOW._replace(each_value=value))
    assert bench.store.asked > 3
    assert len(await bench.store.percents()) == 3
