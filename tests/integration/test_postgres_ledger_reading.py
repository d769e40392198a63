"""What the ledger answers: reservations, entries by key, filtered pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.application.ledger_ports import LedgerFilter, Written
from quota_service.domain.amounts import NOTHING
from quota_service.domain.ledger import EntryType
from quota_service.domain.subject import Subject
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import Life, a_hold
from tests.integration.postgres_values import a_record

NEW, REPLAYED, CONFLICT = Written.NEW, Written.REPLAYED, Written.CONFLICT


async def test_a_reservation_nobody_wrote_is_unknown(ledger: PostgresLedger) -> None:
    assert await ledger.hold("acme", "r1") is None
    assert await ledger.find("acme", "r1/hold") is None


async def test_lists_go_on_page_by_page_and_stay_in_their_organization(ledger: PostgresLedger) -> None:
    await ledger.write([a_record(f"job-{number}") for number in range(5)])
    await ledger.write([a_record("theirs", organization="other")])

    seen, before = [], None
    while True:
        rows, before = await ledger.list("acme", LedgerFilter(), 2, before)
        seen += [row.entry.key for row in rows]
        if before is None:
            break

    assert seen == [f"rec/job-{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("filter_", "matches"),
    [
        (LedgerFilter(), True),
        (LedgerFilter(subject=Subject(team="core", user="ada", api_key="k1", project="p")), True),
        (LedgerFilter(subject=Subject(user="bob")), False),
        (LedgerFilter(subject=Subject(tags=(("bb", "2"),))), True),
        (LedgerFilter(subject=Subject(tags=(("bb", "1"),))), False),
        (LedgerFilter(budget="each-user"), True),
        (LedgerFilter(budget="ada"), False),
        (LedgerFilter(type=EntryType.COMMIT), True),
        (LedgerFilter(type=EntryType.RECORD), False),
        (LedgerFilter(reservation="r1"), True),
        (LedgerFilter(reservation="r2"), False),
        (LedgerFilter(reservation="r1", budget="other"), False),
    ],
)
async def test_filters_choose_entries(ledger: PostgresLedger, filter_: LedgerFilter, matches: bool) -> None:
    await ledger.write(Life(a_hold()).commit(5).entries)

    rows, _ = await ledger.list("acme", filter_, 10, None)

    assert bool(rows) is matches


async def test_times_choose_entries_by_when_they_were_written(ledger: PostgresLedger) -> None:
    await ledger.write([a_record("job")])
    (row,), _ = await ledger.list("acme", LedgerFilter(), 10, None)

    async def found(from_ms: int | None = None, until_ms: int | None = None) -> bool:
        times = LedgerFilter(from_ms=from_ms, until_ms=until_ms)
        rows, _ = await ledger.list("acme", times, 10, None)
        return bool(rows)

    written_ms = row.create_ms
    assert await found(from_ms=written_ms, until_ms=written_ms + 1)
    assert not await found(from_ms=written_ms + 1)
    assert not await found(until_ms=written_ms)


async def test_a_charge_to_a_reservation_nobody_knew_implies_no_hold(ledger: PostgresLedger) -> None:
    charge = a_record("job")
    unknown = replace(charge.hold, reservation="r9", held=NOTHING)
    await ledger.write([replace(charge, key="r9/end", type=EntryType.COMMIT, late=True, hold=unknown)])
    rows, _ = await ledger.list("acme", LedgerFilter(), 10, None)
    assert [row.entry.key for row in rows] == ["r9/end"]
