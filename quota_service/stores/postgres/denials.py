"""Counts of denials in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from quota_service.application.alert_ports import DenialCount, DenialFilter, DenialKey, DenialPosition
from quota_service.domain.decision import Reason
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.times import to_ms, to_time

_SQL = sql.load("denials")


class PostgresDenials:
    """Implements `DenialStore` and `DenialLog`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, counts: Sequence[DenialCount]) -> None:
        if not counts:
            return
        columns = [list(column) for column in zip(*map(_row_of, counts), strict=True)]
        with translated():
            await self._pool.execute(_SQL["add_denials"], *columns)

    async def list(
        self, organization: str, filter_: DenialFilter, page_size: int, before: DenialPosition | None
    ) -> tuple[Sequence[DenialCount], DenialPosition | None]:
        *matches, from_ms, until_ms, teams = filter_
        times = (None if ms is None else to_time(ms) for ms in (from_ms, until_ms))
        begins = (to_time(before.minute_ms), before.id) if before else (None, None)
        with translated():
            rows = await self._pool.fetch(
                _SQL["list_denials"], organization, *matches, *times, *begins, page_size + 1, teams
            )
        page = rows[:page_size]
        following = _position_of(page[-1]) if len(rows) > page_size else None
        return [_count_of(row) for row in page], following

    async def drop_old(self) -> None:
        """Forgets those of more than a month ago. Raises StoreUnavailable."""
        with translated():
            await self._pool.execute(_SQL["drop_old_denials"])


def _row_of(counted: DenialCount) -> tuple[object, ...]:
    organization, minute_ms, *who_and_what, reason, source = counted.key
    return (
        organization,
        to_time(minute_ms),
        *(storable(text) for text in who_and_what),
        int(reason),
        source,
        counted.count,
        storable(counted.message),
    )


def _count_of(row: asyncpg.Record) -> DenialCount:
    key = DenialKey(
        organization=row["organization"],
        minute_ms=to_ms(row["minute"]),
        team=row["team"],
        user=row["user"],
        api_key=row["api_key"],
        project=row["project"],
        provider=row["provider"],
        model=row["model"],
        reason=Reason(row["reason"]),
        source=row["source"],
    )
    return DenialCount(key=key, count=row["count"], message=row["last_message"])


def _position_of(row: asyncpg.Record) -> DenialPosition:
    return DenialPosition(to_ms(row["minute"]), row["id"])
