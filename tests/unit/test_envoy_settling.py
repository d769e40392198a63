"""A settlement is tried again for as long as no store can be told, and not when trying would not help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from quota_service.application.requests import CommitRequest
from quota_service.application.tracking import Tracked
from quota_service.domain.errors import AmountTooLarge, IdempotencyConflict, QuotaError, StoreUnavailable
from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.calls import Kind
from quota_service.edge.envoy import settling
from quota_service.edge.envoy.settling import Settling
from quota_service.edge.envoy.ticket import Ticket

AWAY = StoreUnavailable("No store answers.")
USAGE = Usage(input_tokens=1, output_tokens=2)
TICKET = Ticket(
    organization="acme",
    reservation="r",
    kind=Kind.CHAT,
    provider="openai",
    model="gpt-4o",
    input_tokens=10,
    granted_output_tokens=20,
    ttl_ms=60_000,
)


class Commits:
    """Answers with these faults, one after the other, then well."""

    def __init__(self, faults: Iterable[QuotaError]) -> None:
        self.asked: list[CommitRequest] = []
        self._faults = list(faults)

    async def commit(self, request: CommitRequest) -> None:
        self.asked.append(request)
        if self._faults:
            raise self._faults.pop(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "WAIT_S", 0.0)


async def settled(*faults: QuotaError) -> list[CommitRequest]:
    """What the stores were asked for until all was done."""
    commits: Any = Commits(faults)
    absent: Any = None
    tracked = Tracked()
    Settling(commits, absent, absent, tracked).commit(TICKET, USAGE, estimated=False)
    await tracked.finish(5)
    asked: list[CommitRequest] = commits.asked
    return asked


async def test_it_is_tried_until_a_store_is_told() -> None:
    asked = await settled(AWAY, AWAY, AWAY)
    assert len(asked) == 4
    assert {each.usage for each in asked} == {USAGE}


async def test_it_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "TRIES_MAX", 3)
    assert len(await settled(*[AWAY] * 9)) == 3


async def test_too_many_that_wait_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "WAITING_MAX", 0)
    assert len(await settled(AWAY, AWAY)) == 1


async def test_what_trying_again_does_not_change_is_not_tried_again() -> None:
    assert len(await settled(IdempotencyConflict("It was committed otherwise."))) == 1


async def test_more_than_a_request_may_cost_is_charged_by_the_hold() -> None:
    first, second = await settled(AmountTooLarge("Too much."))
    assert first.usage == USAGE
    assert (second.usage, second.usage_estimated) == (Usage(input_tokens=10, output_tokens=20), True)
