"""Two stores that are asked the same: the Lua scripts in a real Valkey, and the reference in plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from quota_service.domain import commands, limit_changes
from quota_service.domain.amounts import UNLIMITED
from quota_service.domain.book import Book
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Event
from quota_service.domain.reservation import State, WindowRef
from quota_service.domain.terms import Basis, Counters, Term
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.events import ValkeyEventLog
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.limits import ValkeyLimitStore
from quota_service.stores.valkey.runner import Runner
from tests.support.fence import unfenced

T = TypeVar("T")
A = TypeVar("A")


class Valkey:
    """A connection with the stores on it, and an event loop for tests that are no coroutines."""

    def __init__(self, url: str, prefix: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.connection = Connection(url, timeout_s=30)  # tests share a busy machine
        self.keys = Keys(prefix)
        runner = unfenced(Runner(self.connection, self.keys))
        self.store, self.limits = ValkeyHoldStore(runner), ValkeyLimitStore(runner)
        self.log = ValkeyEventLog(runner)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.connection.close())
        self.loop.close()


class Twins:
    """One organization in both stores, with a clock that only the test moves."""

    def __init__(self, valkey: Valkey, organization: str, now_ms: int) -> None:
        self.valkey = valkey
        self.organization = organization
        self.book = Book()
        self.now_ms = now_ms
        self.places: set[WindowRef] = set()
        self.events: list[Event] = []
        self.agreed = True
        self.advance(0)

    def advance(self, milliseconds: int) -> None:
        """The scripts never go behind the last time seen: so this sets their clock, as long as it is ahead
        of the server's.
        """
        self.now_ms += milliseconds
        meta = self.valkey.keys.common(self.organization)[0]
        self.valkey.run(self.valkey.connection.call("HSET", meta, "time", self.now_ms))

    def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer:
        return self.authorize_all([command])[0]

    def authorize_all(self, asked: list[commands.Authorize]) -> list[commands.AuthorizeAnswer]:
        """Many at once, in one write to the server, which takes them in their order: nothing due remains."""
        for command in asked:
            for alternative in command.alternatives:
                self.places.update(term.window for term in alternative.terms.budgets)
        if len(asked) > 1:
            self.counters()

        async def ask() -> list[commands.AuthorizeAnswer]:
            return await asyncio.gather(*(self.valkey.store.authorize(command) for command in asked))

        found = self.valkey.run(ask())
        return [
            self._same(answer, self.book.authorize(command, self.now_ms))
            for command, answer in zip(asked, found, strict=True)
        ]

    def commit(self, command: commands.Commit) -> commands.CommitAnswer:
        found = self.valkey.run(self.valkey.store.commit(command))
        return self._same(found, self.book.commit(command, self.now_ms))

    def release(self, command: commands.Release) -> commands.ReleaseAnswer:
        found = self.valkey.run(self.valkey.store.release(command))
        return self._same(found, self.book.release(command, self.now_ms))

    def extend(self, command: commands.Extend) -> commands.ExtendAnswer:
        found = self.valkey.run(self.valkey.store.extend(command))
        return self._same(found, self.book.extend(command, self.now_ms))

    def record(self, command: commands.Record) -> commands.RecordAnswer:
        self.places.update(command.hold.windows)
        found = self.valkey.run(self.valkey.store.record(command))
        return self._same(found, self.book.record(command, self.now_ms))

    def adjust(self, command: limit_changes.Adjust) -> limit_changes.AdjustAnswer:
        self.places.add(command.term.window)
        found = self.valkey.run(self.valkey.limits.adjust(command))
        return self._same(found, limit_changes.adjust(self.book, command, self.now_ms))

    def reallocate(self, command: limit_changes.Reallocate) -> limit_changes.ReallocateAnswer:
        self.places.update((command.source.window, command.destination.window))
        found = self.valkey.run(self.valkey.limits.reallocate(command))
        return self._same(found, limit_changes.reallocate(self.book, command, self.now_ms))

    def inspect(self, command: commands.Inspect) -> commands.InspectAnswer:
        found = self.valkey.run(self.valkey.store.inspect(command))
        return self._same(found, self.book.inspect(command, self.now_ms))

    def counters(self) -> dict[WindowRef, Counters]:
        """Every window that was ever named, as both stores see it."""
        places = tuple(sorted(self.places, key=repr))
        basis = Basis(organization=self.organization, version=self.book.version)
        terms = tuple(Term(place, UNLIMITED, 100, Mode.HARD) for place in places)
        answer = self.inspect(commands.Inspect(basis=basis, terms=terms))
        assert isinstance(answer, commands.Inspected)
        return dict(zip(places, answer.counters, strict=True))

    def compare_holds(self, reservations: Iterable[str]) -> None:
        """Both stores have the same of each."""
        self.book.expire(self.now_ms)

        async def ask() -> list[Any]:
            return await asyncio.gather(
                *(self.valkey.store.get(self.organization, name) for name in reservations)
            )

        reservations = tuple(reservations)
        for name, found in zip(reservations, self.valkey.run(ask()), strict=True):
            assert found == self.book.holds.get(name)

    def compare_live(self) -> None:
        """Both stores have the same live holds, by expiry and id; and the index has no others."""
        self.book.expire(self.now_ms)
        live = [hold for hold in self.book.holds.values() if hold.state is State.HELD]
        store, connection = self.valkey.store, self.valkey.connection
        page = self.valkey.run(store.live(self.organization, "", 100_000))
        assert list(page.items) == sorted(live, key=lambda hold: (hold.expire_ms, hold.reservation))
        assert self.valkey.run(connection.call("ZCARD", self.valkey.keys.holds(self.organization))) == len(
            live
        )

    def stream(self) -> list[Event]:
        """Every event so far, expiries included."""
        return list(self.valkey.run(self.valkey.log.older_than(self.organization, -10_000, 100_000)))

    def _same(self, found: A, expected: A) -> A:
        answer: Any = found
        if getattr(answer, "event", None) is not None:
            self.events.append(answer.event)
            answer = replace(answer, event=None)
        self.agreed = answer == expected
        assert self.agreed, f"the scripts answer\n  {answer}\nand the book\n  {expected}"
        return found
