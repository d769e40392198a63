"""The application's ports on the simulated PostgreSQL, as one replica has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from quota_service.application.ledger_ports import LedgerFilter, LedgerRow, WriteResult
from quota_service.application.recovery_ports import Epoch, LiveHold, Pending
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.rollover import Past
from quota_service.domain.terms import Counters
from quota_service.stores.hold_documents import decode_open, kept, whole_hold, windows_of
from quota_service.stores.postgres import epochs, holds
from quota_service.stores.postgres.batch import Batch
from quota_service.stores.postgres.entry_rows import charged_of, hold_of, ledger_row_of
from quota_service.stores.postgres.ledger import write
from quota_service.stores.postgres.times import to_ms, to_time
from tests.simulation.database import Database, Row, Waiting, run_now
from tests.simulation.network import Link
from tests.simulation.statements import Statements


class Ledger:
    """Implements `Ledger` and `BalanceStore`."""

    def __init__(self, link: Link, database: Database) -> None:
        self._link = link
        self._at = database

    async def write(self, entries: Sequence[Entry]) -> WriteResult:
        if not entries:
            return WriteResult(())

        def transaction() -> WriteResult:
            return run_now(write(cast(Any, Statements(self._at)), Batch(entries)))

        what = f"write {[entry.key[-12:] for entry in entries]}"
        return await self._link.call(what, Waiting(transaction))

    async def hold(self, organization: str, reservation: str) -> Hold | None:
        def read() -> Hold | None:
            rows = [row for row in self._at.entries.values() if row["reservation"] == reservation]
            return holds.latest(map(_hold_of, rows), *charged_of(cast(Any, rows)))

        return await self._link.call(f"recall {reservation[-4:]}", read)

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        def read() -> LedgerRow | None:
            known = self._at.keys.get((organization, key))
            return ledger_row_of(cast(Any, self._at.entries[known["entry_id"]])) if known else None

        return await self._link.call(f"find {key}", read)

    async def list(
        self, organization: str, filter_: LedgerFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[LedgerRow], int | None]:
        raise AssertionError("nobody lists entries in a simulation")

    async def latest(self, organization: str, window: WindowRef, starts_ms: Sequence[int]) -> Past | None:
        def read() -> Past | None:
            for start_ms in sorted(starts_ms, reverse=True):
                row = self._at.balances.get(
                    (organization, window.budget, window.each_value, to_time(start_ms))
                )
                if row is not None:
                    return Past(start_ms, _counters(row))
            return None

        return await self._link.call("latest balance", read)


class Turn:
    """Implements `Turn`. What it begins is seen by others when it has ended well."""

    def __init__(self, link: Link, database: Database, organization: str) -> None:
        self._link = link
        self._at = database
        self._organization = organization
        self._number = 0
        self.epoch = Epoch()
        self.version = 0

    def start(self, version: int) -> None:
        number, broken = self._at.epochs.get(self._organization, (0, False))
        self.epoch, self.version = Epoch(number, broken), version

    def end(self) -> None:
        """The transaction is committed."""
        self._own()
        if self._number:
            for (organization, _), row in self._at.pending.items():
                if organization == self._organization:
                    row["applied"] = True
            self._at.epochs[self._organization] = (self._number, False)
        self._at.let_go(self)

    async def begin(self) -> int:
        def next_number() -> int:
            self._own()
            self._number = next(self._at.epoch_numbers)
            return self._number

        return await self._link.call("begin an epoch", next_number)

    async def windows(self, ended_after_ms: int) -> Sequence[tuple[WindowRef, Counters]]:
        def read() -> Sequence[tuple[WindowRef, Counters]]:
            self._own()
            found = [(_window(counter, row), _counters(row)) for counter, row in self._at.balances.items()]
            return [each for each in found if each[0].end_ms is None or each[0].end_ms > ended_after_ms]

        return await self._link.call("read balances", read)

    async def known(self, keys: Sequence[str]) -> frozenset[str]:
        def read() -> frozenset[str]:
            self._own()
            return frozenset(key for key in keys if (self._organization, key) in self._at.keys)

        return await self._link.call("read keys", read)

    async def holds(self) -> AsyncGenerator[Sequence[LiveHold]]:
        def read() -> Sequence[Hold]:
            self._own()
            return [
                self._charged(whole_hold(decode_open(packed))) for packed, _ in self._at.open_holds.values()
            ]

        if found := await self._link.call("read open holds", read):
            yield [kept(hold) for hold in found]

    def windows_of(self, hold: LiveHold) -> tuple[WindowRef, ...]:
        return windows_of(hold)

    def _charged(self, hold: Hold) -> Hold:
        """With what the ledger has charged to it, where something was settled in the ledger alone."""
        if all(row["reservation"] != hold.reservation for row in self._at.pending.values()):
            return hold
        rows = [row for row in self._at.entries.values() if row["reservation"] == hold.reservation]
        charged, pico = charged_of(cast(Any, rows))
        return replace(hold, charged=charged, charged_pico=pico)

    def _own(self) -> None:
        if self._at.alone is not self:
            raise StoreUnavailable("The transaction has been undone.")


class Epochs:
    """Implements `EpochStore`."""

    def __init__(self, link: Link, database: Database, configurations: ConfigurationStore) -> None:
        self._link = link
        self._at = database
        self._configurations = configurations

    async def epoch(self, organization: str) -> Epoch:
        return await self._link.call("epoch", lambda: self._epoch(organization))

    async def epochs(self) -> Mapping[str, Epoch]:
        def read() -> Mapping[str, Epoch]:
            return {organization: self._epoch(organization) for organization in self._at.epochs}

        return await self._link.call("epochs", read)

    def _epoch(self, organization: str) -> Epoch:
        number, broken = self._at.epochs.get(organization, (0, False))
        return Epoch(number, broken, any(not row["applied"] for row in self._at.pending.values()))

    @asynccontextmanager
    async def alone(self, organization: str) -> AsyncIterator[Turn]:
        turn = Turn(self._link, self._at, organization)
        version = self._configurations.current.version
        try:
            await self._link.call("wait for the turn", Waiting(lambda: turn.start(version), turn))
            yield turn
            await self._link.call("end the turn", turn.end)
        except BaseException:
            # The server notices when it notices that nobody is there any more.
            world = self._link.world
            world.loop.call_later(world.dice.choice((0.0, 0.0, 0.5)), self._at.let_go, turn)
            raise

    async def mark_broken(self, organization: str) -> None:
        def mark() -> None:
            Statements(self._at).mark_broken([organization])

        await self._link.call("mark broken", mark)

    async def pending(self, organization: str, count: int) -> Sequence[Pending]:
        def read() -> Sequence[Pending]:
            found = [row for row in self._at.pending.values() if not row["applied"]]
            return [
                Pending(
                    epochs.decode_entry(row["entry"]),
                    (organization, row["reservation"]) in self._at.open_holds,
                    self._at.epochs.get(organization, (0, False))[0],
                )
                for row in found[:count]
            ]

        return await self._link.call("pending", read)

    async def applied(self, organization: str, keys: Sequence[str]) -> None:
        def mark() -> None:
            Statements(self._at).applied([organization] * len(keys), list(keys))

        await self._link.call(f"applied {list(keys)}", mark)


class ConfigurationStore:
    """The part of `ConfigurationStore` that decisions need: one organization, whose version only grows."""

    def __init__(self, link: Link | None, shared: list[Configuration]) -> None:
        self._link = link
        self._shared = shared

    @property
    def current(self) -> Configuration:
        return self._shared[-1]

    async def load(self, organization: str, known: Configuration | None) -> Configuration:
        assert self._link is not None
        return await self._link.call("load", lambda: self.current)

    async def organization_of_key(self, api_key: str) -> str | None:
        return None

    async def versions(self) -> Mapping[str, int]:
        assert self._link is not None
        return await self._link.call("versions", lambda: {self.current.organization.id: self.current.version})


def _hold_of(row: Row) -> Hold:
    return hold_of(cast(Any, row))


def _counters(row: Row) -> Counters:
    return Counters(spent=row["spent"], overrun=row["overrun"], added=row["added"], moved=row["moved"])


def _window(counter: Any, row: Row) -> WindowRef:
    _, budget, each_value, start = counter
    end = row["window_end"]
    return WindowRef(budget, each_value, to_ms(start), None if end is None else to_ms(end))
