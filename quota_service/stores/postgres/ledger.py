"""The ledger in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import asyncpg
import msgspec

from quota_service.application.ledger_ports import LedgerFilter, LedgerRow, WindowBalance, WriteResult
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.stores.hold_documents import encode_kept
from quota_service.stores.postgres import audited, epochs, holds, refused, sql, trail
from quota_service.stores.postgres.batch import (
    Balance,
    Batch,
    Before,
    Claimed,
    Counter,
    HoldChange,
    Key,
    balances,
    hold_changes,
    key_of,
    origin_text,
)
from quota_service.stores.postgres.entry_rows import (
    COLUMNS,
    charged_of,
    hold_of,
    ledger_row_of,
    row_of,
    storable,
)
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_ms, to_time

_SQL = sql.load("ledger")

ACQUIRE_S = 3.0
"""How long a batch waits for a connection: where none gets free, none answers."""


class PostgresLedger:
    """Implements `Ledger`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def write(self, entries: Sequence[Entry]) -> WriteResult:
        """After StoreUnavailable it is unknown whether they were written: write them again."""
        if not entries:
            return WriteResult(())
        batch = Batch(entries)
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
                return await write_batch(connection, batch)

    async def hold(self, organization: str, reservation: str) -> Hold | None:
        with translated():
            rows = await self._pool.fetch(_SQL["entries_of_reservation"], organization, reservation)
            told = await refused.holds_of(self._pool, organization, reservation)
        charged, pico = charged_of(rows)
        for hold in told:  # a dead letter counts all the same
            charged, pico = charged.at_least(hold.charged), max(pico, hold.charged_pico)
        return holds.latest([*map(hold_of, rows), *told], charged, pico)

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        with translated():
            row = await self._pool.fetchrow(_SQL["find_entry"], organization, storable(key))
        return ledger_row_of(row) if row else None

    async def list(
        self, organization: str, filter_: LedgerFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[LedgerRow], int | None]:
        name = "list_entries_of_reservation" if filter_.reservation else "list_entries"
        arguments = (organization, *_filter_arguments(filter_), before, page_size + 1, filter_.teams)
        with translated():
            rows = await self._pool.fetch(_SQL[name], *arguments)
        following = rows[page_size - 1]["id"] if len(rows) > page_size else None
        return [ledger_row_of(row) for row in rows[:page_size]], following


async def write_batch(connection: Connection, batch: Batch) -> WriteResult:
    """Writes what is new, within a transaction, and tells what became of each entry and of each window.

    Every transaction locks in the same order, keys, open holds, balances, each sorted, so that none waits in
    a circle. Balances come last, because there all transactions of an organization meet.
    """
    state = await epochs.begin(connection, batch)
    batch, won, before = await _claimed(connection, batch)
    claimed = batch.new_entries(won)
    entries = await epochs.reduced(connection, [entry for _, entry in claimed], state)
    changed: Sequence[WindowBalance] = ()
    if entries:
        rows = [row_of(*claim, entry) for (claim, _), entry in zip(claimed, entries, strict=True)]
        await connection.copy_records_to_table("ledger_entries", records=rows, columns=COLUMNS)
        await _change_holds(connection, hold_changes(entries))
    results = batch.results(won, before)
    own = {key_of(entry) for entry in batch.entries}
    told = zip(batch.entries, results, strict=True)
    await epochs.note(connection, state, [entry for entry in entries if key_of(entry) in own], told, before)
    if entries:
        changed = await _add_balances(connection, balances(entries))
        await trail.append_all(connection, [*audited.limit_changes(entries, changed)])
    replayed = balances(batch.replayed(won)).keys() - {_counter(balance) for balance in changed}
    unchanged = await _read_balances(connection, replayed) if replayed else ()
    return WriteResult(results, (*changed, *unchanged))


async def _claimed(
    connection: Connection, batch: Batch
) -> tuple[Batch, Mapping[Key, Claimed], Mapping[Key, Before]]:
    """The batch with the keys that are new, and what had been written under those that are not.

    What has happened all the same although its key was taken claims another one.
    """
    won = dict(await _claim(connection, batch, batch.claims))
    before = dict(await _before(connection, batch.lost(won)))
    rekeyed = batch.rekeyed(before)
    if rekeyed is not batch:
        other = rekeyed.claims.keys() - batch.claims.keys()
        won |= await _claim(connection, rekeyed, [key for key in rekeyed.claims if key in other])
        before |= await _before(connection, [key for key in rekeyed.lost(won) if key in other])
    return rekeyed, won, before


async def _claim(connection: Connection, batch: Batch, keys: Iterable[Key]) -> Mapping[Key, Claimed]:
    """Those of the batch's keys that are new. Waits for others that are writing the same."""
    claims = [(key, batch.claims[key]) for key in keys]
    if not claims:
        return {}
    rows = [
        (*key, claim.content_hash, origin_text(claim.origin) if isinstance(claim, Entry) else "")
        for key, claim in claims
    ]
    won = await connection.fetch(_SQL["claim_keys"], *_columns(rows))
    return {(row["organization"], row["key"]): Claimed(row["entry_id"], row["create_time"]) for row in won}


async def _before(connection: Connection, keys: Sequence[Key]) -> Mapping[Key, Before]:
    if not keys:
        return {}
    # A statement of its own: it sees what has been committed while the claim was waiting.
    rows = await connection.fetch(_SQL["written_before"], *_columns(keys))
    return {
        (row["organization"], row["key"]): Before(
            row["content_hash"], row["origin"], EntryType(row["type"]) if row["type"] else None
        )
        for row in rows
    }


async def _change_holds(connection: Connection, changes: Sequence[HoldChange]) -> None:
    rows = [
        (
            change.organization,
            change.reservation,
            encode_kept(change.hold) if change.hold else None,
            holds.progress(change.hold) if change.hold else None,
            to_time(change.hold.expire_ms) if change.hold else None,
            change.fresh,
        )
        for change in changes
    ]
    if rows:
        await connection.execute(_SQL["change_open_holds"], *_columns(rows))


async def _add_balances(connection: Connection, gains: Mapping[Counter, Balance]) -> Sequence[WindowBalance]:
    rows = [
        (
            *(organization, budget, each_value, to_time(start_ms)),
            None if balance.end_ms is None else to_time(balance.end_ms),
            *balance.spent,
            *balance.overrun,
            *balance.added,
            *balance.moved,
        )
        for (organization, budget, each_value, start_ms), balance in gains.items()
    ]
    if not rows:
        return ()
    return [_balance_of(row) for row in await connection.fetch(_SQL["add_balances"], *_columns(rows))]


async def _read_balances(connection: Connection, counters: Iterable[Counter]) -> Sequence[WindowBalance]:
    rows = [(*names, to_time(start_ms)) for *names, start_ms in sorted(counters)]
    return [_balance_of(row) for row in await connection.fetch(_SQL["read_balances"], *_columns(rows))]


def _counter(balance: WindowBalance) -> Counter:
    window = balance.window
    return balance.organization, window.budget, window.each_value, window.start_ms


def _balance_of(row: asyncpg.Record) -> WindowBalance:
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


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows as arrays for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)]


def _filter_arguments(filter_: LedgerFilter) -> tuple[object, ...]:
    """In the order of the parameters $2 to $12 of the lists."""
    subject = filter_.subject
    return (
        filter_.reservation,
        filter_.type.value if filter_.type else "",
        subject.team,
        subject.user,
        subject.api_key,
        subject.project,
        subject.cost_center,
        msgspec.json.encode(dict(subject.tags)).decode(),
        msgspec.json.encode([{"budget": filter_.budget}] if filter_.budget else []).decode(),
        None if filter_.from_ms is None else to_time(filter_.from_ms),
        None if filter_.until_ms is None else to_time(filter_.until_ms),
    )
