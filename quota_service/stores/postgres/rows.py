"""Rows of organizations and resources as values."""

from __future__ import annotations

from typing import TypeVar

import asyncpg

from quota_service.application.ports import Stored
from quota_service.domain.subject import Organization
from quota_service.stores.postgres import documents
from quota_service.stores.postgres.times import to_ms

T = TypeVar("T")


def stored_organization(row: asyncpg.Record) -> Stored[Organization]:
    return _stored(Organization, row, row["settings_version"])


def stored_resource(kind: type[T], row: asyncpg.Record) -> Stored[T]:
    return _stored(kind, row, row["version"])


def _stored(kind: type[T], row: asyncpg.Record, version: int) -> Stored[T]:
    # A version is drawn once and never again, so it is all that an etag needs.
    return Stored(
        value=documents.decode(kind, row["document"]),
        etag=f"{version:x}",
        create_ms=to_ms(row["create_time"]),
        update_ms=to_ms(row["update_time"]),
    )
