"""What both stores are looked up for to be compared; the application owns these Protocols.

Any of them raises StoreUnavailable when its store does not answer in time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from quota_service.domain.amounts import Amounts
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, Origin
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import WindowKey


class LiveHold(NamedTuple):
    """What a live hold holds, in each of its windows."""

    reservation: str
    create_ms: int
    remaining: Amounts
    windows: tuple[WindowRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysMoment:
    """Some windows in the deciding store at one moment, and all that was on its way from there.

    `windows`: in the order in which they were asked for. `events`: all that wait for the ledger; `last_event`
    the newest that has ever waited, "" where none has. `holds`: every live hold, also those whose time is
    over; `None`: they are too many to be looked at in one moment.
    """

    epoch: int
    windows: Sequence[Counters]
    events: Sequence[Event]
    last_event: str
    holds: Sequence[LiveHold] | None


class Ran(NamedTuple):
    """An entry of the ledger and where it ran; `None`: not in the deciding store."""

    entry: Entry
    origin: Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMoment:
    """Some windows in the ledger at one moment, and all that was on its way from there.

    `windows`: those that the ledger knows, with the end that it has for them. `known`: which of the events'
    keys it has. `newer`: entries written after a given one that charge or change windows. `pending`: entries
    that the deciding store has not. `dead`: by how much the deciding store has more, because the ledger
    refuses that.
    """

    windows: Mapping[WindowKey, tuple[WindowRef, Counters]]
    known: frozenset[str]
    newer: Sequence[Ran]
    pending: Sequence[Entry]
    dead: Mapping[WindowKey, Counters]


class OpenHold(NamedTuple):
    """A reservation that the ledger sees open."""

    reservation: str
    create_ms: int
    windows: tuple[WindowRef, ...]


class KeysLook(Protocol):
    """The deciding store. But for `forget` nothing is changed."""

    def now_ms(self) -> int:
        """The store's clock, as last heard and carried on."""
        ...

    async def windows(self, organization: str, windows: Sequence[WindowRef]) -> Sequence[Counters]: ...

    async def moment(self, organization: str, windows: Sequence[WindowRef]) -> KeysMoment:
        """Raises StoreUnavailable also where too much waits for the ledger to be looked at."""
        ...

    def holds(self, organization: str) -> AsyncIterator[Sequence[LiveHold]]:
        """Every live hold, in parts: one after the other, so not at one moment."""
        ...

    async def live_among(self, organization: str, reservations: Sequence[str]) -> frozenset[str]:
        """Those of some reservations that are live."""
        ...

    def search(self, organization: str) -> AsyncIterator[Sequence[WindowRef]]:
        """Every window that is there, in parts, maybe several times. Their ends are not earlier than they
        are. Goes through all keys of the store.
        """
        ...

    async def forget(self, organization: str, windows: Sequence[WindowRef]) -> None:
        """Drops windows of keys that are about to be made anew."""
        ...


class LedgerLook(Protocol):
    """The ledger."""

    def windows(
        self, organization: str, ended_after_ms: int
    ) -> AsyncIterator[Sequence[tuple[WindowRef, Counters]]]:
        """Where the ledger sees the windows that end later than that, or never, in parts."""
        ...

    async def newest_entry(self) -> int:
        """Whatever is written from now on has a higher id."""
        ...

    async def moment(
        self, organization: str, windows: Sequence[WindowRef], events: Sequence[Event], after_entry: int
    ) -> LedgerMoment: ...

    def open_holds(self, organization: str) -> AsyncIterator[Sequence[OpenHold]]:
        """The reservations that the ledger sees open, in parts."""
        ...

    async def open_among(self, organization: str, reservations: Collection[str]) -> frozenset[str]:
        """Those of some reservations that the ledger sees open."""
        ...

    async def dead_reservations(self, organization: str) -> frozenset[str]:
        """Reservations of which the ledger refuses something."""
        ...
