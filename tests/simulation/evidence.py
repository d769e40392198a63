"""What the stores hold in the end, read without any of the service's code."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.terms import Counters
from tests.simulation.database import Database
from tests.simulation.valkey import SimulatedValkey

_METERS = Amounts._fields


class Place(NamedTuple):
    """A window, without its end."""

    budget: str
    each_value: str
    start_ms: int


class Sums(NamedTuple):
    """What a window has come to: charged to it, above what was held, and the changes of its limit."""

    spent: Amounts = NOTHING
    overrun: Amounts = NOTHING
    added: Amounts = NOTHING
    moved: Amounts = NOTHING

    def plus(self, other: Sums) -> Sums:
        return Sums(*(one.plus(more) for one, more in zip(self, other, strict=True)))


class Written(NamedTuple):
    """An entry of the ledger. `ran`: the deciding store has run it. `added`, `moved`: for each place."""

    key: str
    type: str
    reservation: str
    charged: Amounts
    overrun: Amounts
    late: bool
    final: bool
    degraded: bool
    ran: bool
    at_ms: int
    create_ms: int
    places: tuple[Place, ...]
    added: tuple[Amounts, ...]
    moved: tuple[Amounts, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    entries: tuple[Written, ...]
    balances: Mapping[Place, Sums]
    live: Mapping[Place, Counters]
    live_holds: tuple[str, ...]
    open_holds: tuple[str, ...]
    waiting_events: tuple[str, ...]
    pending: tuple[str, ...]
    broken: bool

    @functools.cached_property
    def sums(self) -> Mapping[Place, Sums]:
        """What the entries alone add up to."""
        sums: dict[Place, Sums] = defaultdict(Sums)
        for entry in self.entries:
            for place, added, moved in zip(entry.places, entry.added, entry.moved, strict=True):
                sums[place] = sums[place].plus(Sums(entry.charged, entry.overrun, added, moved))
        return sums

    def of_reservation(self, reservation: str) -> list[Written]:
        return [entry for entry in self.entries if entry.reservation == reservation]


def is_quiet(valkey: SimulatedValkey, database: Database) -> bool:
    """Whether nothing is left to be done, and the keys are those of the ledger's epoch."""
    keys = valkey.keys
    fences = {f"{epoch} {valkey.run_id}" for epoch, _ in database.epochs.values()}
    return not (
        keys.fence not in fences
        or keys.events
        or database.open_holds
        or any(not hold.end_ms for hold in keys.book.holds.values())
        or any(not row["applied"] for row in database.pending.values())
        or any(broken for _, broken in database.epochs.values())
    )


def collect(valkey: SimulatedValkey, database: Database) -> Evidence:
    keys = valkey.keys
    return Evidence(
        entries=tuple(_written(row, database) for row in database.entries.values()),
        balances={
            Place(budget, each, _ms(start)): Sums(row["spent"], row["overrun"], row["added"], row["moved"])
            for (_, budget, each, start), row in database.balances.items()
        },
        live={Place(*key): counters for key, counters in keys.book.windows.items()},
        live_holds=tuple(name for name, hold in keys.book.holds.items() if not hold.end_ms),
        open_holds=tuple(name for _, name in database.open_holds),
        waiting_events=tuple(event.entry.key for event in keys.events.values()),
        pending=tuple(key for (_, key), row in database.pending.items() if not row["applied"]),
        broken=any(broken for _, broken in database.epochs.values()),
    )


def _written(row: dict[str, Any], database: Database) -> Written:
    documents = json.loads(row["windows"])
    hold = json.loads(row["hold"])
    return Written(
        key=row["key"],
        type=row["type"],
        reservation=row["reservation"],
        charged=_amounts(row, "charged"),
        overrun=_amounts(row, "overrun"),
        late=row["late"],
        final=row["final"],
        degraded=hold.get("degraded", False),
        ran=bool(database.keys[row["organization"], row["key"]]["origin"]),
        at_ms=_ms(row["at_time"]),
        create_ms=hold.get("create_ms", 0),
        places=tuple(Place(each["budget"], each["each_value"], each["start_ms"]) for each in documents),
        added=tuple(_change(each, "added") for each in documents),
        moved=tuple(_change(each, "moved") for each in documents),
    )


def _change(document: dict[str, Any], part: str) -> Amounts:
    amounts: Iterable[int] | dict[str, int] = document.get(part) or ()
    return Amounts(**amounts) if isinstance(amounts, dict) else Amounts(*amounts)


def _amounts(row: dict[str, Any], part: str) -> Amounts:
    return Amounts(*(row[f"{part}_{meter}"] for meter in _METERS))


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
