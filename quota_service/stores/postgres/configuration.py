"""Organizations, directory, budgets and own models in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import asyncpg
import msgspec

from quota_service.application.ports import Change, Page, Stored
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import NOBODY, Authorship, Changed
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import AlreadyExists, OrganizationNotFound, ResourceInUse
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Organization, Project, Team, User
from quota_service.stores.postgres import audited, documents, sql, trail
from quota_service.stores.postgres.catalogue import ImportedModels
from quota_service.stores.postgres.change import PostgresChange
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.loading import assemble
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.rows import stored_organization, stored_resource
from quota_service.stores.postgres.turns import Turns

R = TypeVar("R", Team, User, ApiKey, Project, Budget, RateLimit, ModelPolicy, Model)

_SQL = sql.load("configuration")


class PostgresConfigurationStore:
    """Implements `ConfigurationStore`. One per process: its configurations share the imported models."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._imported = ImportedModels()
        self._turns = Turns(max(1, pool.get_max_size() // 2))

    def change(self, organization: str, by: Authorship = NOBODY) -> AbstractAsyncContextManager[Change]:
        """One transaction, committed unless the block raises. Raises OrganizationNotFound."""
        return self._change(organization, by)

    @asynccontextmanager
    async def _change(self, organization: str, by: Authorship) -> AsyncIterator[Change]:
        async with self._transaction(organization) as connection:
            row = await connection.fetchrow(_SQL["lock_organization"], organization)
            change = PostgresChange(connection, _found(organization, row), by)
            yield change
            await change.finish()

    async def create_organization(
        self, value: Organization, request_id: str, by: Authorship = NOBODY
    ) -> tuple[Stored[Organization], int]:
        document = documents.encode(value)
        content_hash = hashlib.sha256(document.encode()).hexdigest()
        async with self._transaction(value.id) as connection:
            row = await connection.fetchrow(_SQL["insert_organization"], value.id, document)
            if row is None:
                return await _created_before(connection, value.id, request_id, content_hash)
            if request_id:
                await connection.execute(_SQL["claim_request"], value.id, request_id, content_hash)
            await connection.execute(_SQL["notify"], value.id)
            made = Changed(audited.ORGANIZATION, after=audited.document(value))
            await trail.append(connection, value.id, [(by, made)])
            return stored_organization(row), row["version"]

    async def delete_organization(self, organization: str, by: Authorship = NOBODY) -> int:
        async with self._transaction(organization) as connection:
            row = _found(organization, await connection.fetchrow(_SQL["lock_organization"], organization))
            if await connection.fetchval(_SQL["has_resources"], organization):
                raise ResourceInUse(
                    f"Organization “{organization}” is not empty: delete its teams, users, keys, projects, "
                    "budgets and models first."
                )
            await connection.execute(_SQL["delete_organization"], organization)
            await connection.execute(_SQL["notify"], organization)
            version: int = await connection.fetchval(_SQL["next_version"])
            settings = audited.document(stored_organization(row).value)
            gone = Changed(audited.ORGANIZATION, before=settings)
            await trail.append(connection, organization, [(by, gone)])
            return version

    async def get_organization(self, organization: str) -> Stored[Organization]:
        async with self._connection() as connection:
            row = await connection.fetchrow(_SQL["get_organization"], organization)
        return stored_organization(_found(organization, row))

    async def list_organizations(self, page_size: int, after: str) -> Page[Stored[Organization]]:
        async with self._connection() as connection:
            rows = await connection.fetch(_SQL["list_organizations"], after, page_size + 1)
        items = [stored_organization(row) for row in rows[:page_size]]
        return Page(tuple(items), _next(rows, page_size))

    async def versions(self) -> Mapping[str, int]:
        async with self._connection() as connection:
            return {row["id"]: row["version"] for row in await connection.fetch(_SQL["versions"])}

    async def get(self, organization: str, kind: type[R], id_: str) -> Stored[R] | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(_SQL["get_resource"], organization, documents.KINDS[kind], id_)
        return stored_resource(kind, row) if row else None

    async def list(
        self,
        organization: str,
        kind: type[R],
        page_size: int,
        after: str,
        only: Sequence[str] | None = None,
    ) -> Page[Stored[R]]:
        async with self._connection() as connection:
            arguments = (organization, documents.KINDS[kind], after, page_size + 1, only)
            rows = await connection.fetch(_SQL["list_resources"], *arguments)
            if not rows:
                _found(organization, await connection.fetchrow(_SQL["get_organization"], organization))
        items = [stored_resource(kind, row) for row in rows[:page_size]]
        return Page(tuple(items), _next(rows, page_size))

    async def load(self, organization: str, known: Configuration | None) -> Configuration:
        """Reads one snapshot; `known` itself where nothing has changed."""
        with translated():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await self._load(connection, organization, known)

    async def organization_of_key(self, api_key: str) -> str | None:
        async with self._connection() as connection:
            organization: str | None = await connection.fetchval(_SQL["organization_of_key"], api_key)
        return organization

    async def keys_with(self, start: str) -> tuple[tuple[str, str], ...]:
        async with self._connection() as connection:
            rows = await connection.fetch(
                _SQL["keys_with_start"], msgspec.json.encode([{"start": start}]).decode()
            )
        return tuple((row["organization"], row["id"]) for row in rows)

    async def _load(
        self, connection: Connection, organization: str, known: Configuration | None
    ) -> Configuration:
        head = _found(organization, await connection.fetchrow(_SQL["configuration_head"], organization))
        if known is not None and not head["first_version"] <= known.version <= head["version"]:
            known = None  # It is of an older organization of this name, or of a database restored since.
        if known is None:
            rows = await connection.fetch(_SQL["live_resources"], organization)
        elif known.version == head["version"]:
            return known
        else:
            rows = await connection.fetch(_SQL["changed_resources"], organization, known.version)
        imported = await self._imported.at(connection, head["import_version"])
        settings = documents.decode(Organization, head["document"])
        return assemble(head["version"], settings, known, rows, imported)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with translated():
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self, organization: str) -> AsyncIterator[Connection]:
        """Of a change."""
        async with (
            self._turns.turn(organization),
            self._connection() as connection,
            connection.transaction(),
        ):
            yield connection


async def _created_before(
    connection: Connection, organization: str, request_id: str, content_hash: str
) -> tuple[Stored[Organization], int]:
    """The answer to a repeated creation. Raises AlreadyExists where this one is no repeat."""
    row = await connection.fetchrow(_SQL["get_organization"], organization)
    known_hash = await connection.fetchval(_SQL["request_hash"], organization, request_id)
    if row is None or known_hash != content_hash:
        raise AlreadyExists(f"Organization “{organization}” exists.")
    return stored_organization(row), row["version"]


def _found(organization: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise OrganizationNotFound(f"There is no organization “{organization}”.")
    return row


def _next(rows: Sequence[asyncpg.Record], page_size: int) -> str:
    """Where the next page begins, given one row more than the page has."""
    return rows[page_size - 1]["id"] if len(rows) > page_size else ""
