"""Reservations out of sight are such as no store knows, whichever of them answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from quota_service.application import memory
from quota_service.application.health import Health
from quota_service.application.memory import Memory
from quota_service.application.ports import Page
from quota_service.domain.caller import Caller, Role
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import QuotaError, ReservationNotFound, ReservationUnknown, StoreUnavailable
from quota_service.domain.reservation import Hold
from quota_service.domain.sight import EVERYTHING, Sight, sight_of
from quota_service.domain.subject import Directory, Organization, Subject, Team

CORE = sight_of(
    Caller("x", Role.TEAM_LEAD, "acme", ("core",)),
    Configuration(
        version=1,
        organization=Organization(id="acme"),
        directory=Directory(teams={"core": Team(id="core"), "sales": Team(id="sales")}),
    ),
)
SALES = Hold(
    organization="acme",
    reservation="r",
    subject=Subject(organization="acme", team="sales"),
    provider="",
    model="",
    requested_model="",
    rates=(),
    windows=(),
    expire_ms=10,
)


class Store:
    """Valkey or the ledger: away, or with one hold at most."""

    def __init__(self, found: Hold | None, is_away: bool) -> None:
        self._found = found
        self._is_away = is_away

    async def get(self, organization: str, reservation: str) -> Hold | None:
        if self._is_away:
            raise StoreUnavailable("It does not answer.")
        return self._found if reservation == "r" else None

    hold = get

    def now_ms(self) -> int:
        return 1


class Crowd:
    """Valkey with live holds of these teams, in this order. A place is a number."""

    def __init__(self, *teams: str) -> None:
        self._holds = [
            replace(SALES, reservation=str(number), subject=Subject(organization="acme", team=team))
            for number, team in enumerate(teams)
        ]

    async def live(self, organization: str, after: str, count: int) -> Page[Hold]:
        start = int(after) + 1 if after else 0
        found = tuple(self._holds[start : start + count])
        return Page(found, self.place(found[-1]) if len(found) == count else "")

    def place(self, hold: Hold) -> str:
        return hold.reservation


async def told(valkey: Store, ledger: Store, reservation: str, sight: Sight) -> tuple[type[QuotaError], str]:
    looking = Memory(cast(Any, valkey), cast(Any, ledger), Health())
    with pytest.raises(QuotaError) as raised:
        await looking.get("acme", reservation, sight)
    return type(raised.value), str(raised.value)


@pytest.mark.parametrize(
    ("valkey", "ledger", "expected"),
    [
        (Store(SALES, False), Store(SALES, False), ReservationNotFound),
        (Store(None, False), Store(SALES, False), ReservationNotFound),
        (Store(SALES, False), Store(None, True), ReservationUnknown),
        (Store(None, True), Store(SALES, False), ReservationUnknown),
    ],
)
async def test_a_reservation_out_of_sight_is_answered_as_one_that_nobody_has(
    valkey: Store, ledger: Store, expected: type[QuotaError]
) -> None:
    nobodys = await told(valkey, ledger, "made-up", CORE)
    assert await told(valkey, ledger, "r", CORE) == nobodys
    assert nobodys[0] is expected
    looking = Memory(cast(Any, valkey), cast(Any, ledger), Health())
    assert (await looking.get("acme", "r", EVERYTHING)).subject == SALES.subject


@pytest.mark.parametrize("per_read", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "teams",
    [
        ("sales",) * 5,
        ("core", "sales", "sales", "core", "core", "sales"),
        ("sales", "core", "core", "core", "core"),
        ("core", "sales", "sales", "sales", "sales"),
    ],
)
async def test_no_page_of_live_holds_tells_of_any_that_are_out_of_sight(
    monkeypatch: pytest.MonkeyPatch, teams: tuple[str, ...], per_read: int
) -> None:
    monkeypatch.setattr(memory, "LIVE_PER_READ", per_read)
    looking = Memory(cast(Any, Crowd(*teams)), cast(Any, None), Health())
    own = [str(number) for number, team in enumerate(teams) if team == "core"]
    for size in (1, 2, 10):
        pages: list[list[str]] = []
        after = ""
        while not pages or after:
            page = await looking.live("acme", Subject(), size, after, CORE)
            pages.append([hold.reservation for hold in page.items])
            after = page.next
            assert after in ("", *own)
        assert pages == ([own[start : start + size] for start in range(0, len(own), size)] or [[]])
