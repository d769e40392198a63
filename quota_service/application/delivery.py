"""Takes events to the ledger so that one it refuses holds up no other.

A batch that is refused is split until the refused entries stand alone; the others are written. A refused
entry stays in the stream, where it is found and tried again. After five tries it becomes a dead letter, which
a person looks at and replays.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from quota_service.application.dead_letter_ports import DeadLetterStore
from quota_service.application.ledger_ports import Ledger, WindowBalance, Written
from quota_service.domain.commands import Event
from quota_service.domain.errors import StoreUnavailable

REMEMBERED_MAX = 10_000
"""Of how many refused events this process counts the tries."""


class DeliverySettings(NamedTuple):
    """An event becomes a dead letter with its `tries`-th refusal, but at most `moves_max` do so within
    `moves_every_s`.

    That bound is for faults of our own. A ledger that would refuse anything is told by a probe and counts as
    unavailable; but a mistake in how one kind of entry is written looks exactly like thousands of bad
    entries. They wait in the stream then, and most of them need nobody's replay once the mistake is mended.
    """

    tries: int = 5
    moves_max: int = 100
    moves_every_s: float = 60.0


class DeliveryObserver(Protocol):
    """Told what the ledger refuses."""

    def entry_refused(self, organization: str, key: str, error: str, tries: int) -> None: ...

    def dead_letter(self, organization: str, key: str, error: str) -> None: ...

    def work_failed(self, work: str, error: Exception) -> None: ...


class Delivered(NamedTuple):
    """`results`: what became of each event, `None` where it was refused. `balances`: as in WriteResult.

    `done` need no longer be in the stream: the ledger has them, or a dead letter has. `left` must stay there.
    """

    results: Sequence[Written | None]
    balances: Sequence[WindowBalance]
    done: Sequence[Event]
    left: Sequence[Event]


class _Attempt:
    """What has become of a batch so far, by the positions of its events."""

    def __init__(self) -> None:
        self.results: dict[int, Written] = {}
        self.balances: dict[object, WindowBalance] = {}
        self.refused: dict[int, Exception] = {}


class Delivery:
    """Shared by all who write events in this process."""

    def __init__(
        self,
        ledger: Ledger,
        dead_letters: DeadLetterStore,
        observer: DeliveryObserver,
        settings: DeliverySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._dead_letters = dead_letters
        self._observer = observer
        self._settings = settings or DeliverySettings()
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._moves: deque[float] = deque()

    async def deliver(self, events: Sequence[Event]) -> Delivered:
        """Writes what the ledger takes, in one transaction where it takes all.

        Raises StoreUnavailable where it does not answer or would refuse anything; what had been written by
        then may be written again.
        """
        attempt = _Attempt()
        await self._write(events, attempt)
        gone = {
            position
            for position, error in sorted(attempt.refused.items())
            if await self._refuse(events[position], error)
        }
        done = [event for i, event in enumerate(events) if i in attempt.results or i in gone]
        left = [event for i, event in enumerate(events) if i not in attempt.results and i not in gone]
        for i in attempt.results:
            self._tries.pop(_name(events[i]), None)
        results = [attempt.results.get(i) for i in range(len(events))]
        return Delivered(results, tuple(attempt.balances.values()), done, left)

    async def carry(self, events: Sequence[Event]) -> Sequence[WindowBalance]:
        """As `deliver`, with all tries in a row: for events that cannot stay where they are.

        Raises StoreUnavailable also where some could be neither written nor kept as dead letters.
        """
        balances: dict[object, WindowBalance] = {}
        for _ in range(self._settings.tries + 1):
            delivered = await self.deliver(events)
            balances |= {_place(balance): balance for balance in delivered.balances}
            events = delivered.left
            if not events:
                return tuple(balances.values())
        raise StoreUnavailable("The ledger refuses more entries than may become dead letters at once.")

    async def _write(self, events: Sequence[Event], attempt: _Attempt) -> None:
        parts, is_probed = self._parts(events), False
        while parts:
            part = parts.pop()
            try:
                written = await self._ledger.write([events[i].entry for i in part])
            except StoreUnavailable:
                raise
            except Exception as error:  # whatever it is, others of the batch must not wait for it
                if not is_probed:
                    await self._probe(error)
                    is_probed = True
                if len(part) == 1:
                    attempt.refused[part[0]] = error
                else:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                attempt.results |= zip(part, written.results, strict=True)
                attempt.balances |= {_place(balance): balance for balance in written.balances}

    def _parts(self, events: Sequence[Event]) -> list[list[int]]:
        """What to write together. What was refused before stands alone from the start, or waits until there
        may be more dead letters.
        """
        known = [self._tries.get(_name(event), 0) for event in events]
        may_move = self._may_move()
        alone = [
            [i] for i, tries in enumerate(known) if 0 < tries < self._settings.tries or (tries and may_move)
        ]
        together = [i for i, tries in enumerate(known) if not tries]
        return [*alone, together] if together else alone

    async def _probe(self, error: Exception) -> None:
        """Raises StoreUnavailable where no entry would be taken: then none of these is at fault."""
        if not await self._dead_letters.takes_entries():
            reason = self._dead_letters.reason_of(error)
            raise StoreUnavailable(f"The ledger refuses every entry: {reason}.") from error

    async def _refuse(self, event: Event, error: Exception) -> bool:
        """Whether it has become a dead letter."""
        organization, key = event.entry.hold.organization, event.entry.key
        reason, tries = self._dead_letters.reason_of(error), self._count(event)
        self._observer.entry_refused(organization, key, reason, tries)
        if tries < self._settings.tries or not self._may_move():
            return False
        try:
            if not await self._dead_letters.put(event.entry, reason, tries):
                return False
        except Exception as failure:  # whatever it is, the stream still has the event
            self._observer.work_failed("dead letter", failure)
            return False
        self._moves.append(self._clock())
        self._tries.pop(_name(event), None)
        self._observer.dead_letter(organization, key, reason)
        return True

    def _count(self, event: Event) -> int:
        name = _name(event)
        tries = self._tries[name] = self._tries.pop(name, 0) + 1
        if len(self._tries) > REMEMBERED_MAX:
            self._tries.popitem(last=False)
        return tries

    def _may_move(self) -> bool:
        """Whether there may be one more dead letter now."""
        while self._moves and self._moves[0] <= self._clock() - self._settings.moves_every_s:
            self._moves.popleft()
        return len(self._moves) < self._settings.moves_max


def _name(event: Event) -> tuple[str, str]:
    return event.entry.hold.organization, event.id


def _place(balance: WindowBalance) -> object:
    return balance.organization, balance.window
