"""What the application needs to keep entries that the ledger refuses; PostgreSQL implements these Protocols.

Any of them raises StoreUnavailable when its store does not answer in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from quota_service.application.ledger_ports import WriteResult
from quota_service.application.ports import Page
from quota_service.domain.audit import Authorship
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An entry that the ledger has refused `tries` times, the last time at `try_ms` with `error`.

    `entry.origin` has the epoch whose keys count it, which may be a later one than it ran in; 0: none. `id`
    is unique within the organization, and rises.
    """

    id: str
    entry: Entry
    error: str
    tries: int
    create_ms: int
    try_ms: int


class DeadLetterStore(Protocol):
    """Entries that the ledger refuses, one a ledger key. The keys that are made anew count them."""

    def reason_of(self, error: Exception) -> str:
        """Why an entry was refused, without anything of other entries."""
        ...

    async def takes_entries(self) -> bool:
        """Whether the ledger would take entries that nobody can object to. Nothing is written."""
        ...

    async def put(self, entry: Entry, error: str, tries: int) -> bool:
        """Keeps an entry that has come from the deciding store. Once for each: does no harm when repeated.
        False: the ledger has one of its key by now; it is to be written again.
        """
        ...

    async def list(self, organization: str, page_size: int, after: str) -> Page[DeadLetter]:
        """The oldest first."""
        ...

    async def ids(self, organization: str) -> Sequence[str]:
        """Of all of an organization, the oldest first."""
        ...

    async def count(self) -> int:
        """Of all organizations."""
        ...

    async def write(self, organization: str, id_: str, by: Authorship) -> WriteResult | None:
        """Writes the entry into the ledger, forgets the dead letter and tells the audit trail: all or
        nothing. `None`: there is no such dead letter. Raises whatever the ledger refuses the entry with.
        """
        ...

    async def refused_again(self, organization: str, id_: str, error: str) -> None:
        """One more try was in vain."""
        ...

    async def balances(self, organization: str) -> Mapping[WindowRef, Counters]:
        """What the deciding store's keys have of dead letters, and the ledger has not: window by window."""
        ...
