"""What the application needs of the stores. The stores implement these Protocols; the application owns them.

Any of them raises StoreUnavailable when its store does not answer in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from quota_service.application.ledger_ports import Charged, LedgerSpend, Written
from quota_service.domain import commands
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import Authorship
from quota_service.domain.budget import Budget, Seed
from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.ledger import Entry
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.opening import Open, OpenAnswer
from quota_service.domain.period import Window
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.reservation import Hold
from quota_service.domain.subject import Organization, Project, Team, User

R = TypeVar("R", Team, User, ApiKey, Project, Budget, RateLimit, ModelPolicy, Model)
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Generic[V_co]):
    """A resource as stored. `etag` changes with every change; times are ms by PostgreSQL's clock."""

    value: V_co
    etag: str
    create_ms: int
    update_ms: int


class Page(NamedTuple, Generic[V_co]):
    """One page of a list. `next` is where the following page begins, "" at the end."""

    items: tuple[V_co, ...]
    next: str


# --- configuration: PostgreSQL
# ------------------------------------------------------------------------------------------------


class Change(Protocol):
    """A change of one organization's configuration: one transaction, with the organization's row locked.

    When it ends without an exception, the organization's version has been raised and everything is committed.
    """

    organization: Stored[Organization]
    version: int  # the version that this change makes

    async def get(self, kind: type[R], id_: str) -> Stored[R] | None: ...

    async def all(self, kind: type[R]) -> tuple[R, ...]:
        """Every resource of a kind, by id: for rules about references."""
        ...

    async def put(self, value: R) -> Stored[R]:
        """Creates or replaces. Raises AlreadyExists for an API key id that another organization has."""
        ...

    async def delete(self, kind: type[R], id_: str) -> None: ...

    async def put_organization(self, value: Organization) -> Stored[Organization]: ...

    async def spend_in(self, budget: Budget, window: Window) -> Sequence[LedgerSpend]:
        """What the ledger's entries since the start of a window come to, as far as their subjects match the
        budget: models are for the caller to match. What is charged to the budget meanwhile waits.
        """
        ...

    async def begin_balances(
        self, budget: str, window: Window, sums: Mapping[str, Charged], *, keep_changes: bool = False
    ) -> tuple[Seed, ...]:
        """Sets what the ledger has added up for a budget's window, by value of `each`; every other value has
        nothing. `keep_changes`: what their limits have been given or have lost stays. Returns the seeds of
        the counters that begin with something or had anything before.
        """
        ...

    async def claim_request(self, request_id: str, content_hash: str) -> bool:
        """Whether the request_id is new. Raises IdempotencyConflict where it was used with other content."""
        ...

    async def write_entry(self, entry: Entry) -> Written:
        """Writes an entry of the organization's ledger together with the change: both or neither."""
        ...


class ConfigurationStore(Protocol):
    """Organizations, directory, budgets, own models. A Model's id is `provider/model`."""

    def change(self, organization: str, by: Authorship) -> AbstractAsyncContextManager[Change]:
        """`by`: who makes it, which the audit trail is told in the same transaction, for everything that was
        changed. Raises OrganizationNotFound.
        """
        ...

    async def create_organization(
        self, value: Organization, request_id: str, by: Authorship
    ) -> tuple[Stored[Organization], int]:
        """The organization and its version. Raises AlreadyExists, unless the same request_id made it with
        the same content.
        """
        ...

    async def delete_organization(self, organization: str, by: Authorship) -> int:
        """Returns the version after which it is gone. Raises OrganizationNotFound, ResourceInUse where it
        still has resources.
        """
        ...

    async def get_organization(self, organization: str) -> Stored[Organization]:
        """Raises OrganizationNotFound."""
        ...

    async def list_organizations(self, page_size: int, after: str) -> Page[Stored[Organization]]: ...

    async def get(self, organization: str, kind: type[R], id_: str) -> Stored[R] | None: ...

    async def keys_with(self, start: str) -> tuple[tuple[str, str], ...]:
        """The organizations and ids of the API keys that have a secret with that start."""
        ...

    async def list(
        self,
        organization: str,
        kind: type[R],
        page_size: int,
        after: str,
        only: Sequence[str] | None = None,
    ) -> Page[Stored[R]]:
        """By id. `only`: of these ids. Raises OrganizationNotFound."""
        ...

    async def load(self, organization: str, known: Configuration | None) -> Configuration:
        """The current configuration, from `known` and what has changed since. Raises OrganizationNotFound."""
        ...

    async def organization_of_key(self, api_key: str) -> str | None: ...

    async def versions(self) -> Mapping[str, int]:
        """Every organization with the version of its configuration."""
        ...


class ModelAliases(Protocol):
    """The importer's knowledge of other spellings."""

    def resolve(self, provider: str, model: str) -> ModelKey | None:
        """The imported catalogue's name of a model that is spelt otherwise, such as with a date."""
        ...


# --- decisions: Valkey
# --------------------------------------------------------------------------------------------------------


class HoldStore(Protocol):
    """The store that decides: one atomic step a call."""

    def now_ms(self) -> int:
        """The store's clock, as last heard and carried on. An estimate: every decision checks it."""
        ...

    async def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer: ...

    async def commit(self, command: commands.Commit) -> commands.CommitAnswer: ...

    async def release(self, command: commands.Release) -> commands.ReleaseAnswer: ...

    async def extend(self, command: commands.Extend) -> commands.ExtendAnswer: ...

    async def record(self, command: commands.Record) -> commands.RecordAnswer: ...

    async def inspect(self, command: commands.Inspect, *, is_urgent: bool = False) -> commands.InspectAnswer:
        """`is_urgent`: waits no longer than for a decision."""
        ...

    async def get(self, organization: str, reservation: str) -> Hold | None: ...

    async def live(self, organization: str, after: str, count: int) -> Page[Hold]:
        """Live holds by expiry, then by id."""
        ...

    def place(self, hold: Hold) -> str:
        """Where a list of live holds goes on behind this one."""
        ...

    def epoch_of(self, organization: str) -> int:
        """For which epoch this process takes the organization's keys: see `recovery_ports`."""
        ...

    async def restore(self, hold: Hold, epoch: int) -> None:
        """Puts back an ended hold that the ledger remembers, if it is absent, so that it can be settled
        late. Moves no amounts. Raises StoreUnavailable where the keys are not of that epoch any more: what
        the ledger remembers may be in them by now.
        """
        ...

    async def sweep(self, organization: str) -> int:
        """Retires due holds, and forgets what keys made anew have left; returns at how many holds it looked:
        0 when nothing remains to be done.
        """
        ...


class EventLog(Protocol):
    """What the scripts did and the ledger may not know yet: one stream per organization."""

    async def older_than(self, organization: str, age_ms: int, count: int) -> Sequence[commands.Event]: ...

    async def acknowledge(self, organization: str, events: Sequence[commands.Event]) -> None:
        """The ledger has them. Ended reservations and Records are remembered 10 minutes from here."""
        ...


class WindowStore(Protocol):
    """Windows of the store that decides, which begin with something."""

    async def open(self, command: Open) -> OpenAnswer: ...
