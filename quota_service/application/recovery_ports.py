"""What the application needs to make the deciding store's keys what the ledger says; it owns these Protocols.

Any of them raises StoreUnavailable when its store does not answer in time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from quota_service.domain.amounts import Amounts
from quota_service.domain.audit import Authorship
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import Keeping, WindowRef
from quota_service.domain.terms import Counters


class Epoch(NamedTuple):
    """Which making of an organization's keys is the current one; 0: there has been none.

    `broken`: they differ from the ledger in a way that only a new making mends. `is_pending`: the ledger has
    something that is to be brought to them. `is_known`: the ledger has heard of the organization.
    """

    number: int = 0
    broken: bool = False
    is_pending: bool = False
    is_known: bool = True


class Pending(NamedTuple):
    """An entry that the keys of an epoch have not. `is_open`: the ledger sees its reservation live."""

    entry: Entry
    is_open: bool
    epoch: int


class Fence(NamedTuple):
    """For which epoch an organization's keys were made, in which run of the server; `text` is that as it
    stands
    there, "" where it does not. `run_id` is the run of the server that was asked.
    """

    text: str
    epoch: int
    made_in: str
    run_id: str

    @property
    def is_of_other_layout(self) -> bool:
        """Whether another version wrote the keys, otherwise than this one does: a run ends with the layout of
        the keys that it is about.
        """
        return bool(self.epoch) and self.made_in.partition("/")[2] != self.run_id.partition("/")[2]

    def stands_for(self, epoch: Epoch) -> bool:
        """Whether the keys are those of the epoch."""
        is_same = epoch.number == self.epoch and self.made_in == self.run_id
        return bool(epoch.number) and is_same and not epoch.broken


class LiveHold(NamedTuple):
    """A reservation that the ledger sees open: in which windows it holds how much.

    There may be very many, so `whole` goes from store to store unread; `version`: of how it is written.
    `windows` are as the stores write them, alike wherever they are the same.
    """

    windows: bytes
    holds: Amounts
    reservation: str
    idempotency_key: str
    content_hash: str
    expire_ms: int
    whole: bytes
    version: int = 1


class Restored(NamedTuple):
    """A window to set, and how it is kept by now; `None`: its budget is gone."""

    window: WindowRef
    counters: Counters
    keeping: Keeping | None


class Turn(Protocol):
    """One process alone with the ledger of an organization: nobody writes it, nobody begins an epoch."""

    epoch: Epoch
    version: int  # the organization's configuration; 0: the organization is gone

    async def begin(self) -> int:
        """Begins a new epoch, and takes everything pending for applied: the keys are about to have it."""
        ...

    async def windows(self, ended_after_ms: int) -> Sequence[tuple[WindowRef, Counters]]:
        """Where the ledger sees the windows that end later than that, or never."""
        ...

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of some ledger keys that the ledger has."""
        ...

    def holds(self) -> AsyncGenerator[Sequence[LiveHold]]:
        """The reservations that the ledger sees open, in parts; to be closed."""
        ...

    def windows_of(self, hold: LiveHold) -> tuple[WindowRef, ...]: ...


class EpochStore(Protocol):
    """Epochs, and what is to be brought to the keys: PostgreSQL."""

    async def epoch(self, organization: str) -> Epoch: ...

    async def epochs(self) -> Mapping[str, Epoch]: ...

    def alone(self, organization: str) -> AbstractAsyncContextManager[Turn]:
        """Waits for its turn. What was begun is undone where the block ends with an exception."""
        ...

    async def mark_broken(self, organization: str, by: Authorship | None = None) -> None:
        """The keys must be made anew. `by`: who wants it so, which the audit trail is told; `None`: the
        service itself has found out.
        """
        ...

    async def pending(self, organization: str, count: int) -> Sequence[Pending]:
        """The oldest entries that the keys have not."""
        ...

    async def applied(self, organization: str, keys: Sequence[str]) -> None:
        """The keys have these entries now."""
        ...


class Making(Protocol):
    """Keys that one process makes anew, for one epoch. Each step says whether it was done: nothing is, once
    the fence is another.
    """

    async def clear(self) -> bool:
        """Fences the keys off for this making alone: whatever another has sent does nothing any more. From
        now on there is no hold.
        """
        ...

    async def forget_windows(self, *, every: bool) -> bool:
        """Forgets every window in which a hold counted that was live, or every window there is. May go on
        while holds are put.
        """
        ...

    async def put_holds(self, parts: AsyncIterable[Sequence[LiveHold]]) -> bool:
        """Sets live holds, each part at once. Moves no amounts."""
        ...

    async def put_windows(self, windows: Iterable[Restored]) -> bool: ...

    async def raise_fence(self, version: int) -> bool:
        """From now on scripts run on these keys, with this version of the configuration."""
        ...


class KeyStore(Protocol):
    """The keys of the deciding store, behind its fence: Valkey."""

    def now_ms(self) -> int:
        """The store's clock, as last heard and carried on."""
        ...

    def known_epoch(self, organization: str) -> int:
        """The epoch that this process takes the keys for; 0: none."""
        ...

    def adopt(self, organization: str, epoch: int) -> None:
        """From now on this process takes the keys for those of this epoch."""
        ...

    async def fence(self, organization: str) -> Fence:
        """Looks up which server is the right one first, where that can change."""
        ...

    async def lower(self, organization: str, seen: Fence) -> bool:
        """From now on no script runs on these keys. Whether the fence was still as seen."""
        ...

    async def waiting(self, organization: str, count: int) -> Sequence[Event]:
        """The oldest events, also of keys that are fenced off."""
        ...

    async def drop(self, organization: str, events: Sequence[Event]) -> None:
        """The ledger has these events."""
        ...

    def make(self, organization: str, seen: Fence, epoch: int) -> AbstractAsyncContextManager[Making]:
        """Makes the keys anew, whose fence is lowered, for that epoch."""
        ...

    async def apply(self, entry: Entry, epoch: int) -> bool:
        """Brings in what the ledger has and the keys have not; does no harm where they have. Whether it
        could:
        there are kinds of entries that only keys made anew can have. Raises StoreUnavailable where the keys
        are not of that epoch any more: newer ones have it.
        """
        ...
