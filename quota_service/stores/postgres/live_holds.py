"""The reservations that an organization's ledger sees open, all of them, as quickly as they can be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Container, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

import asyncpg

from quota_service.application.recovery_ports import LiveHold
from quota_service.domain.ledger import Entry, key_of_hold
from quota_service.domain.reservation import Hold, State
from quota_service.stores.hold_documents import decode_former, decode_open, kept, whole_hold
from quota_service.stores.postgres import epochs, refused, sql
from quota_service.stores.postgres.batch import Charges, Key
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("epochs")

HOLDS_PER_READ = 1_000
HOLDS_PER_PART = 100


class LiveHolds:
    """Reads them within the transaction of `connection`. `dead_letters`: what happened, though the ledger
    has it not.
    """

    def __init__(self, connection: Connection, organization: str, dead_letters: Sequence[Entry]) -> None:
        self._connection = connection
        self._organization = organization
        self._told = refused.latest_holds(dead_letters)
        self._charges: Mapping[Key, Charges] = {}

    async def parts(self) -> AsyncGenerator[Sequence[LiveHold]]:
        """Some at a time; the next are on their way meanwhile."""
        rows = await self._connection.fetch(_SQL["contested"], self._organization)
        contested = {row["reservation"] for row in rows}
        known = {(self._organization, reservation) for reservation in contested}
        self._charges = await epochs.charges(self._connection, known)
        unlike = contested.union(map(storable, self._told))  # those of which more is known than their row
        async with aclosing(self._rows()) as parts:
            async for rows in parts:
                for start in range(0, len(rows), HOLDS_PER_PART):
                    found = [live_hold(row) for row in rows[start : start + HOLDS_PER_PART]]
                    if unlike and not unlike.isdisjoint(hold.reservation for hold in found):
                        found = [hold for each in found if (hold := self._settled(each, unlike)) is not None]
                    yield found
        if unheard_of := await self._unheard_of(self._told.values()):
            yield unheard_of

    async def _rows(self) -> AsyncGenerator[list[asyncpg.Record]]:
        cursor = await self._connection.cursor(_SQL["open_holds"], self._organization)
        coming = asyncio.ensure_future(cursor.fetch(HOLDS_PER_READ))
        try:
            while rows := await coming:
                coming = asyncio.ensure_future(cursor.fetch(HOLDS_PER_READ))
                yield rows
        finally:
            if not coming.done():  # nobody else may use the connection before
                coming.cancel()
                await asyncio.wait((coming,))

    def _settled(self, live: LiveHold, unlike: Container[str]) -> LiveHold | None:
        """A hold with what dead letters tell of it and with all that was charged, if it is live then."""
        if live.reservation not in unlike:
            return live
        known = whole_hold(live)
        hold = refused.further(known, self._told.pop(known.reservation, None))
        if hold.state is not State.HELD:
            return None
        charges = self._charges.get((hold.organization, hold.reservation))
        if charges is not None:
            hold = replace(hold, charged=charges.charged, charged_pico=charges.pico)
        return kept(hold)

    async def _unheard_of(self, told: Iterable[Hold]) -> list[LiveHold]:
        """Live holds of dead letters whose beginning is a dead letter too; any other the ledger saw end."""
        live = {key_of_hold(hold.reservation): hold for hold in told if hold.state is State.HELD}
        known = await epochs.known_keys(self._connection, self._organization, list(live))
        return [kept(hold) for key, hold in live.items() if key not in known]


def live_hold(row: asyncpg.Record) -> LiveHold:
    """A reservation that the ledger sees open. One that a former version wrote last is in another column."""
    kept_, former = row
    return decode_open(kept_) if former is None else kept(decode_former(former))
