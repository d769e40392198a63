"""The usual transaction of the ledger, as one statement.

Mostly all entries are new, what they imply has been written before, and the deciding store ran them in the
epoch that is running. Then all that they do is known beforehand. PostgreSQL looks whether it is so, and else
does nothing: `transaction` is for everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quota_service.application.ledger_ports import WriteResult, Written
from quota_service.domain.ledger import Entry, EntryType
from quota_service.stores.postgres import effects, sql
from quota_service.stores.postgres.batch import Batch, balances, hold_changes, is_part, origin_text
from quota_service.stores.postgres.entry_rows import values_of
from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("ledger")


async def write(connection: Connection, batch: Batch) -> WriteResult | None:
    """Writes a batch, outside a transaction: as one of its own. `None`: nothing was done."""
    epochs = _epochs(batch)
    if epochs is None:
        return None
    entries = [claim for claim in batch.claims.values() if isinstance(claim, Entry)]
    implied = [key for key, claim in batch.claims.items() if not isinstance(claim, Entry)]
    standing = await connection.fetchval(
        _SQL["write_new"],
        *_two_columns(sorted(epochs.items())),
        *_two_columns(batch.reservations),
        *_two_columns(implied),
        [(*values_of(entry), origin_text(entry.origin)) for entry in entries],
        effects.changes(hold_changes(entries)),
        effects.gains(balances(entries)),
    )
    if standing is None:
        return None
    return WriteResult([Written.NEW] * len(entries), effects.standings(standing))


def _epochs(batch: Batch) -> Mapping[str, int] | None:
    """In which epoch of each organization the batch's scripts ran; `None` where the batch is not as usual."""
    epochs: dict[str, int] = {}
    for entry in batch.entries:
        origin = entry.origin
        if origin is None or entry.late or entry.changes:
            return None
        if entry.type is EntryType.COMMIT and is_part(entry):
            return None
        if epochs.setdefault(entry.hold.organization, origin.epoch) != origin.epoch:
            return None
    own = sum(isinstance(claim, Entry) for claim in batch.claims.values())
    return epochs if own == len(batch.entries) else None


def _two_columns(pairs: Iterable[tuple[Any, Any]]) -> tuple[tuple[Any, ...], ...]:
    """Pairs as two arrays for `unnest`."""
    return tuple(zip(*pairs, strict=True)) or ((), ())
