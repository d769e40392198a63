"""Entries that change windows' limits: what the ledger keeps of them, and what they add up to."""

from __future__ import annotations

import asyncpg

from quota_service.application.ledger_ports import LedgerFilter, Written
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import (
    Entry,
    EntryType,
    LimitChange,
    hold_of_changes,
    key_of_change,
    key_of_rollover,
)
from quota_service.domain.reservation import WindowRef
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import START_MS, spent
from tests.integration.postgres_values import a_record

ONE = WindowRef("team-monthly", "", START_MS, START_MS + 1_000)
OTHER = WindowRef("each-user", "a\0da", START_MS, None)


def a_change(request_id: str, type_: EntryType, *changes: LimitChange) -> Entry:
    return Entry(
        key=key_of_change(request_id),
        content_hash="h",
        type=type_,
        at_ms=START_MS,
        occur_ms=START_MS,
        hold=hold_of_changes("acme", changes),
        reason="the fair",
        actor="users/ada",
        changes=changes,
    )


async def changed(pool: asyncpg.Pool) -> dict[str, tuple[Amounts, Amounts]]:
    """Added and moved, by budget."""
    meters = Amounts._fields
    return {
        row["budget"]: (
            Amounts(*(row[f"added_{meter}"] for meter in meters)),
            Amounts(*(row[f"moved_{meter}"] for meter in meters)),
        )
        for row in await pool.fetch("SELECT * FROM window_balances")
    }


async def test_a_change_is_kept_as_it_was_made(ledger: PostgresLedger) -> None:
    moved = a_change(
        "r1",
        EntryType.REALLOCATE,
        LimitChange(ONE, moved=Amounts(-5, 0, -1)),
        LimitChange(OTHER._replace(each_value="ada"), moved=Amounts(5, 0, 1)),
    )
    until = a_change("r2", EntryType.ADJUST, LimitChange(ONE, added=Amounts(7), until_ms=START_MS + 9))

    assert list((await ledger.write([moved, until, moved])).results) == [
        Written.NEW,
        Written.NEW,
        Written.REPLAYED,
    ]

    rows, _ = await ledger.list("acme", LedgerFilter(budget="team-monthly"), 10, None)
    assert [row.entry for row in rows] == [until, moved]


async def test_balances_add_up_what_was_charged_added_and_moved(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    carried = LimitChange(ONE, added=Amounts(10, 20, 30))
    rollover = a_change("", EntryType.ROLLOVER, carried)
    cut = a_change("r1", EntryType.ADJUST, LimitChange(ONE, added=Amounts(-25, 0, 1)))
    given = a_change(
        "r2",
        EntryType.REALLOCATE,
        LimitChange(ONE, moved=Amounts(-4, -5, -6)),
        LimitChange(OTHER, moved=Amounts(4, 5, 6)),
    )

    await ledger.write([rollover, cut])
    await ledger.write([given, a_record("job")])

    assert await changed(pool) == {
        "team-monthly": (Amounts(-15, 20, 31), Amounts(-4, -5, -6)),
        "each-user": (NOTHING, Amounts(4, 5, 6)),
    }
    assert (await spent(pool, "acme"))["team-monthly", ""] == Amounts(100, 20, 1)
    assert (await spent(pool, "acme"))["each-user", "a␀da"] == NOTHING


async def test_what_the_budget_itself_adds_until_a_date_is_not_the_windows_balance(
    ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    lasting = LimitChange(ONE, added=Amounts(7), until_ms=START_MS + 9_000)

    await ledger.write([a_change("r1", EntryType.ADJUST, lasting)])

    assert await changed(pool) == {}


def test_a_window_gets_what_rolls_over_once() -> None:
    assert key_of_rollover(ONE) == f"roll/team-monthly//{START_MS}"
