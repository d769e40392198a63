"""A transaction of the ledger, step by step: for any entries, whatever was written before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from quota_service.application.ledger_ports import WindowBalance, WriteResult
from quota_service.domain.ledger import Entry, EntryType
from quota_service.stores.postgres import audited, effects, epochs, sql, trail
from quota_service.stores.postgres.batch import (
    Batch,
    Before,
    Claimed,
    Counter,
    Key,
    balances,
    hold_changes,
    key_of,
    origin_text,
)
from quota_service.stores.postgres.entry_rows import COLUMNS, row_of
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_time

_SQL = sql.load("ledger")


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
        changes = effects.changes(hold_changes(entries))
        if changes:
            await connection.execute(_SQL["change_open_holds"], changes)
    results = batch.results(won, before)
    own = {key_of(entry) for entry in batch.entries}
    told = zip(batch.entries, results, strict=True)
    await epochs.note(connection, state, [entry for entry in entries if key_of(entry) in own], told, before)
    if entries:
        gains = effects.gains(balances(entries))
        if gains:
            changed = effects.standings(await connection.fetch(_SQL["add_balances"], gains))
        await trail.append_all(connection, [*audited.limit_changes(entries, changed)])
    replayed = balances(batch.replayed(won)).keys() - {effects.counter(balance) for balance in changed}
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


async def _read_balances(connection: Connection, counters: Iterable[Counter]) -> Sequence[WindowBalance]:
    rows = [(*names, to_time(start_ms)) for *names, start_ms in sorted(counters)]
    return effects.standings(await connection.fetch(_SQL["read_balances"], *_columns(rows)))


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows as arrays for `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)]
