"""Denials are counted per minute, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quota_service.application.alert_ports import DenialCount
from quota_service.application.denial_counts import DenialCounts, DenialSettings
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.subject import Subject
from quota_service.telemetry import StoreLog

FULL = Violation(Reason.BUDGET_EXHAUSTED, "no room", source="budgets/team")
UNKNOWN = Violation(Reason.MODEL_UNKNOWN, "no price")
MINUTE = 60_000


class Store:
    """Keeps what it gets, unless it is down."""

    def __init__(self) -> None:
        self.down = False
        self.got: list[DenialCount] = []

    async def add(self, counts: Sequence[DenialCount]) -> None:
        if self.down:
            raise StoreUnavailable("PostgreSQL did not answer in time.")
        self.got += counts


def counting(distinct_max: int = 100) -> tuple[Store, DenialCounts]:
    store = Store()
    return store, DenialCounts(store, StoreLog(), DenialSettings(distinct_max=distinct_max))


def denied(counts: DenialCounts, *violations: Violation, user: str = "ada", now_ms: int = MINUTE + 1) -> None:
    subject = Subject(organization="acme", team="engineering", user=user)
    counts.denied("acme", subject, "openai", "gpt-4o", violations, now_ms)


async def test_equal_denials_of_a_minute_are_one_row_with_the_last_message() -> None:
    store, counts = counting()
    for text in ("first", "second"):
        denied(counts, FULL._replace(message=text))
    denied(counts, FULL, now_ms=2 * MINUTE)
    await counts.flush()
    found = [(each.key.minute_ms, each.count, each.message) for each in store.got]
    assert found == [(MINUTE, 2, "second"), (2 * MINUTE, 1, "no room")]
    await counts.flush()
    assert len(store.got) == 2


async def test_a_request_counts_once_for_each_limit_and_not_for_each_of_its_meters() -> None:
    store, counts = counting()
    denied(counts, FULL, FULL._replace(limit=5), UNKNOWN)
    await counts.flush()
    assert {(each.key.reason, each.key.source, each.count) for each in store.got} == {
        (Reason.BUDGET_EXHAUSTED, "budgets/team", 1),
        (Reason.MODEL_UNKNOWN, "", 1),
    }


async def test_what_the_store_did_not_take_is_brought_again() -> None:
    store, counts = counting()
    store.down = True
    denied(counts, FULL)
    with pytest.raises(StoreUnavailable):
        await counts.flush()
    denied(counts, FULL)
    store.down = False
    await counts.flush()
    assert [each.count for each in store.got] == [2]


async def test_made_up_names_cannot_fill_the_memory_and_are_counted_all_the_same() -> None:
    store, counts = counting(distinct_max=3)
    for number in range(50):
        denied(counts, FULL, user=f"user-{number}")
    await counts.flush()
    assert len(store.got) == 4
    assert sum(each.count for each in store.got) == 50
    assert [each.count for each in store.got if not each.key.user] == [47]
