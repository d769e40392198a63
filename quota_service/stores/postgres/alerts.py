"""Alerts in PostgreSQL: kept once each, listed, and completed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec

from quota_service.application.alert_ports import AlertFilter, Consumer, StoredAlert
from quota_service.domain.alerting import Alert, action_name
from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Action, Block, Downgrade, LadderStep, Mode, Notify, Restrict
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Dimension, Subject
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_ms, to_time

_SQL = sql.load("alerts")

CLOCKS_APART = timedelta(minutes=1)
"""How far the ledger's clock may be behind the windows'."""


class PostgresAlerts:
    """Implements `AlertStore`, `DetailStore` and `AlertLog`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def fire(self, alerts: Sequence[Alert]) -> None:
        columns = [list(column) for column in zip(*map(_row_of, alerts), strict=True)]
        if columns:
            with translated():
                await self._pool.execute(_SQL["fire"], *columns)

    async def remind(self, alert: Alert, cooldown_ms: int) -> int:
        cooldown = timedelta(milliseconds=cooldown_ms)
        with translated():
            wait_ms: int = await self._pool.fetchval(_SQL["remind"], *_row_of(alert), cooldown)
        return max(0, wait_ms)

    async def list(
        self, organization: str, filter_: AlertFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[StoredAlert], int | None]:
        times = (None if ms is None else to_time(ms) for ms in (filter_.from_ms, filter_.until_ms))
        with translated():
            rows = await self._pool.fetch(
                _SQL["list_alerts"],
                organization,
                filter_.budget,
                *times,
                before,
                page_size + 1,
                filter_.budgets,
            )
        following = rows[page_size - 1]["id"] if len(rows) > page_size else None
        return [_stored_of(row) for row in rows[:page_size]], following

    async def fill_next(self, forecast: Callable[[StoredAlert], int | None]) -> bool:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_SQL["claim_without_details"])
                if row is None:
                    return False
                stored = _stored_of(row)
                details = {
                    "consumers": await _top_consumers(connection, stored.alert),
                    "forecast_ms": forecast(stored),
                }
                document = msgspec.json.encode(details).decode()
                await connection.execute(_SQL["fill_details"], row["organization"], stored.id, document)
        return True


async def _top_consumers(connection: Connection, alert: Alert) -> Sequence[Consumer]:
    """None where it would take too long: an alert with less to tell is better than a busy database."""
    window = alert.window
    counter = {"budget": window.budget, "each_value": window.each_value, "start_ms": window.start_ms}
    arguments = (
        alert.organization,
        to_time(window.start_ms) - CLOCKS_APART,
        msgspec.json.encode([counter]).decode(),
        alert.meter,
    )
    with contextlib.suppress(asyncpg.QueryCanceledError):
        async with connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = '3s'")
            rows = await connection.fetch(_SQL["top_consumers"], *arguments)
        return [Consumer(Dimension(row["dimension"]), row["id"], row["amount"]) for row in rows]
    return ()


def _row_of(alert: Alert) -> tuple[Any, ...]:
    """In the order of the parameters $1 to $17 of both statements."""
    window = alert.window
    return (
        alert.organization,
        window.budget,
        storable(window.each_value),
        to_time(window.start_ms),
        None if window.end_ms is None else to_time(window.end_ms),
        alert.step.at_percent,
        action_name(alert.step.action),
        _target_of(alert.step.action),
        *(int(alert.meter), int(alert.mode), alert.limit, alert.spent, alert.held),
        *(alert.display_name, alert.time_zone),
        msgspec.json.encode(alert.recipients).decode(),
        _subject_document(alert.subject),
    )


def _subject_document(subject: Subject) -> str:
    """Without the character NUL, which PostgreSQL cannot store."""
    return msgspec.json.encode(subject).decode().replace("\\u0000", "␀")


def _stored_of(row: asyncpg.Record) -> StoredAlert:
    details = msgspec.json.decode(row["details"]) if row["details"] else {}
    return StoredAlert(
        id=row["id"],
        alert=_alert_of(row),
        create_ms=to_ms(row["create_time"]),
        consumers=tuple(Consumer(Dimension(kind), *rest) for kind, *rest in details.get("consumers", ())),
        forecast_ms=details.get("forecast_ms"),
    )


def _alert_of(row: asyncpg.Record) -> Alert:
    end = row["window_end"]
    window = WindowRef(
        row["budget"], row["each_value"], to_ms(row["window_start"]), None if end is None else to_ms(end)
    )
    return Alert(
        organization=row["organization"],
        window=window,
        step=LadderStep(at_percent=row["at_percent"], action=_action_of(row["action"], row["target"])),
        meter=Meter(row["meter"]),
        mode=Mode(row["mode"]),
        limit=row["limit"],
        spent=row["spent"],
        held=row["held"],
        repeat=row["repeat"],
        display_name=row["display_name"],
        time_zone=row["time_zone"],
        recipients=tuple(msgspec.json.decode(row["recipients"])),
        subject=msgspec.json.decode(row["subject"], type=Subject),
    )


def _target_of(action: Action) -> str:
    """What a step restricts to, or diverts to; "" where there is no such thing."""
    if isinstance(action, Restrict):
        return str(action.max_tier)
    return f"{action.provider}/{action.model}" if isinstance(action, Downgrade) else ""


def _action_of(name: str, target: str) -> Action:
    if name == action_name(Block()):
        return Block()
    if name == action_name(Notify()):
        return Notify()
    if name == action_name(Restrict(max_tier=0)):
        return Restrict(max_tier=int(target))
    provider, _, model = target.partition("/")
    return Downgrade(provider=provider, model=model)
