"""What new entries do to open holds and balances, as values of the database's types, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from quota_service.application.ledger_ports import WindowBalance
from quota_service.domain.amounts import Amounts
from quota_service.domain.reservation import WindowRef
from quota_service.stores.hold_documents import encode_kept
from quota_service.stores.postgres import holds
from quota_service.stores.postgres.batch import Balance, Counter, HoldChange
from quota_service.stores.postgres.times import to_ms, to_time

Row = tuple[Any, ...]


def changes(of_holds: Iterable[HoldChange]) -> list[Row]:
    """Values of `open_hold_change`."""
    return [
        (change.organization, change.reservation, None, None, None, change.fresh)
        if change.hold is None
        else (
            change.organization,
            change.reservation,
            encode_kept(change.hold),
            holds.progress(change.hold),
            to_time(change.hold.expire_ms),
            change.fresh,
        )
        for change in of_holds
    ]


def gains(of_windows: Mapping[Counter, Balance]) -> list[Row]:
    """Values of `window_gain`."""
    return [
        (
            *(organization, budget, each_value, to_time(start_ms)),
            None if balance.end_ms is None else to_time(balance.end_ms),
            *balance.spent,
            *balance.overrun,
            *balance.added,
            *balance.moved,
        )
        for (organization, budget, each_value, start_ms), balance in of_windows.items()
    ]


def standings(rows: Iterable[asyncpg.Record]) -> Sequence[WindowBalance]:
    """Where windows stand, from values of `window_standing`."""
    return [_standing(row) for row in rows]


def counter(balance: WindowBalance) -> Counter:
    """Which row of `window_balances` it is."""
    window = balance.window
    return balance.organization, window.budget, window.each_value, window.start_ms


def _standing(row: asyncpg.Record) -> WindowBalance:
    end = row["window_end"]
    return WindowBalance(
        organization=row["organization"],
        window=WindowRef(
            row["budget"],
            row["each_value"],
            to_ms(row["window_start"]),
            None if end is None else to_ms(end),
        ),
        spent=Amounts(row["spent_cost_micros"], row["spent_tokens"], row["spent_requests"]),
        change=Amounts(row["change_cost_micros"], row["change_tokens"], row["change_requests"]),
        version=row["version"] or 0,
    )
