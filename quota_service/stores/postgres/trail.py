"""The audit trail in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import asyncpg

from quota_service.application.audit_ports import Looked, TrailFilter, TrailRow
from quota_service.domain import audit
from quota_service.domain.audit import AuditEvent, Authorship, Changed, Finding, Head, Tampering
from quota_service.stores.postgres import audited, sql
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_time, to_us

_SQL = sql.load("audit")

EVENTS_PER_READ = 1_000
PAGE_CHARACTERS_MAX = 1_000_000
"""Each may have two large documents."""

NAMED_MAX = audit.MISSING_NAMED_MAX


async def append(
    connection: Connection, organization: str, told: Sequence[tuple[Authorship, Changed]]
) -> None:
    """Adds events to an organization's trail, within a transaction, as the last thing that it does."""
    if not told:
        return
    await connection.execute(_SQL["lock_trail"], organization)
    [end] = await connection.fetch(_SQL["end_of_trail"], organization)
    head = _head(end)
    create_us = to_us(end["now"])
    events: list[AuditEvent] = []
    for by, changed in told:
        by = Authorship(*map(storable, by))
        events += audit.chained(organization, head, create_us, by, [changed])
        head = Head(events[-1].sequence, events[-1].hash)
    rows = [_row_of(event, end["now"]) for event in events]
    await connection.execute(_SQL["append_events"], *([*column] for column in zip(*rows, strict=True)))


async def append_all(connection: Connection, told: Sequence[tuple[str, Authorship, Changed]]) -> None:
    """Adds events to the trails of several organizations, by which they are sorted."""
    for organization, events in groupby(told, key=lambda each: each[0]):
        await append(connection, organization, [(by, changed) for _, by, changed in events])


class PostgresTrail:
    """Implements `AuditTrail`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def list(
        self, organization: str, filter_: TrailFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[TrailRow], int | None]:
        times = (None if ms is None else to_time(ms) for ms in (filter_.from_ms, filter_.until_ms))
        arguments = (organization, filter_.actor, filter_.method, filter_.resource, *times)
        with translated():
            rows = await self._pool.fetch(_SQL["list_events"], *arguments, before, page_size + 1)
        page = _fitting(rows[:page_size])
        following = page[-1]["sequence"] if len(rows) > len(page) else None
        return [_trail_row(_event(row)) for row in page], following

    async def verify(self, organization: str, after: int, count: int) -> Looked:
        count = min(count, EVENTS_PER_READ)
        head = Head(after, await self.hash_of(organization, after) or audit.NO_HASH)
        with translated():
            rows = await self._pool.fetch(_SQL["events_from"], organization, after, count + 1)
            strays = (
                () if after else await self._pool.fetch(_SQL["events_below_one"], organization, NAMED_MAX)
            )
        events = [_event(row) for row in rows[:count]]
        links = [audit.Link(event.sequence, event.previous, event.hash, event.digest()) for event in events]
        at = Head(events[-1].sequence, events[-1].hash) if events else head
        added = [Finding(Tampering.ADDED, row["sequence"]) for row in strays]
        return Looked([*added, *audit.broken_links(head, links)], len(events), at, len(rows) > count)

    async def hash_of(self, organization: str, sequence: int) -> bytes | None:
        with translated():
            hash_: bytes | None = await self._pool.fetchval(_SQL["event_hash"], organization, sequence)
        return hash_

    async def head(self, organization: str) -> Head:
        with translated():
            row = await self._pool.fetchrow(_SQL["end_of_trail"], organization)
        return _head(row)


def _head(end: asyncpg.Record | None) -> Head:
    return Head() if end is None or end["sequence"] is None else Head(end["sequence"], end["hash"])


def _fitting(rows: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """As many as an answer has room for, and one at least."""
    room = PAGE_CHARACTERS_MAX
    for count, row in enumerate(rows):
        room -= len(row["before"] or "") + len(row["after"] or "")
        if room < 0:
            return rows[: max(count, 1)]
    return rows


def _row_of(event: AuditEvent, now: datetime) -> tuple[object, ...]:
    return (
        event.organization,
        event.sequence,
        now,
        *event.by,
        *event.changed,
        event.previous,
        event.hash,
    )


def _event(row: asyncpg.Record) -> AuditEvent:
    return AuditEvent(
        organization=row["organization"],
        sequence=row["sequence"],
        create_us=to_us(row["create_time"]),
        by=Authorship(*(row[name] for name in Authorship._fields)),
        changed=Changed(*(row[name] for name in Changed._fields)),
        previous=row["previous_hash"],
        hash=row["hash"],
    )


def _trail_row(event: AuditEvent) -> TrailRow:
    resource, before, after = event.changed
    return TrailRow(event, audited.state(resource, before), audited.state(resource, after))
