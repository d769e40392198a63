"""What is looked up to tell whether all is well; the application owns these Protocols.

Any of them raises StoreUnavailable when its store does not answer in time. Clocks are compared with this
process's: ms that the store's is ahead, negative where it is behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from quota_service.application.recovery_ports import Epoch, Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyFacts:
    """What the deciding store says of itself.

    `kind`: `valkey`, `redis`, or whatever it calls itself. `bytes_max` 0: it has no limit. `failed_writes`:
    what it could not write the last time. `appendfsync`, `saves` (when it writes snapshots, "" never) and
    `replicas_min` are settings, `None` where nobody may read them.
    """

    kind: str
    version: str
    role: str
    is_loading: bool
    eviction_policy: str
    has_append_only_file: bool
    appendfsync: str | None
    saves: str | None
    replicas: int
    replicas_min: int | None
    bytes_used: int
    bytes_max: int
    failed_writes: tuple[str, ...]
    clock_ahead_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """What the ledger's server says of itself. `version`: as a number, such as 180003 for 18.3.

    `pool_connections`: how many this replica opens at most. `partitions_missing`: of the ledger, by name, for
    this month and the next one. `may_rewrite`: whether it lets us change what is append-only.
    `sealed_ms`: since when the ledger has not been sealed.
    """

    version: int
    is_standby: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    connections_max: int
    connections_used: int
    pool_connections: int
    schema: str
    schema_expected: str
    partitions_missing: tuple[str, ...]
    may_rewrite: bool
    sealed_ms: int
    clock_ahead_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSide:
    """An organization as the ledger has it. `pending`: how many entries the deciding store has not, and how
    old the oldest of them is.
    """

    organization: str
    epoch: Epoch
    pending: int
    pending_ms: int
    dead_letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSide:
    """An organization as the deciding store has it. `events`: how many wait for the ledger, how many bytes
    they take, and how old the oldest is.
    """

    fence: Fence
    events: int
    events_bytes: int
    events_ms: int


class ValkeyHealth(Protocol):
    """The store that decides."""

    @property
    def is_available(self) -> bool:
        """Whether the circuit breaker lets calls through."""
        ...

    @property
    def events_bytes_max(self) -> int:
        """How many bytes of an organization's events may wait."""
        ...

    async def facts(self) -> ValkeyFacts: ...

    async def organizations(self, organizations: Sequence[str]) -> Mapping[str, KeysSide]: ...


class PostgresHealth(Protocol):
    """The ledger's server."""

    async def facts(self) -> PostgresFacts: ...

    async def organizations(self) -> Sequence[LedgerSide]:
        """Every organization, by id."""
        ...
