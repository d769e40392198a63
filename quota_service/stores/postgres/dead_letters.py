"""Entries that the ledger refuses, kept in PostgreSQL until somebody replays them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import asyncpg

from quota_service.application.dead_letter_ports import DeadLetter
from quota_service.application.ledger_ports import WriteResult
from quota_service.application.ports import Page
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.audit import Authorship, Changed
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.ledger import Entry, EntryType, key_of_end, key_of_hold
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters
from quota_service.stores.postgres import audited, epochs, refused, sql, trail
from quota_service.stores.postgres.batch import Batch, balances
from quota_service.stores.postgres.entry_rows import storable
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection
from quota_service.stores.postgres.times import to_ms
from quota_service.stores.postgres.transaction import write_batch

_SQL = sql.load("dead_letters")

ERROR_CHARACTERS_MAX = 500
_ID_MAX = 2**63 - 1
_ONE = Amounts(1, 1, 1)


class PostgresDeadLetters:
    """Implements `DeadLetterStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def reason_of(self, error: Exception) -> str:
        """PostgreSQL's own text is left out: it may quote what other entries say."""
        cause = error.__cause__ if isinstance(error.__cause__, asyncpg.PostgresError) else error
        if isinstance(cause, asyncpg.PostgresError):
            text = " ".join(_parts_of(cause))
        else:
            text = f"{type(error).__name__}: {error}"
        return storable(text)[:ERROR_CHARACTERS_MAX]

    async def takes_entries(self) -> bool:
        """Writes a reservation and its Commit for no organization, as any other is written, and undoes it."""
        try:
            await self._write_and_undo()
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever else it is, it is no entry's fault
            return isinstance(error, _Undo)
        raise AssertionError("unreachable")

    async def _write_and_undo(self) -> None:
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await write_batch(connection, Batch(_beyond_objection()))
                raise _Undo

    async def put(self, entry: Entry, error: str, tries: int) -> bool:
        organization = entry.hold.organization
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                state = await epochs.begin(connection, Batch([entry]))
                is_new = await connection.fetchval(_SQL["put"], *_row_of(entry), error, tries)
                event = await connection.fetchval(_SQL["event_of_key"], *_row_of(entry)[:2])
                if event is None:
                    return False
                # One of an older epoch came after the keys were made anew, without it. Two of one key: it ran
                # again, long after it was first refused, so that the keys have it twice.
                if state.has_run(entry) if event != _event_of(entry) else is_new and not state.has_run(entry):
                    await epochs.mark_broken(connection, [organization])
        return True

    async def list(self, organization: str, page_size: int, after: str) -> Page[DeadLetter]:
        with translated():
            rows = await self._pool.fetch(_SQL["list"], organization, _number(after) or 0, page_size + 1)
        next_ = str(rows[page_size - 1]["id"]) if len(rows) > page_size else ""
        return Page(tuple(map(_letter, rows[:page_size])), next_)

    async def ids(self, organization: str) -> Sequence[str]:
        with translated():
            rows = await self._pool.fetch(_SQL["ids"], organization)
        return [str(row["id"]) for row in rows]

    async def count(self) -> int:
        with translated():
            count: int = await self._pool.fetchval(_SQL["count"])
        return count

    async def write(self, organization: str, id_: str, by: Authorship) -> WriteResult | None:
        """Tells of the entry as of what the keys have, where they count it: they do not get it again."""
        number = _number(id_)
        if number is None:
            return None
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                return await _replay(connection, organization, number, by)

    async def refused_again(self, organization: str, id_: str, error: str) -> None:
        with translated():
            await self._pool.execute(_SQL["refused_again"], organization, _number(id_), error)

    async def balances(self, organization: str) -> Mapping[WindowRef, Counters]:
        with translated():
            entries = await refused.counted_by_keys(self._pool, organization)
        return dict(refused.gains_of(balances(entries)))


async def _replay(
    connection: Connection, organization: str, number: int, by: Authorship
) -> WriteResult | None:
    # First the epoch's lock, as everybody takes it first.
    await connection.execute(_SQL["lock_shared"], organization)
    row = await connection.fetchrow(_SQL["take"], organization, number)
    if row is None:
        return None
    result = await write_batch(connection, Batch([refused.entry_of(row)]))
    await connection.execute(_SQL["forget"], organization, number)
    await trail.append(connection, organization, [(by, Changed(audited.dead_letter(number)))])
    return result


class _Undo(Exception):
    """Ends a transaction that is to leave nothing."""


def _row_of(entry: Entry) -> tuple[object, ...]:
    """Organization, digest, key, reservation, epoch, event, entry."""
    return (
        entry.hold.organization,
        blake2b(entry.key.encode(), digest_size=32).digest(),
        storable(entry.key),
        storable(entry.hold.reservation),
        entry.origin.epoch if entry.origin is not None else 0,
        _event_of(entry),
        refused.encode_entry(entry),
    )


def _event_of(entry: Entry) -> str:
    return entry.origin.event if entry.origin is not None else ""


def _parts_of(error: asyncpg.PostgresError) -> list[str]:
    """Which kind of error, and what it is about."""
    about = {
        "constraint": error.constraint_name,
        "table": error.table_name,
        "column": error.column_name,
    }
    named = [f"{kind} {name}" for kind, name in about.items() if name]
    return [type(error).__name__, str(error.sqlstate), *named]


def _beyond_objection() -> list[Entry]:
    reservation = f"probe-{secrets.token_hex(16)}"
    hold = Hold(
        organization="",
        reservation=reservation,
        subject=Subject(organization=""),
        provider="",
        model="",
        requested_model="",
        rates=(),
        windows=(WindowRef(reservation, "", 0, None),),
        held=_ONE,
    )
    made = Entry(key=key_of_hold(reservation), content_hash="", type=EntryType.HOLD, at_ms=0, hold=hold)
    part = Entry(
        key=key_of_end(reservation),
        content_hash="",
        type=EntryType.COMMIT,
        at_ms=0,
        hold=replace(hold, held=NOTHING, charged=_ONE, degraded=True),
        charged=_ONE,
        overrun=_ONE,
    )
    return [made, part]


def _letter(row: asyncpg.Record) -> DeadLetter:
    return DeadLetter(
        id=str(row["id"]),
        entry=refused.entry_of(row),
        error=row["error"],
        tries=row["tries"],
        create_ms=to_ms(row["create_time"]),
        try_ms=to_ms(row["try_time"]),
    )


def _number(id_: str) -> int | None:
    """`None`: nothing has that id."""
    number = int(id_) if id_.isascii() and id_.isdecimal() and len(id_) < 20 else None
    return number if number is not None and number <= _ID_MAX else None
