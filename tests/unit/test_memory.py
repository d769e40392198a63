"""A reservation out of sight is one that no store knows, whichever of them answers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from quota_service.application.health import Health
from quota_service.application.memory import Memory
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


async def told(valkey: Store, ledger: Store, reservation: str, sight: Sight) -> tuple[type[QuotaError], str]:
    memory = Memory(cast(Any, valkey), cast(Any, ledger), Health())
    with pytest.raises(QuotaError) as raised:
        await memory.get("acme", reservation, sight)
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
    memory = Memory(cast(Any, valkey), cast(Any, ledger), Health())
    assert (await memory.get("acme", "r", EVERYTHING)).subject == SALES.subject
