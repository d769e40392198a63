"""An organization's keys in the simulated Valkey, and the scripts on them: a `Book` with events and a fence.

Every function here is one script. The rules are the reference's; what is added is what the reference leaves
to the stores: events for the ledger, the fence, and that what has ended is forgotten after a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quota_service.domain import applying, commands, limit_changes, opening, windows
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.book import Book
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType, LimitChange, hold_of_changes, key_of_rollover
from quota_service.domain.reservation import LIFETIME_MS_MAX, Hold, State, recorded
from quota_service.domain.windows import WindowKey
from quota_service.stores.valkey.codec import Body, EventRecord
from quota_service.stores.valkey.events import event_of
from tests.simulation.names import Name, forgettable

LOWERED = "-"


@dataclass(slots=True)
class Keys:
    """One organization's keys."""

    book: Book = field(default_factory=Book)
    fence: str = ""
    events: dict[str, Event] = field(default_factory=dict)
    appended: int = 0
    forget_ms: dict[Name, int] = field(default_factory=dict)
    epoch: int = 0  # of whoever runs a script
    left: frozenset[WindowKey] = frozenset()  # where holds counted that were set aside

    def copy(self) -> Keys:
        """As an append-only file or a replica has them: values never change, so dictionaries are enough."""
        book = self.book
        return Keys(
            Book(
                book.version,
                dict(book.holds),
                dict(book.windows),
                dict(book.reservations),
                dict(book.extensions),
                dict(book.records),
                dict(book.gauges),
                dict(book.marks),
            ),
            self.fence,
            dict(self.events),
            self.appended,
            dict(self.forget_ms),
            self.epoch,
            self.left,
        )

    # --- parts of scripts ---

    def begin(self, now_ms: int) -> None:
        """What is over is forgotten, and what is due is retired."""
        for name in [name for name, at_ms in self.forget_ms.items() if at_ms <= now_ms]:
            self._forget(name)
        due = [hold for hold in self.book.holds.values() if hold.due(now_ms)]
        if due:
            self.book.expire(now_ms)
            for hold in due:
                self._emit(EntryType.EXPIRE, now_ms, self.book.holds[hold.reservation], final=True)

    def _forget(self, name: Name) -> None:
        del self.forget_ms[name]
        kind, what = name
        book = self.book
        if kind == "hold":
            book.holds.pop(what, None)
            book.marks.pop(what, None)
            book.extensions = {key: known for key, known in book.extensions.items() if key[0] != what}
        elif kind == "key":
            book.reservations.pop(what, None)
        else:
            book.records.pop(what, None)

    def _emit(
        self,
        type_: EntryType,
        now_ms: int,
        hold: Hold,
        body: Body | None = None,
        *,
        charged: Amounts = NOTHING,
        overrun: Amounts = NOTHING,
        pico: int = 0,
        late: bool = False,
        final: bool = False,
        carried: Amounts = NOTHING,
    ) -> Event:
        self.appended += 1
        id_ = f"{now_ms}-{self.appended}"
        record = EventRecord(type_, now_ms, charged, overrun, pico, late, final, self.epoch, carried)
        event = self.events[id_] = event_of(id_.encode(), record, hold, body or Body(), 0)
        return event

    # --- verbs ---

    def authorize(self, command: commands.Authorize, now_ms: int) -> commands.AuthorizeAnswer:
        self.begin(now_ms)
        answer = self.book.authorize(command, now_ms)
        if not isinstance(answer, commands.Granted) or answer.replayed or command.dry_run:
            return answer
        self.forget_ms.pop(("key", answer.hold.idempotency_key), None)
        return replace(answer, event=self._emit(EntryType.HOLD, now_ms, answer.hold))

    def commit(self, command: commands.Commit, now_ms: int) -> commands.CommitAnswer:
        self.begin(now_ms)
        before = self.book.holds.get(command.reservation)
        answer = self.book.commit(command, now_ms)
        if not isinstance(answer, commands.Settled) or answer.replayed or before is None:
            return answer
        if answer.late:
            self._keep_settled_late(command, now_ms)
        body = Body(
            content_hash=command.content_hash,
            usage=command.usage,
            usage_estimated=command.usage_estimated,
            provider=command.provider,
            model=command.model,
        )
        event = self._emit(
            EntryType.COMMIT,
            now_ms,
            answer.hold,
            body,
            charged=answer.settlement.charged,
            overrun=answer.settlement.overrun,
            pico=answer.hold.charged_pico - before.charged_pico,
            late=answer.late,
            final=not command.keep_open,
        )
        return replace(answer, event=event)

    def _keep_settled_late(self, command: commands.Commit, now_ms: int) -> None:
        """What has ended may be about to be forgotten; it is needed until the ledger has its settlement."""
        if command.keep_open:
            self.forget_ms["hold", command.reservation] = now_ms + LIFETIME_MS_MAX
        else:
            self.forget_ms.pop(("hold", command.reservation), None)

    def release(self, command: commands.Release, now_ms: int) -> commands.ReleaseAnswer:
        self.begin(now_ms)
        answer = self.book.release(command, now_ms)
        if not isinstance(answer, commands.Settled) or answer.replayed:
            return answer
        body = Body(reason=command.reason)
        return replace(answer, event=self._emit(EntryType.RELEASE, now_ms, answer.hold, body, final=True))

    def extend(self, command: commands.Extend, now_ms: int) -> commands.ExtendAnswer:
        self.begin(now_ms)
        before = self.book.holds.get(command.reservation)
        answer = self.book.extend(command, now_ms)
        if not isinstance(answer, commands.Granted) or answer.replayed:
            return answer
        if not command.request_id and answer.hold == before:
            return answer
        body = Body(request_id=command.request_id, content_hash=command.content_hash)
        return replace(answer, event=self._emit(EntryType.EXTEND, now_ms, answer.hold, body))

    def record(self, command: commands.Record, now_ms: int) -> commands.RecordAnswer:
        self.begin(now_ms)
        answer = self.book.record(command, now_ms)
        if not isinstance(answer, commands.Recorded) or answer.replayed:
            return answer
        body = Body(
            key=command.key,
            content_hash=command.content_hash,
            usage=command.usage,
            occur_ms=command.occur_ms,
        )
        hold = recorded(
            command.hold,
            charged=command.charged,
            charged_pico=command.cost_pico,
            at_ms=now_ms,
            content_hash=command.content_hash,
        )
        event = self._emit(
            EntryType.RECORD,
            now_ms,
            hold,
            body,
            charged=command.charged,
            pico=command.cost_pico,
            final=True,
        )
        return replace(answer, event=event)

    def adjust(self, command: limit_changes.Adjust, now_ms: int) -> limit_changes.AdjustAnswer:
        self.begin(now_ms)
        answer = limit_changes.adjust(self.book, command, now_ms)
        if not isinstance(answer, limit_changes.Changed) or answer.replayed:
            return answer
        changes = (LimitChange(command.term.window, added=command.amounts),)
        return replace(answer, event=self._changed(EntryType.ADJUST, now_ms, command, changes))

    def reallocate(self, command: limit_changes.Reallocate, now_ms: int) -> limit_changes.ReallocateAnswer:
        self.begin(now_ms)
        answer = limit_changes.reallocate(self.book, command, now_ms)
        if not isinstance(answer, limit_changes.Changed) or answer.replayed:
            return answer
        changes = (
            LimitChange(command.source.window, moved=NOTHING.minus(command.amounts)),
            LimitChange(command.destination.window, moved=command.amounts),
        )
        return replace(answer, event=self._changed(EntryType.REALLOCATE, now_ms, command, changes))

    def _changed(
        self,
        type_: EntryType,
        now_ms: int,
        command: limit_changes.Adjust | limit_changes.Reallocate,
        changes: tuple[LimitChange, ...],
    ) -> Event:
        body = Body(
            key=command.key, content_hash=command.content_hash, reason=command.reason, changes=changes
        )
        return self._emit(type_, now_ms, hold_of_changes(command.basis.organization, changes), body)

    def open(self, command: opening.Open, now_ms: int) -> opening.OpenAnswer:
        self.begin(now_ms)
        before = windows.get(self.book.windows, command.term.window)
        answer = opening.opened(self.book, command, now_ms)
        if not isinstance(answer, opening.Opened) or answer.replayed:
            return answer
        beginning = command.beginning
        if isinstance(beginning, opening.FromLedger):
            return answer
        carried = answer.counters.added.minus(before.added)
        if carried == NOTHING or (isinstance(beginning, opening.Carried) and beginning.in_ledger):
            return answer
        key = key_of_rollover(command.term.window)
        hold = hold_of_changes(command.basis.organization, (LimitChange(command.term.window),))
        body = Body(key=key, content_hash=key)
        return replace(answer, event=self._emit(EntryType.ROLLOVER, now_ms, hold, body, carried=carried))

    def inspect(self, command: commands.Inspect, now_ms: int) -> commands.InspectAnswer:
        self.begin(now_ms)
        return self.book.inspect(command, now_ms)

    def get(self, reservation: str, now_ms: int) -> Hold | None:
        self.begin(now_ms)
        return self.book.holds.get(reservation)

    def restore(self, hold: Hold, keep_ms: int, now_ms: int) -> None:
        if hold.reservation not in self.book.holds:
            self.book.holds[hold.reservation] = hold
            self.forget_ms["hold", hold.reservation] = now_ms + keep_ms

    def sweep(self, now_ms: int) -> int:
        due = sum(hold.due(now_ms) for hold in self.book.holds.values())
        self.begin(now_ms)
        return due

    def publish(self, version: int) -> None:
        self.book.version = max(self.book.version, version)

    def apply(self, entry: Entry, keep_ms: int, now_ms: int) -> None:
        answer = applying.apply(self.book, entry, now_ms)
        if answer.replayed:
            return
        if not entry.hold.reservation:
            self.forget_ms["record", entry.key] = now_ms + keep_ms
        elif entry.hold.state is not State.HELD:
            self.forget_ms["hold", entry.hold.reservation] = now_ms + keep_ms

    # --- events ---

    def older_than(self, age_ms: int, count: int, now_ms: int) -> Sequence[Event]:
        newest_ms = now_ms - age_ms
        found = [event for id_, event in self.events.items() if int(id_.partition("-")[0]) <= newest_ms]
        return found[:count]

    def acknowledge(self, events: Iterable[Event], remember_ms: int, now_ms: int) -> None:
        for event in events:
            self.events.pop(event.id, None)
            for name in forgettable(event.entry):
                if self._is_there(name) and not self._lives(name):
                    self.forget_ms[name] = now_ms + remember_ms

    def _lives(self, name: Name) -> bool:
        """Whether it is a hold that was made anew from a ledger that had not seen its end."""
        hold = self.book.holds.get(name[1]) if name[0] == "hold" else None
        return hold is not None and hold.state is State.HELD

    def _is_there(self, name: Name) -> bool:
        kind, what = name
        book = self.book
        known: Any = {"hold": book.holds, "key": book.reservations, "record": book.records}[kind]
        return what in known
