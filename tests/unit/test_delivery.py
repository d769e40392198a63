"""One entry that the ledger refuses holds up no other, and a ledger that refuses everything loses none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from quota_service.application.dead_letter_ports import DeadLetter
from quota_service.application.delivery import Delivery, DeliverySettings
from quota_service.application.ledger_ports import (
    LedgerFilter,
    LedgerRow,
    WindowBalance,
    WriteResult,
    Written,
)
from quota_service.application.ports import Page
from quota_service.application.upkeep import Upkeep, UpkeepSettings
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.audit import Authorship
from quota_service.domain.commands import Event
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.ledger import Entry, EntryType, Origin
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.terms import Counters
from tests.support.commands import draft


class Refusal(Exception):
    """What a ledger says to an entry that it will never take."""


class Ledger:
    """Takes a batch whole or not at all."""

    def __init__(self, refuses: Callable[[str], bool] = lambda key: False) -> None:
        self.refuses = refuses
        self.away = False
        self.written: set[str] = set()
        self.batches: list[list[str]] = []

    async def write(self, entries: Sequence[Entry]) -> WriteResult:
        keys = [entry.key for entry in entries]
        self.batches.append(keys)
        if self.away:
            raise StoreUnavailable("Away.")
        if any(map(self.refuses, keys)):
            raise Refusal
        results = [Written.REPLAYED if key in self.written else Written.NEW for key in keys]
        self.written |= set(keys)
        return WriteResult(results, (self._balance(),))

    def _balance(self) -> WindowBalance:
        spent = Amounts(len(self.written), 0, 0)
        return WindowBalance("acme", WindowRef("budget", "", 0, None), spent, NOTHING, 1)

    async def hold(self, organization: str, reservation: str) -> Hold | None:
        raise AssertionError

    async def find(self, organization: str, key: str) -> LedgerRow | None:
        raise AssertionError

    async def list(
        self, organization: str, filter_: LedgerFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[LedgerRow], int | None]:
        raise AssertionError


class DeadLetters:
    """Keeps what is put, unless it is away."""

    def __init__(self, *, ledger_is_well: bool = True) -> None:
        self.ledger_is_well = ledger_is_well
        self.away = False
        self.kept: dict[str, int] = {}

    def reason_of(self, error: Exception) -> str:
        return type(error).__name__

    async def takes_entries(self) -> bool:
        return self.ledger_is_well

    async def put(self, entry: Entry, error: str, tries: int) -> bool:
        if self.away:
            raise StoreUnavailable("Away.")
        self.kept[entry.key] = tries
        return True

    async def list(self, organization: str, page_size: int, after: str) -> Page[DeadLetter]:
        raise AssertionError

    async def ids(self, organization: str) -> Sequence[str]:
        raise AssertionError

    async def count(self) -> int:
        raise AssertionError

    async def write(self, organization: str, id_: str, by: Authorship) -> WriteResult | None:
        raise AssertionError

    async def refused_again(self, organization: str, id_: str, error: str) -> None:
        raise AssertionError

    async def balances(self, organization: str) -> Mapping[WindowRef, Counters]:
        raise AssertionError


class Observer:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, int]] = []
        self.dead: list[tuple[str, str, str]] = []
        self.failed: list[str] = []

    def entry_refused(self, organization: str, key: str, error: str, tries: int) -> None:
        self.refused.append((key, tries))

    def dead_letter(self, organization: str, key: str, error: str) -> None:
        self.dead.append((organization, key, error))

    def work_failed(self, work: str, error: Exception) -> None:
        self.failed.append(work)


class Stream:
    """Events that somebody left behind, of one organization."""

    def __init__(self, waiting: Sequence[Event]) -> None:
        self.waiting = list(waiting)

    async def older_than(self, organization: str, age_ms: int, count: int) -> Sequence[Event]:
        return self.waiting[:count]

    async def acknowledge(self, organization: str, events: Sequence[Event]) -> None:
        self.waiting = [event for event in self.waiting if event not in events]

    async def versions(self) -> Mapping[str, int]:
        return {"acme": 1}

    async def publish_version(self, organization: str, version: int) -> None:
        pass

    async def catch_up(self, organization: str, version: int) -> None:
        pass

    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        pass


class Scene:
    """A delivery, and all that it works with."""

    def __init__(self, *bad: int, settings: DeliverySettings | None = None) -> None:
        self.now_s = 0.0
        self.ledger = Ledger({f"k{number}" for number in bad}.__contains__)
        self.dead_letters = DeadLetters()
        self.observer = Observer()
        self.delivery = Delivery(
            self.ledger, self.dead_letters, self.observer, settings, clock=lambda: self.now_s
        )

    def repair(self, stream: Any, **settings: int) -> Awaitable[None]:
        """One round, as every replica does it again and again."""
        bounds = UpkeepSettings(**settings)
        upkeep = Upkeep(
            stream,
            stream,
            stream,
            stream,
            self.delivery,
            stream,
            cast(Any, None),
            cast(Any, stream),
            cast(Any, None),
            cast(Any, self.observer),
            bounds,
        )
        return upkeep.repair()


def events(*numbers: int) -> list[Event]:
    """Events with the keys `k<number>`."""
    return [
        Event(
            id=f"{number}-0",
            entry=Entry(
                key=f"k{number}",
                content_hash="",
                type=EntryType.RECORD,
                at_ms=0,
                hold=draft("acme", ""),
                origin=Origin(1, f"{number}-0"),
            ),
        )
        for number in numbers
    ]


async def test_what_the_ledger_takes_goes_in_one_batch() -> None:
    scene = Scene()

    delivered = await scene.delivery.deliver(events(*range(100)))

    assert delivered.results == [Written.NEW] * 100
    assert (len(scene.ledger.batches), delivered.left, len(delivered.done)) == (1, [], 100)


@pytest.mark.parametrize("bad", [(0,), (99,), (42,), (0, 99), (7, 8, 9), tuple(range(0, 100, 10))])
async def test_the_others_of_a_batch_are_written_at_once(bad: tuple[int, ...]) -> None:
    scene = Scene(*bad)
    batch = events(*range(100))

    delivered = await scene.delivery.deliver(batch)

    assert [event.id for event in delivered.left] == [f"{number}-0" for number in bad]
    assert delivered.results == [None if i in bad else Written.NEW for i in range(100)]
    assert delivered.done == [event for i, event in enumerate(batch) if i not in bad]
    assert scene.ledger.written == {f"k{number}" for number in range(100) if number not in bad}
    assert [balance.spent.cost_micros for balance in delivered.balances] == [100 - len(bad)]
    assert len(scene.ledger.batches) <= 1 + 2 * 7 * len(bad)


async def test_the_fifth_refusal_makes_a_dead_letter_and_not_an_earlier_one() -> None:
    scene = Scene(3)
    for _ in range(4):
        delivered = await scene.delivery.deliver(events(3, 4))
        assert [event.id for event in delivered.left] == ["3-0"]
    assert scene.dead_letters.kept == {}

    delivered = await scene.delivery.deliver(events(3, 4))

    assert (delivered.left, delivered.done) == ([], events(3, 4))
    assert delivered.results == [None, Written.REPLAYED]
    assert scene.dead_letters.kept == {"k3": 5}
    assert scene.observer.dead == [("acme", "k3", "Refusal")]
    assert scene.observer.refused == [("k3", tries) for tries in range(1, 6)]


async def test_what_was_refused_before_does_not_split_a_batch_again() -> None:
    scene = Scene(3)
    await scene.delivery.deliver(events(3))
    scene.ledger.batches.clear()

    await scene.delivery.deliver(events(*range(8)))

    assert scene.ledger.batches == [["k0", "k1", "k2", "k4", "k5", "k6", "k7"], ["k3"]]


async def test_refusals_are_counted_anew_once_the_ledger_took_the_event() -> None:
    scene = Scene(3)
    for _ in range(4):
        await scene.delivery.deliver(events(3))
    scene.ledger.refuses = lambda key: False
    assert (await scene.delivery.deliver(events(3))).left == []
    scene.ledger.refuses = lambda key: True

    assert (await scene.delivery.deliver(events(3))).left == events(3)
    assert scene.observer.refused[-1] == ("k3", 1)


async def test_a_ledger_that_is_away_blames_no_event() -> None:
    scene = Scene()
    scene.ledger.away = True
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await scene.delivery.deliver(events(1, 2, 3))
    assert (len(scene.ledger.batches), scene.observer.refused, scene.dead_letters.kept) == (10, [], {})


async def test_a_ledger_that_would_refuse_anything_blames_no_event() -> None:
    scene = Scene(*range(100))
    scene.dead_letters.ledger_is_well = False
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="refuses every entry: Refusal"):
            await scene.delivery.deliver(events(*range(100)))
    assert (len(scene.ledger.batches), scene.observer.refused, scene.dead_letters.kept) == (10, [], {})


async def test_a_fault_of_our_own_moves_only_so_many_entries_a_minute() -> None:
    scene = Scene(*range(50), settings=DeliverySettings(moves_max=10, moves_every_s=60))
    left = events(*range(60))
    for _ in range(20):
        left = list((await scene.delivery.deliver(left)).left)
    assert (len(scene.dead_letters.kept), len(left)) == (10, 40)
    assert scene.ledger.written == {f"k{number}" for number in range(50, 60)}
    assert max(tries for _, tries in scene.observer.refused) == 5, "who waits for room is not tried meanwhile"

    scene.now_s = 61
    left = list((await scene.delivery.deliver(left)).left)
    assert (len(scene.dead_letters.kept), len(left)) == (20, 30)

    scene.now_s = 122
    scene.ledger.refuses = lambda key: False
    assert (await scene.delivery.deliver(left)).left == []
    assert len(scene.dead_letters.kept) == 20


async def test_an_event_stays_where_it_is_while_dead_letters_cannot_be_kept() -> None:
    scene = Scene(3)
    scene.dead_letters.away = True
    for _ in range(7):
        assert (await scene.delivery.deliver(events(3))).left == events(3)
    assert scene.observer.failed == ["dead letter"] * 3

    scene.dead_letters.away = False
    assert (await scene.delivery.deliver(events(3))).left == []
    assert scene.dead_letters.kept == {"k3": 8}


async def test_events_that_cannot_stay_are_tried_five_times_in_a_row() -> None:
    scene = Scene(3)

    balances = await scene.delivery.carry(events(1, 2, 3))

    assert [balance.spent.cost_micros for balance in balances] == [2]
    assert scene.dead_letters.kept == {"k3": 5}


async def test_events_that_cannot_stay_are_not_given_up_where_too_many_are_refused() -> None:
    scene = Scene(*range(5), settings=DeliverySettings(moves_max=3))

    with pytest.raises(StoreUnavailable, match="more entries than may become dead letters"):
        await scene.delivery.carry(events(*range(6)))

    assert (len(scene.dead_letters.kept), scene.ledger.written) == (3, {"k5"})


async def test_a_repair_reaches_what_lies_behind_refused_events_and_tries_those_once() -> None:
    scene, stream = Scene(0, 1, 2, 5), Stream(events(*range(10)))

    await scene.repair(stream, batch=2)

    assert stream.waiting == events(0, 1, 2, 5)
    assert scene.ledger.written == {f"k{number}" for number in (3, 4, 6, 7, 8, 9)}
    assert sorted(scene.observer.refused) == [("k0", 1), ("k1", 1), ("k2", 1), ("k5", 1)]

    for _ in range(4):
        await scene.repair(stream, batch=2)
    assert (stream.waiting, sorted(scene.dead_letters.kept)) == ([], ["k0", "k1", "k2", "k5"])


async def test_a_repair_ends_for_now_where_very_many_events_are_refused() -> None:
    scene, stream = Scene(*range(100)), Stream(events(*range(100)))

    await scene.repair(stream, batch=10, refused_max=15)

    assert len(scene.observer.refused) == 20
    assert stream.waiting == events(*range(100))
