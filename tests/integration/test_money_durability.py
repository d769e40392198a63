"""Changes of money are in the ledger or are not made at all, whatever fails when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.limit_changes import Adjust, Changed
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Basis
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.limits import ValkeyLimitStore
from quota_service.stores.valkey.runner import Runner
from tests.integration.test_durability import ledger_at_a_standstill
from tests.support import valkey
from tests.support.calls import Amount, cost, entries
from tests.support.commands import term
from tests.support.fence import unfenced
from tests.support.money import (
    adjust_request,
    adjusted,
    limit_changes,
    limits,
    reallocate_request,
    reallocated,
)
from tests.support.refusals import answer, refusal
from tests.support.service import Client
from tests.support.stores import Stores

IN_2100_S = 4_102_444_800
UNAVAILABLE = ("UNAVAILABLE", "STORE_UNAVAILABLE")


@asynccontextmanager
async def postgresql_away(admin_url: str, url: str) -> AsyncIterator[None]:
    """Nobody is connected to the database or can connect to it meanwhile."""
    name = urlsplit(url).path.removeprefix("/")
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        await admin.close()


@pytest.fixture
async def acme(client: Client) -> Client:
    """With budgets `a` and `b`, whose windows are open."""
    await client.found_acme()
    for budget in ("a", "b"):
        await client.budget(budget, limits=cost(10_000))
    assert await both(client) == [10_000, 10_000]
    return client


async def both(client: Client) -> list[int]:
    return [*await limits(client, "a"), *await limits(client, "b")]


async def test_without_postgresql_every_change_is_refused_up_front_and_nothing_changed(
    acme: Client, store_urls: dict[str, str], postgres_url: str
) -> None:
    async with postgresql_away(store_urls["postgres"], postgres_url):
        for call in (
            acme.budgets.AdjustBudget(adjust_request("a", cost(1), "one")),
            acme.budgets.AdjustBudget(adjust_request("a", cost(2), "two", until_s=IN_2100_S)),
            acme.budgets.ReallocateBudget(reallocate_request("a", "b", cost(4), "three")),
        ):
            assert answer(await refusal(call)) == UNAVAILABLE
        assert await both(acme) == [10_000, 10_000]

    assert await both(acme) == [10_000, 10_000]
    await entries(acme, 0)
    assert not (await adjusted(acme, "a", cost(1), "one")).replayed
    assert not (await reallocated(acme, "a", "b", cost(4), "three")).replayed
    assert await both(acme) == [9_997, 10_004]


async def test_a_change_that_the_ledger_does_not_take_in_time_is_in_force_and_a_repeat_tells(
    acme: Client, other: Client, postgres_url: str, stores: Stores
) -> None:
    request = reallocate_request("a", "b", cost(4_000))
    async with ledger_at_a_standstill(postgres_url):
        for server in (acme, other):
            error = await refusal(server.budgets.ReallocateBudget(request))
            assert answer(error) == UNAVAILABLE
            assert "is made and in force" in str(error.details())
        assert await both(other) == [6_000, 14_000]

    await stores.drained()
    told = await other.budgets.ReallocateBudget(request)

    assert told.replayed
    assert limit_changes(told.entry) == [("a", "", Amount(-4_000)), ("b", "", Amount(4_000))]
    assert await both(acme) == [6_000, 14_000]
    assert list(await entries(acme, 1)) == [told.entry]


async def test_an_adjustment_until_a_date_that_is_cut_short_is_made_whole_or_not_at_all(
    acme: Client, postgres_url: str, stores: Stores
) -> None:
    request = adjust_request("a", cost(500), until_s=IN_2100_S)
    async with ledger_at_a_standstill(postgres_url):
        call = acme.budgets.AdjustBudget(request, timeout=2)
        assert (await refusal(call)).code().name in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        assert await both(acme) == [10_000, 10_000]

    await asyncio.sleep(0.2)
    done = await acme.budgets.AdjustBudget(request)

    assert await both(acme) == [10_500, 10_000]
    assert list(await entries(acme, 1)) == [done.entry]


async def test_a_repeat_publishes_what_the_first_attempt_could_not(
    acme: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("Valkey does not answer.")

    assert await limits(other, "a") == [10_000]
    with monkeypatch.context() as patched:
        patched.setattr(ValkeyHoldStore, "publish_version", fail)
        error = await refusal(acme.budgets.AdjustBudget(adjust_request("a", cost(500), until_s=IN_2100_S)))
        assert answer(error) == UNAVAILABLE
        assert await limits(other, "a") == [10_000]

    told = await adjusted(acme, "a", cost(500), until_s=IN_2100_S)

    assert told.replayed
    assert await limits(other, "a") == [10_500]
    await entries(acme, 1)


async def test_what_a_dead_replica_changed_is_written_by_another(
    acme: Client, valkey_url: str, key_prefix: str
) -> None:
    """The script has run, and whoever ran it died before it wrote anything."""
    async with valkey.opened(valkey_url, prefix=f"{key_prefix}/") as dead:
        store = ValkeyLimitStore(unfenced(Runner(dead.connection, dead.keys)))
        place = WindowRef("a", "", 0, None)
        command = Adjust(
            basis=Basis(organization="acme", version=2**52),
            key="adj/r",
            content_hash="of the dead",
            term=term(place, Limits(cost_micros=10_000)),
            amounts=Amounts(cost_micros=7),
            reason="the last one",
        )
        assert isinstance(await store.adjust(command), Changed)

    [entry] = await entries(acme, 1, type="TYPE_ADJUST")

    assert (limit_changes(entry), entry.reason) == ([("a", "", Amount(7))], "the last one")
    error = await refusal(acme.budgets.AdjustBudget(adjust_request("a", cost(7))))
    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


@pytest.mark.parametrize("kinds", [(None, IN_2100_S), (IN_2100_S, None)], ids=["window first", "date first"])
async def test_one_request_id_never_makes_a_change_of_each_kind(
    acme: Client, other: Client, postgres_url: str, stores: Stores, kinds: tuple[int | None, int | None]
) -> None:
    """Those of the live window are on their way to the ledger while those until a date are made in it."""
    first, second = (adjust_request("a", cost(1), until_s=until_s) for until_s in kinds)
    async with ledger_at_a_standstill(postgres_url):
        under_way = asyncio.ensure_future(acme.budgets.AdjustBudget(first))
        async with asyncio.timeout(4):
            while True:
                if await stores.keys("record/adj/r"):
                    break
                await asyncio.sleep(0.01)
        error = await refusal(other.budgets.AdjustBudget(second, timeout=4))
        assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")

    assert (await under_way).statuses[0].limit == 10_001
    assert len(await entries(acme, 1)) == 1
