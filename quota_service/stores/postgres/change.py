"""A change of one organization's configuration under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import asyncpg

from quota_service.application.ledger_ports import Charged, LedgerSpend, Written
from quota_service.application.ports import Stored
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import Authorship, Changed
from quota_service.domain.budget import Budget, Seed
from quota_service.domain.errors import AlreadyExists, IdempotencyConflict
from quota_service.domain.ledger import Entry
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.period import Window
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Organization, Project, Team, User
from quota_service.stores.postgres import audited, beginnings, documents, sql, trail
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.rows import stored_organization, stored_resource
from quota_service.stores.postgres.transaction import write_batch

R = TypeVar("R", Team, User, ApiKey, Project, Budget, RateLimit, ModelPolicy, Model)

_SQL = sql.load("configuration")


class PostgresChange:
    """Implements `Change`.

    `version` is the organization's until the first write, then the one that this change makes.

    So a change that writes nothing (a repeated request) never names a version that does not come to be.
    `by`: who makes it, as the audit trail is told.
    """

    def __init__(self, connection: Connection, row: asyncpg.Record, by: Authorship) -> None:
        self._connection = connection
        self._by = by
        self._changed: list[Changed] = []
        self._raised = False
        self.organization: Stored[Organization] = stored_organization(row)
        self.version: int = row["version"]

    @property
    def _id(self) -> str:
        return self.organization.value.id

    async def get(self, kind: type[R], id_: str) -> Stored[R] | None:
        row = await self._connection.fetchrow(_SQL["get_resource"], self._id, documents.KINDS[kind], id_)
        return stored_resource(kind, row) if row else None

    async def all(self, kind: type[R]) -> tuple[R, ...]:
        rows = await self._connection.fetch(_SQL["all_resources"], self._id, documents.KINDS[kind])
        return tuple(documents.decode(kind, row["document"]) for row in rows)

    async def put(self, value: R) -> Stored[R]:
        kind = type(value)
        arguments = (
            documents.KINDS[kind],
            documents.id_of(value),
            documents.encode(value),
            await self._new_version(),
        )
        try:
            # In a savepoint, so that the caller may go on after AlreadyExists.
            async with self._connection.transaction():
                row = await self._connection.fetchrow(_SQL["put_resource"], self._id, *arguments)
        except asyncpg.UniqueViolationError as error:
            raise AlreadyExists(
                f"An API key “{documents.id_of(value)}” exists; their ids are unique."
            ) from error
        assert row is not None
        replaced = None if row["replaced"] is None else documents.decode(kind, row["replaced"])
        self._note(kind, row["id"], replaced, value)
        return stored_resource(kind, row)

    async def delete(self, kind: type[R], id_: str) -> None:
        stored = await self.get(kind, id_)
        if stored is None:
            return
        self._note(kind, id_, stored.value, None)
        version = await self._new_version()
        await self._connection.execute(_SQL["delete_resource"], self._id, documents.KINDS[kind], id_, version)

    def _note(self, kind: type[R], id_: str, before: R | None, after: R | None) -> None:
        documented = (None if each is None else audited.document(each) for each in (before, after))
        self._changed.append(Changed(audited.resource(documents.KINDS[kind], id_), *documented))

    async def put_organization(self, value: Organization) -> Stored[Organization]:
        before, after = audited.document(self.organization.value), audited.document(value)
        self._changed.append(Changed(audited.ORGANIZATION, before, after))
        arguments = (self._id, documents.encode(value), await self._new_version())
        row = await self._connection.fetchrow(_SQL["put_organization"], *arguments)
        assert row is not None
        self.organization = stored_organization(row)
        return self.organization

    async def spend_in(self, budget: Budget, window: Window) -> Sequence[LedgerSpend]:
        return await beginnings.spend_in(self._connection, self._id, budget, window)

    async def begin_balances(
        self, budget: str, window: Window, sums: Mapping[str, Charged], *, keep_changes: bool = False
    ) -> tuple[Seed, ...]:
        return await beginnings.begin_balances(self._connection, self._id, budget, window, sums, keep_changes)

    async def claim_request(self, request_id: str, content_hash: str) -> bool:
        if await self._connection.fetchval(_SQL["claim_request"], self._id, request_id, content_hash):
            return True
        if await self._connection.fetchval(_SQL["request_hash"], self._id, request_id) != content_hash:
            raise IdempotencyConflict(f"The request_id “{request_id}” was used before with other content.")
        return False

    async def write_entry(self, entry: Entry) -> Written:
        [written] = (await write_batch(self._connection, Batch([entry]))).results
        return written

    async def finish(self) -> None:
        """Raises the organization's version where something was written, and tells the audit trail."""
        if self._raised:
            await self._connection.execute(_SQL["finish_change"], self._id, self.version)
        await trail.append(self._connection, self._id, [(self._by, changed) for changed in self._changed])

    async def _new_version(self) -> int:
        if not self._raised:
            self.version = await self._connection.fetchval(_SQL["next_version"])
            self._raised = True
        return self.version
