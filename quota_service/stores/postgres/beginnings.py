"""With what windows begin: the ledger's balances of earlier ones, and what a new budget finds spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import asyncpg
import msgspec

from quota_service.application.ledger_ports import Charged, LedgerSpend
from quota_service.domain.amounts import Amounts
from quota_service.domain.budget import Budget, Seed
from quota_service.domain.period import Window
from quota_service.domain.reservation import WindowRef
from quota_service.domain.rollover import Past
from quota_service.domain.terms import Counters
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_ms, to_time

_SQL = sql.load("beginnings")

_CLOCKS_APART = timedelta(hours=1)
"""An entry may bear an earlier time of writing than of what happened: two clocks tell them."""

_SUM_S = 30
"""A month of a large ledger takes longer to add up than any other statement."""


class PostgresBeginnings:
    """Implements `BalanceStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def latest(self, organization: str, window: WindowRef, starts_ms: Sequence[int]) -> Past | None:
        starts = [to_time(start_ms) for start_ms in starts_ms]
        counter = (organization, window.budget, storable(window.each_value))
        with translated():
            row = await self._pool.fetchrow(_SQL["latest_balance"], *counter, starts)
        if row is None:
            return None
        counters = Counters(
            spent=_amounts(row, "spent"),
            overrun=_amounts(row, "overrun"),
            added=_amounts(row, "added"),
            moved=_amounts(row, "moved"),
        )
        return Past(to_ms(row["window_start"]), counters)


async def spend_in(
    connection: Connection, organization: str, budget: Budget, window: Window
) -> Sequence[LedgerSpend]:
    """Implements `Change.spend_in`."""
    scope, each, start = budget.scope, budget.scope.each, to_time(window.start_ms)
    await connection.execute(_SQL["lock_balances"], organization, budget.id, start)
    await connection.execute(f"SET LOCAL statement_timeout = '{_SUM_S}s'")
    rows = await connection.fetch(
        _SQL["spend_by_model"],
        organization,
        *(scope.team, scope.user, scope.api_key, scope.project, scope.cost_center),
        msgspec.json.encode(dict(scope.tags)).decode(),
        each.dimension.name if each is not None else "",
        each.tag if each is not None else "",
        *(start, start - _CLOCKS_APART, window.start_ms),
        timeout=_SUM_S,
    )
    return [
        LedgerSpend(
            row["provider"],
            row["model"],
            row["each_value"],
            Charged(_amounts(row, "spent"), _amounts(row, "overrun")),
        )
        for row in rows
    ]


async def begin_balances(
    connection: Connection,
    organization: str,
    budget: str,
    window: Window,
    sums: Mapping[str, Charged],
    keep_changes: bool,
) -> tuple[Seed, ...]:
    """Implements `Change.begin_balances`."""
    start = to_time(window.start_ms)
    end = None if window.end_ms is None else to_time(window.end_ms)
    left_over = await connection.fetch(_SQL["lock_balances"], organization, budget, start)
    before = {
        row["each_value"]: Charged(_amounts(row, "spent"), _amounts(row, "overrun")) for row in left_over
    }
    of_values = {**dict.fromkeys(before, Charged()), **sums}
    rows = [(value, *charged.spent, *charged.overrun) for value, charged in of_values.items()]
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        where = (organization, budget, start, end)
        await connection.execute(_SQL["begin_balances"], *where, *columns, keep_changes)
    return tuple(
        _seed(value, charged, before.get(value, Charged())) for value, charged in sorted(of_values.items())
    )


def _seed(each_value: str, now: Charged, before: Charged) -> Seed:
    return Seed(each_value, now.spent.minus(before.spent), now.overrun.minus(before.overrun))


def _amounts(row: asyncpg.Record, what: str) -> Amounts:
    return Amounts(*(row[f"{what}_{meter}"] for meter in Amounts._fields))
