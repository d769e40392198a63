"""What the application needs of the ledger: PostgreSQL implements these Protocols; the application owns them.

Any of them raises StoreUnavailable when the ledger does not answer in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.rollover import Past
from quota_service.domain.subject import Subject


class Charged(NamedTuple):
    """What entries of the ledger have charged, and how much of it was above what had been held."""

    spent: Amounts = NOTHING
    overrun: Amounts = NOTHING

    def plus(self, other: Charged) -> Charged:
        return Charged(self.spent.plus(other.spent), self.overrun.plus(other.overrun))


class LedgerSpend(NamedTuple):
    """What the ledger has of one provider and model, as callers named them, and of one value of a budget's
    `each` dimension ("" where it is one of the model's).
    """

    provider: str
    model: str
    each_value: str
    charged: Charged


class Written(Enum):
    """What became of an entry.

    VOID: an expiry or release of a reservation that the ledger has seen committed; it counts for nothing.
    """

    NEW = "new"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    VOID = "void"


class WindowBalance(NamedTuple):
    """Where a window stands in the ledger. `change`: by how much its limit differs from the budget's.

    `version`: the organization's configuration as the ledger's transaction saw it; 0: the organization is
    gone.
    """

    organization: str
    window: WindowRef
    spent: Amounts
    change: Amounts
    version: int


class WriteResult(NamedTuple):
    """What became of each entry, and where the windows stand that the entries charge, also those whose entry
    had been written before.
    """

    results: Sequence[Written]
    balances: Sequence[WindowBalance] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """An entry as the ledger has it. `id` is its number; `create_ms` when it was written."""

    id: int
    entry: Entry
    create_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFilter:
    """Which entries; empty parts match everything. Times are of `create_ms`: `[from_ms, until_ms)`. `teams`:
    only entries of these; `None`: of whoever spent.
    """

    teams: Sequence[str] | None = None
    subject: Subject = field(default_factory=Subject)
    reservation: str = ""
    type: EntryType | None = None
    budget: str = ""
    from_ms: int | None = None
    until_ms: int | None = None


class BalanceStore(Protocol):
    """What the ledger's entries add up to, window by window."""

    async def latest(self, organization: str, window: WindowRef, starts_ms: Sequence[int]) -> Past | None:
        """Where the window's counter stands in the latest of the windows that start then; `None`: the ledger
        knows none of them.
        """
        ...


class Ledger(Protocol):
    """The durable truth about money: append-only."""

    async def write(self, entries: Sequence[Entry]) -> WriteResult:
        """All in one transaction, each exactly once by its key, with balances and open holds. Results in the
        order of the entries.
        """
        ...

    async def hold(self, organization: str, reservation: str) -> Hold | None:
        """A reservation as the ledger remembers it, put together from its entries."""
        ...

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        """The entry of a key."""
        ...

    async def list(
        self, organization: str, filter_: LedgerFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[LedgerRow], int | None]:
        """Newest first, below the id `before`; with the id to go on from, `None` at the end."""
        ...
