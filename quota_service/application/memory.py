"""What the stores remember of reservations: Valkey those that live or have just ended, the ledger all of
them.
"""

from __future__ import annotations

from dataclasses import replace

from quota_service.application.health import Health
from quota_service.application.ledger_ports import Ledger, LedgerRow
from quota_service.application.ports import HoldStore, Page
from quota_service.application.requests import Durability
from quota_service.domain.errors import (
    OrganizationNotFound,
    ReservationNotFound,
    ReservationUnknown,
    StoreUnavailable,
)
from quota_service.domain.reservation import Hold, State
from quota_service.domain.sight import EVERYTHING, Sight
from quota_service.domain.subject import Subject

LIVE_PER_READ = 200
LIVE_READS_MAX = 50
"""How many holds a page may look through before it is answered shorter than asked."""


class Memory:
    """Finds reservations."""

    def __init__(self, holds: HoldStore, ledger: Ledger, health: Health) -> None:
        self._holds = holds
        self._ledger = ledger
        self._health = health

    async def look(self, organization: str, reservation: str, sight: Sight = EVERYTHING) -> Hold | None:
        """The reservation, wherever it is remembered; `None` where no store knows it. What is out of sight no
        store knows: even while one is away it is answered as what does not exist. Raises ReservationUnknown.
        """
        try:
            hold = _seen(await self._holds.get(organization, reservation), sight)
        except OrganizationNotFound:
            return None
        except StoreUnavailable:
            return await self._as_written(organization, reservation, sight)
        return hold or await self.recall(organization, reservation, sight)

    async def _as_written(self, organization: str, reservation: str, sight: Sight) -> Hold:
        """The reservation as the ledger has it, while the deciding store is away. Raises
        ReservationUnknown.
        """
        self._health.require_ledger()
        hold = _seen(await self._ledger.hold(organization, reservation), sight)
        if hold is None:
            raise ReservationUnknown("The ledger does not know the reservation, and Valkey does not answer.")
        if hold.due(self._holds.now_ms()):
            return replace(hold, state=State.EXPIRED, end_ms=hold.expire_ms)
        return hold

    async def get(self, organization: str, reservation: str, sight: Sight = EVERYTHING) -> Hold:
        """As `look`. Raises ReservationNotFound."""
        hold = await self.look(organization, reservation, sight)
        if hold is None:
            raise ReservationNotFound("No store knows the reservation.")
        return hold

    async def recall(self, organization: str, reservation: str, sight: Sight = EVERYTHING) -> Hold | None:
        """The reservation as the ledger remembers it, ended: it holds nothing any more.

        Raises ReservationUnknown where the ledger does not answer.
        """
        try:
            self._health.require_ledger()
            hold = _seen(await self._ledger.hold(organization, reservation), sight)
        except StoreUnavailable as error:
            raise ReservationUnknown(
                "Valkey does not know the reservation, and the ledger does not answer."
            ) from error
        if hold is None or hold.state is not State.HELD:
            return hold
        return replace(hold, state=State.EXPIRED, end_ms=hold.expire_ms)

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        """The ledger's entry of a key; `None` where there is none or the ledger does not answer."""
        if not self._health.ledger:
            return None
        try:
            return await self._ledger.find(organization, key)
        except StoreUnavailable:
            return None

    async def durability(self, organization: str, key: str) -> Durability:
        """How safe the entry of a key is by now."""
        return Durability.LEDGER if await self.find(organization, key) is not None else Durability.BUFFERED

    async def live(
        self, organization: str, subject: Subject, page_size: int, after: str, sight: Sight = EVERYTHING
    ) -> Page[Hold]:
        """Live holds of a subject, those that expire first coming first."""
        if sight is not EVERYTHING:
            return await self._live_in_sight(organization, subject, page_size, after, sight)
        found: list[Hold] = []
        for _ in range(LIVE_READS_MAX):
            page = await self._holds.live(organization, after, min(page_size - len(found), LIVE_PER_READ))
            found += [
                hold for hold in page.items if hold.state is State.HELD and _is_of(hold.subject, subject)
            ]
            after = page.next
            if not after or len(found) >= page_size:
                break
        return Page(tuple(found), after)

    async def _live_in_sight(
        self, organization: str, subject: Subject, page_size: int, after: str, sight: Sight
    ) -> Page[Hold]:
        """Nothing tells of holds that are out of sight: no page is shorter for them or said to have another
        behind it, and none begins at one. So it reads on for as long as it takes.
        """
        found: list[Hold] = []
        while True:
            page = await self._holds.live(organization, after, LIVE_PER_READ)
            seen = [hold for hold in page.items if sight.sees_subject(hold.subject)]
            found += [hold for hold in seen if _is_of(hold.subject, subject)]
            after = page.next
            if not after or len(found) > page_size:
                break
        shown = tuple(found[:page_size])
        return Page(shown, self._holds.place(shown[-1]) if len(found) > page_size else "")


def _seen(hold: Hold | None, sight: Sight) -> Hold | None:
    return hold if hold is not None and sight.sees_subject(hold.subject) else None


def _is_of(holder: Subject, wanted: Subject) -> bool:
    return (
        wanted.team in ("", holder.team)
        and wanted.user in ("", holder.user)
        and wanted.api_key in ("", holder.api_key)
        and wanted.project in ("", holder.project)
        and all(tag in holder.tags for tag in wanted.tags)
    )
