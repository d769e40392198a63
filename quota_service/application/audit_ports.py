"""What the application needs of the audit trail: PostgreSQL implements these Protocols.

Any of them raises StoreUnavailable when PostgreSQL does not answer in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from quota_service.domain.amounts import Amounts
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import AuditEvent, Finding, Head
from quota_service.domain.budget import Budget
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Organization, Project, Team, User


class WindowLimit(NamedTuple):
    """By how much a window's limit differs from its budget's, by everything that was changed about it."""

    window: WindowRef
    change: Amounts


State = (
    Organization
    | Team
    | User
    | ApiKey
    | Project
    | Budget
    | RateLimit
    | ModelPolicy
    | Model
    | tuple[WindowLimit, ...]
)
"""What something was like: a resource, or the limits of windows."""


class TrailRow(NamedTuple):
    """An event, with what it is about as it was before and after; `None`: there was nothing."""

    event: AuditEvent
    before: State | None
    after: State | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailFilter:
    """Which events; empty parts match everything. `resource` "": of the organization itself; `None`: all.
    Times are `[from_ms, until_ms)`.
    """

    actor: str = ""
    method: str = ""
    resource: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None


class Looked(NamedTuple):
    """A stretch of a chain that was verified. `at`: its last link; `more`: whether others follow it.

    `records`: how many events, or ledger entries. `unsealed`: how many ledger entries are not sealed yet.
    """

    findings: Sequence[Finding]
    records: int
    at: Head
    more: bool
    unsealed: int = 0


class Verifiable(Protocol):
    """A chain of each organization."""

    async def verify(self, organization: str, after: int, count: int) -> Looked:
        """The links that follow the one with the sequence `after`: of about `count` records, and one at
        least where there is any.
        """
        ...

    async def hash_of(self, organization: str, sequence: int) -> bytes | None:
        """`None`: there is no such link."""
        ...

    async def head(self, organization: str) -> Head:
        """The newest link."""
        ...


class AuditTrail(Verifiable, Protocol):
    """What was changed: a link is an event."""

    async def list(
        self, organization: str, filter_: TrailFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[TrailRow], int | None]:
        """Newest first, below the sequence `before`; with the one to go on from, `None` at the end."""
        ...


class LedgerSeals(Verifiable, Protocol):
    """What the ledger's entries were when they were sealed: a link is a seal of several. What is changed
    afterwards is found.
    """

    async def seal(self) -> None:
        """Seals all that nobody is writing any more. To be called now and then, by every replica: one of
        them does it.
        """
        ...
