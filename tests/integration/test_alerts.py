"""Each step tells once, whichever server hears of it, and whatever dies or is away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from google.protobuf.duration_pb2 import Duration

from quota.v1 import alert_pb2, budget_pb2, types_pb2
from quota_service.domain import commands
from quota_service.domain.pricing import Usage
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from tests.support import valkey
from tests.support.calls import authorized, committed, cost, denied, held, limit
from tests.support.service import ACME, Client, running_service
from tests.support.stores import Stores

HOUR = Duration(seconds=3_600)


async def alerts(client: Client) -> list[alert_pb2.Alert]:
    """The organization's alerts, oldest first."""
    answer = await client.alerts.ListAlerts(alert_pb2.ListAlertsRequest(parent=ACME, page_size=1_000))
    return list(reversed(answer.alerts))


def told(found: list[alert_pb2.Alert]) -> list[tuple[int, int]]:
    """Percentage and reminder of each alert, in no particular order of time."""
    return sorted((each.step.at_percent, each.repeat) for each in found)


async def told_by_now(client: Client, stores: Stores) -> list[tuple[int, int]]:
    """What has been told once every event is in the ledger: an event is let go of after its alerts."""
    await stores.drained()
    return told(await alerts(client))


async def all_told(client: Client, count: int) -> list[alert_pb2.Alert]:
    """The alerts, once there are as many."""
    async with asyncio.timeout(30):
        while True:
            found = await alerts(client)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_many_commits_on_two_servers_tell_each_step_once(
    client: Client, other: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(300_000))
    servers = [client, other] * 20
    names = await asyncio.gather(*(held(server, f"k{n}") for n, server in enumerate(servers)))
    ends = [committed(server, name, 2_000, 500) for server, name in zip(servers, names, strict=True)]
    await asyncio.gather(*ends)
    assert await told_by_now(client, stores) == [(50, 0), (80, 0), (100, 0)]
    for alert in await alerts(other):
        assert alert.spent * 100 >= alert.limit * alert.step.at_percent
        assert (alert.limit, alert.meter, alert.held) == (300_000, types_pb2.METER_COST, 0)


async def test_every_value_has_alerts_of_its_own(client: Client, stores: Stores) -> None:
    await client.found_acme()
    each_user = budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER))
    await client.budget("each", limits=cost(8_000), scope=each_user)
    for number, who in enumerate(("ada", "")):
        spender = types_pb2.Subject(organization="acme", team="engineering", user=who)
        await committed(client, await held(client, f"k{number}", subject=spender))
    await stores.drained()
    assert sorted((each.each_value, each.step.at_percent) for each in await alerts(client)) == [
        ("", 50),
        ("ada", 50),
    ]


async def test_a_budget_that_only_monitors_tells_nothing(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("watched", limits=cost(1_000), mode=types_pb2.MODE_MONITOR)
    await committed(client, await held(client))
    assert await told_by_now(client, stores) == []


async def test_a_raised_limit_takes_nothing_back_and_tells_nothing_twice(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    await committed(client, await held(client, "a"))
    assert await told_by_now(client, stores) == [(50, 0)]
    await limit(client, "engineering", cost(80_000))
    for number in range(8):
        await committed(client, await held(client, f"b{number}"))
    assert await told_by_now(client, stores) == [(50, 0)]


async def test_a_server_that_has_not_heard_of_a_raised_limit_goes_by_it_all_the_same(
    client: Client, other: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    name = await held(client)
    await limit(other, "engineering", cost(80_000))
    await committed(client, name)
    assert await told_by_now(client, stores) == []


async def test_a_soft_budget_over_its_limit_reminds_no_faster_than_its_cooldown(
    client: Client, other: Client, stores: Stores, postgres_url: str
) -> None:
    await client.found_acme()
    await client.budget("soft", limits=cost(4_000), mode=types_pb2.MODE_SOFT, alert_cooldown=HOUR)
    first = [(50, 0), (80, 0), (100, 0)]
    for number in range(3):
        await committed(client, await held(client, f"a{number}"))
    assert await told_by_now(client, stores) == first
    await _age_alerts(postgres_url)
    # The first time it hears of a step that has told, the other server learns just that.
    for number in range(4):
        await committed(other, await held(other, f"b{number}"))
        await stores.drained()
    assert await told_by_now(client, stores) == [*first, (100, 1)]


async def test_without_a_cooldown_nothing_is_repeated(
    client: Client, other: Client, stores: Stores, postgres_url: str
) -> None:
    await client.found_acme()
    never = Duration(seconds=0)
    await client.budget("soft", limits=cost(4_000), mode=types_pb2.MODE_SOFT, alert_cooldown=never)
    for number in range(4):
        await committed(client, await held(client, f"a{number}"))
        await stores.drained()
        await _age_alerts(postgres_url)
    assert await told_by_now(client, stores) == [(50, 0), (80, 0), (100, 0)]


async def test_what_a_dead_server_had_not_told_is_told_by_another(
    client: Client, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    """It died after its script had run, or even after the ledger had the entry."""
    await client.found_acme()
    await client.budget("engineering", limits=cost(15_000))
    answers = [await authorized(client, f"k{number}") for number in range(2)]
    pool = await open_pool(PoolSettings(url=postgres_url, connections_min=1))
    async with valkey.opened(valkey_url, prefix=f"{key_prefix}/") as dead:
        for percent, answer in zip((50, 80), answers, strict=True):
            settled = await dead.holds.commit(
                commands.Commit(
                    organization="acme",
                    reservation=answer.reservation.name.rpartition("/")[2],
                    usage=Usage(input_tokens=1_000, output_tokens=500),
                    content_hash="c",
                )
            )
            assert isinstance(settled, commands.Settled)
            assert settled.event is not None
            if percent == 80:
                await PostgresLedger(pool).write([settled.event.entry])
            await all_told(client, 1 if percent == 50 else 3)
    await close_pool(pool)
    assert told(await alerts(client)) == [(50, 0), (80, 0), (100, 0)]


@asynccontextmanager
async def _nobody_can_tell(postgres_url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_a_commit_does_not_wait_for_its_alerts_and_they_come_later(
    client: Client, postgres_url: str
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    name = await held(client)
    async with _nobody_can_tell(postgres_url):
        async with asyncio.timeout(4):  # the pool gives up on a statement after five seconds
            done = await committed(client, name)
        assert done.durability == types_pb2.DURABILITY_LEDGER
    assert told(await all_told(client, 1)) == [(50, 0)]


async def test_a_server_that_stops_leaves_what_it_was_told_last(
    valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    async with running_service(valkey_url, postgres_url, key_prefix) as client:
        await client.found_acme()
        await client.budget("engineering", limits=cost(1))
        await denied(client)
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT sum(count)::integer FROM denials") == 1
    assert await connection.fetchval("SELECT count(*) FROM alerts WHERE action = 'block'") == 1
    await connection.close()


async def test_who_spent_most_and_when_the_limit_is_reached_are_told_a_moment_later(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    done = await committed(client, await held(client))
    [alert] = await all_told(client, 1)
    async with asyncio.timeout(30):
        while not alert.top_consumers:
            await asyncio.sleep(0.1)
            [alert] = await alerts(client)
    [consumer] = alert.top_consumers
    assert (consumer.dimension, consumer.id) == (types_pb2.DIMENSION_USER, "ada")
    assert consumer.amount == done.charged.cost_micros == alert.spent
    if alert.HasField("forecast_time"):  # not so at the very end of a month
        assert alert.create_time.ToMilliseconds() < alert.forecast_time.ToMilliseconds()
        assert alert.forecast_time.ToMilliseconds() < alert.reset_time.ToMilliseconds()


async def _age_alerts(postgres_url: str) -> None:
    """Two hours pass, as far as alerts are concerned."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("UPDATE alerts SET create_time = create_time - interval '2 hours'")
    await connection.close()
