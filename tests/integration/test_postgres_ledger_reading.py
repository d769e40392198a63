"""What the ledger answers: reservations, entries by key, filtered pages."""

from __future__ import annotations

import pytest

from quota_service.application.ports import LedgerFilter, Written
from quota_service.domain.ledger import EntryType
from quota_service.domain.subject import Subject
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import START_MS, Life, a_hold
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
        (LedgerFilter(from_ms=START_MS + 5, until_ms=START_MS + 6), True),
        (LedgerFilter(from_ms=START_MS + 6), False),
        (LedgerFilter(until_ms=START_MS + 5), False),
    ],
)
async def test_filters_choose_entries(ledger: PostgresLedger, filter_: LedgerFilter, matches: bool) -> None:
    await ledger.write(Life(a_hold()).commit(5).entries)

    rows, _ = await ledger.list("acme", filter_, 10, None)

    assert bool(rows) is matches
