"""With what windows begin, as the ledger knows it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from quota_service.application.ledger_ports import Charged, LedgerSpend
from quota_service.domain.amounts import Amounts
from quota_service.domain.budget import Budget
from quota_service.domain.ledger import Entry, EntryType, key_of_end
from quota_service.domain.period import Window
from quota_service.domain.reservation import WindowRef
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension
from quota_service.stores.postgres.beginnings import PostgresBeginnings
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import START_MS, WINDOWS, a_hold, spent
from tests.integration.postgres_values import a_record

TEAM = WINDOWS[0]
BUDGET = Budget(id=TEAM.budget)
WINDOW = Window(TEAM.start_ms, TEAM.end_ms)
OF_RECORD = Charged(Amounts(100, 20, 1), Amounts(100, 20, 1))
"""What `a_record` charges."""


def a_commit(id_: str, create_ms: int) -> Entry:
    """Charges 5 micro-USD for a hold that was made then."""
    hold = replace(a_hold(id_=id_), create_ms=create_ms, charged=Amounts(5))
    return Entry(
        key=key_of_end(id_), content_hash="h", type=EntryType.COMMIT, at_ms=START_MS, occur_ms=START_MS,
        hold=hold, charged=Amounts(5), provider="openai", model="gpt-4o", final=True,
    )  # fmt: skip


async def spends(
    store: PostgresConfigurationStore, scope: Scope | None = None, window: Window = WINDOW
) -> list[LedgerSpend]:
    async with store.change("acme") as change:
        return list(await change.spend_in(replace(BUDGET, scope=scope or Scope()), window))


async def test_the_latest_of_the_windows_asked_for_is_found(
    pool: asyncpg.Pool, store: PostgresConfigurationStore
) -> None:
    starts = [START_MS + number for number in range(4)]
    async with store.change("acme") as change:
        for start_ms in starts:
            window = Window(start_ms, start_ms + 1)
            await change.begin_balances("b", window, {"a␀": Charged(Amounts(start_ms))})
    balances, counter = PostgresBeginnings(pool), WindowRef("b", "a\0", START_MS + 9, None)
    found = await balances.latest("acme", counter, (starts[0], starts[2], START_MS + 7))
    assert found is not None
    assert (found.start_ms, found.counters.spent) == (starts[2], Amounts(starts[2]))
    assert await balances.latest("acme", counter, (START_MS + 7,)) is None
    assert await balances.latest("acme", counter._replace(each_value=""), starts) is None
    assert await balances.latest("other", counter, starts) is None


async def test_reservations_count_when_they_were_made_and_records_when_they_occurred(
    store: PostgresConfigurationStore, ledger: PostgresLedger
) -> None:
    early, late = a_commit("r1", START_MS - 1), a_commit("r2", START_MS)
    of_before = replace(a_record("before"), occur_ms=START_MS - 1)
    await ledger.write([early, late, of_before, a_record("within")])
    assert {(each.provider, each.model): each.charged for each in await spends(store)} == {
        ("openai", "gpt-4o"): Charged(Amounts(5)),
        ("", ""): OF_RECORD,
    }
    everything = await spends(store, window=Window(0, None))
    assert sum(each.charged.spent.cost_micros for each in everything) == 210


@pytest.mark.parametrize(
    ("scope", "values"),
    [
        (Scope(team="core", user="ada", api_key="k1", project="p", tags=(("a", "1"),)), [""]),
        (Scope(tags=(("a", "2"),)), []),
        (Scope(cost_center="x"), []),
        (Scope(each=Each(dimension=Dimension.USER)), ["ada"]),
        (Scope(each=Each(dimension=Dimension.PROJECT)), ["p"]),
        (Scope(each=Each(dimension=Dimension.TAG, tag="bb", max_values=1)), ["2"]),
        (Scope(each=Each(dimension=Dimension.TAG, tag="c'; --", max_values=1)), [""]),
        (Scope(each=Each(dimension=Dimension.TIER)), [""]),
    ],
)
async def test_subjects_match_and_values_are_told_apart(
    store: PostgresConfigurationStore, ledger: PostgresLedger, scope: Scope, values: list[str]
) -> None:
    await ledger.write([a_record()])
    assert [each.each_value for each in await spends(store, scope)] == values


async def test_a_charge_under_way_comes_on_top_of_what_a_budget_made_anew_begins_with(
    pool: asyncpg.Pool, store: PostgresConfigurationStore, ledger: PostgresLedger
) -> None:
    await ledger.write([a_record("first")])
    async with store.change("acme") as change:
        [found] = await change.spend_in(BUDGET, WINDOW)
        # It was made under the earlier budget of this id, and its entry is not among those just added up.
        under_way = asyncio.create_task(ledger.write([a_record("second")]))
        await asyncio.sleep(0.2)
        assert not under_way.done()
        await change.begin_balances(BUDGET.id, WINDOW, {"": found.charged})
    await under_way
    assert (await spent(pool, "acme"))[TEAM.budget, ""] == Amounts(200, 40, 2)


async def test_what_is_left_of_an_earlier_budget_is_cleared(
    pool: asyncpg.Pool, store: PostgresConfigurationStore, ledger: PostgresLedger
) -> None:
    await ledger.write([a_record()])
    async with store.change("acme") as change:
        await change.begin_balances(TEAM.budget, WINDOW, {"other": OF_RECORD})
    rows = await pool.fetch(
        "SELECT each_value, spent_cost_micros FROM window_balances WHERE budget = $1 ORDER BY 1", TEAM.budget
    )
    assert [tuple(row) for row in rows] == [("", 0), ("other", 100)]
