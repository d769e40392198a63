"""What the stores hold at the end: the auditor's other side of the books, read past the service."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import msgspec
import redis.asyncio

from tests.chaos.journal import LimitChange
from tests.chaos.scene import NOTHING, ORGANIZATIONS, Spent

_WINDOW_KEY = re.compile(
    r"quota/\{(?P<organization>[^}]+)\}/window/(?P<budget>[^/]+)/(?P<start>\d+)/(?P<value>.*)"
)
_WORK_TABLES = "pending|dead_letter|deadletter"
"""Tables with such a name hold work that is not done; they must be empty when all is quiet."""


class Window(NamedTuple):
    """One counter of a budget in one period."""

    organization: str
    budget: str
    each_value: str
    start_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the ledger."""

    organization: str
    key: str
    type: str
    reservation: str
    charged: Spent
    overrun: Spent
    late: bool
    final: bool
    windows: tuple[Window, ...]
    changes: tuple[tuple[Window, LimitChange], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the ledger has added up for a window."""

    spent: Spent
    overrun: Spent
    added: Spent = NOTHING
    moved: Spent = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWindow:
    """A window as Valkey has it."""

    spent: Spent
    held: Spent
    holds: int
    overrun: Spent
    added: Spent = NOTHING
    moved: Spent = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything at one instant. `work`: what is not done yet, by where it lies."""

    entries: tuple[Entry, ...]
    balances: Mapping[Window, Balance]
    live: Mapping[Window, LiveWindow]
    work: Mapping[str, int]


class Reader:
    """Looks into both stores, without the proxies."""

    def __init__(self, valkey_url: str, postgres_url: str) -> None:
        self._valkey_url = valkey_url
        self._postgres_url = postgres_url

    async def work(self) -> dict[str, int]:
        """What is not done yet: events, live holds, open holds, rows of work tables."""
        async with self._valkey() as valkey, self._postgres() as postgres:
            return {**await _work_in_valkey(valkey), **await _work_in_postgres(postgres)}

    async def everything(self) -> Evidence:
        async with self._valkey() as valkey, self._postgres() as postgres:
            return Evidence(
                entries=tuple([_entry(row) for row in await postgres.fetch(_ENTRIES)]),
                balances=dict(map(_balance, await postgres.fetch(_BALANCES))),
                live=await _live(valkey),
                work={**await _work_in_valkey(valkey), **await _work_in_postgres(postgres)},
            )

    async def dump(self) -> str:
        """The ledger and what is left over, row by row, for a person who looks for a cause."""
        async with self._postgres() as postgres:
            work = [row["table_name"] for row in await postgres.fetch(_TABLES, _WORK_TABLES)]
            names = await postgres.fetch(_EXISTING, [*_LEDGER_TABLES, *work])
            rows = [
                {"table": name, **row}
                for (name,) in names
                for row in await postgres.fetch(f'SELECT * FROM "{name}"')
            ]
        return "".join(json.dumps(row, default=str) + "\n" for row in rows)

    async def drift(self) -> int:
        """By how many micro-USD Valkey's windows and the ledger's balances differ now, added up."""
        async with self._valkey() as valkey, self._postgres() as postgres:
            live = await _live(valkey)
            balances = dict(map(_balance, await postgres.fetch(_BALANCES)))
        nothing = Balance(spent=NOTHING, overrun=NOTHING)
        return sum(
            abs(there.spent.cost - balances.get(window, nothing).spent.cost) for window, there in live.items()
        )

    async def events(self) -> int:
        async with self._valkey() as valkey:
            return sum((await _events(valkey)).values())

    @contextlib.asynccontextmanager
    async def _valkey(self) -> Any:
        client = redis.asyncio.from_url(self._valkey_url)
        try:
            yield client
        finally:
            await client.aclose()

    @contextlib.asynccontextmanager
    async def _postgres(self) -> Any:
        connection = await asyncpg.connect(self._postgres_url)
        try:
            yield connection
        finally:
            await connection.close()


_ENTRIES = "SELECT * FROM ledger_entries ORDER BY id"
_BALANCES = "SELECT * FROM window_balances"
_TABLES = (
    "SELECT table_name, EXISTS (SELECT FROM information_schema.columns c"
    " WHERE c.table_name = t.table_name AND c.column_name = 'applied') AS remembers"
    " FROM information_schema.tables t WHERE table_schema = 'public' AND table_name ~ $1 ORDER BY table_name"
)
"""The work tables. Some remember what has been done for a while, marked as applied."""

_LEDGER_TABLES = ("ledger_entries", "ledger_keys", "window_balances", "open_holds", "store_epochs")
_EXISTING = "SELECT name FROM unnest($1::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL"
_CHANGING = ("ADJUST", "REALLOCATE", "ROLLOVER")


def _entry(row: asyncpg.Record) -> Entry:
    documents = json.loads(row["windows"])
    changes = [_change(row, document) for document in documents] if row["type"] in _CHANGING else []
    return Entry(
        organization=row["organization"],
        key=row["key"],
        type=row["type"],
        reservation=row["reservation"],
        charged=_amounts(row, "charged"),
        overrun=_amounts(row, "overrun"),
        late=row["late"],
        final=row["final"],
        windows=tuple(_window(row, document) for document in documents),
        changes=tuple(change for change in changes if change is not None),
    )


def _window(row: asyncpg.Record, document: Mapping[str, Any]) -> Window:
    return Window(row["organization"], document["budget"], document["each_value"], document["start_ms"])


def _change(row: asyncpg.Record, document: Mapping[str, Any]) -> tuple[Window, LimitChange] | None:
    """What an entry changed of a window's own limit; `None` where it changed those of many windows."""
    if document.get("until_ms") is not None:
        return None
    moved = Spent(*document.get("moved", ()))
    amount = Spent(*document.get("added", ())).plus(moved)
    change = LimitChange(
        organization=row["organization"],
        budget=document["budget"],
        each_value=document["each_value"],
        amount=amount,
        moved=moved != NOTHING,
    )
    return _window(row, document), change


def _balance(row: asyncpg.Record) -> tuple[Window, Balance]:
    start_ms = round(row["window_start"].timestamp() * 1000)
    return Window(row["organization"], row["budget"], row["each_value"], start_ms), Balance(
        spent=_amounts(row, "spent"),
        overrun=_amounts(row, "overrun"),
        added=_amounts(row, "added"),
        moved=_amounts(row, "moved"),
    )


def _amounts(row: asyncpg.Record, what: str) -> Spent:
    return Spent(row[f"{what}_cost_micros"], row[f"{what}_tokens"], row[f"{what}_requests"])


async def _live(valkey: Any) -> dict[Window, LiveWindow]:
    keys = [key async for key in valkey.scan_iter(match="quota/*/window/*", count=1_000)]
    values = await valkey.mget(keys) if keys else []
    found = {}
    for key, packed in zip(keys, values, strict=True):
        name = _WINDOW_KEY.fullmatch(key.decode())
        if packed is not None and name is not None:
            window = Window(name["organization"], name["budget"], name["value"], int(name["start"]))
            found[window] = _live_window(packed)
    return found


def _live_window(packed: bytes) -> LiveWindow:
    told = msgspec.msgpack.decode(packed)
    nothing = [[0, 0, 0]] * 5  # what is nothing is left out
    spent, held, holds, overrun, _, _, added, moved, *_ = told if len(told) > 3 else [*told, *nothing]
    return LiveWindow(
        spent=Spent(*spent),
        held=Spent(*held),
        holds=holds,
        overrun=Spent(*overrun),
        added=Spent(*added),
        moved=Spent(*moved),
    )


async def _events(valkey: Any) -> dict[str, int]:
    """Entries of every stream that there is, whatever it is called."""
    streams = [key async for key in valkey.scan_iter(match="quota/*", count=1_000, _type="stream")]
    return {f"stream {key.decode()}": await valkey.xlen(key) for key in streams}


async def _work_in_valkey(valkey: Any) -> dict[str, int]:
    live = sum([await valkey.zcard(f"quota/{{{name}}}/holds") for name in ORGANIZATIONS])
    return {**await _events(valkey), "live holds in Valkey": live}


async def _work_in_postgres(postgres: Any) -> dict[str, int]:
    counts = {}
    for row in await postgres.fetch(_TABLES, _WORK_TABLES):
        undone = "WHERE NOT applied" if row["remembers"] else ""
        sql = f'SELECT count(*) FROM "{row["table_name"]}" {undone}'
        counts[f"table {row['table_name']}"] = await postgres.fetchval(sql)
    return {**counts, "open holds in the ledger": await postgres.fetchval("SELECT count(*) FROM open_holds")}
