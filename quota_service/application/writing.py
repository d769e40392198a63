"""Carries events from Valkey's stream into the ledger: many in one transaction, each exactly once.

A replica writes its own events as they come. What a replica left behind when it died is found in the stream
by age and written by any other. Both ways lead through the same ledger keys, so meeting on one event does no
harm.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from quota_service.application.delivery import Delivery, DeliveryObserver
from quota_service.application.health import Health
from quota_service.application.ledger_ports import WindowBalance, Written
from quota_service.application.ports import EventLog
from quota_service.application.requests import Durability
from quota_service.domain.commands import Event
from quota_service.domain.errors import IdempotencyConflict, StoreUnavailable


class WriterSettings(NamedTuple):
    """`batch_max` entries go into one transaction. Commits wait `answer_ms` for the ledger, then are
    BUFFERED. A transaction costs much, and one more entry in it little: where nobody waits, more events are
    waited for, `linger_ms` at most; where many do (`crowd` entries were in the last one), `crowd_ms`.

    The own queue holds `queue_max` events; what does not fit is left to be found in the stream. After a
    failure the writer pauses for `pause_ms`.
    """

    batch_max: int = 500
    queue_max: int = 20_000
    answer_ms: int = 5_000
    pause_ms: int = 250
    linger_ms: int = 25
    crowd: int = 4
    crowd_ms: int = 4


class Observer(DeliveryObserver, Protocol):
    """Told what goes on between the stores."""

    def batch_written(self, entries: int, conflicts: int) -> None: ...

    def recovered(self, organization: str, epoch: int) -> None: ...


class Watch(Protocol):
    """Looks at what has been spent."""

    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        """Where windows stand that entries have charged. What it does must be safe to repeat: an event whose
        entry it failed over is written again. Raises StoreUnavailable.
        """
        ...


class _Pending(NamedTuple):
    """An event to be written, and, if somebody waits for that, what they are told."""

    event: Event
    told: asyncio.Future[Durability] | None


LOOK_S = 0.25
"""How often to look who has waited for too long."""


class LedgerWriter:
    """Writes the events of this process."""

    def __init__(
        self,
        delivery: Delivery,
        events: EventLog,
        watch: Watch,
        health: Health,
        observer: Observer,
        settings: WriterSettings | None = None,
    ) -> None:
        self._delivery = delivery
        self._events = events
        self._watch = watch
        self._health = health
        self._settings = settings or WriterSettings()
        self._observer = observer
        self._queue: list[_Pending] = []
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()  # somebody waits, or there is enough for a transaction
        self._written_last = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[float, asyncio.Future[Durability]]] = deque()  # until when, in this order
        self._looking: asyncio.TimerHandle | None = None
        self._stopping = False

    @property
    def waiting(self) -> int:
        """How many events are in the own queue."""
        return len(self._queue)

    def submit(self, event: Event) -> None:
        """Leaves an event to be written soon."""
        self._enqueue(_Pending(event, None))

    async def settle(self, event: Event) -> Durability:
        """Waits until the ledger has the event. BUFFERED: it is in Valkey and will be written later.

        Raises IdempotencyConflict where the ledger has its key with other content.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Durability] = loop.create_future()
        if not self._enqueue(_Pending(event, told)) or not self._health.ledger:
            return Durability.BUFFERED
        self._waiting.append((loop.time() + self._settings.answer_ms / 1000, told))
        if self._looking is None:
            self._looking = loop.call_later(LOOK_S, self._look)
        return await told

    def _look(self) -> None:
        """Tells those that have waited for too long: one timer does for all."""
        loop, waiting = asyncio.get_running_loop(), self._waiting
        now_s = loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now_s):
            _tell(waiting.popleft()[1], Durability.BUFFERED)
        self._looking = loop.call_later(LOOK_S, self._look) if waiting else None

    def _enqueue(self, pending: _Pending) -> bool:
        if len(self._queue) >= self._settings.queue_max or self._stopping:
            return False
        self._queue.append(pending)
        self._idle.clear()
        self._wake.set()
        if pending.told is not None or len(self._queue) >= self._settings.batch_max:
            self._hurry.set()
        return True

    async def run(self) -> None:
        """Writes until it is stopped."""
        while True:
            if not self._queue:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            await self._linger()
            batch, self._queue = (
                self._queue[: self._settings.batch_max],
                self._queue[self._settings.batch_max :],
            )
            self._written_last = len(batch)
            if not await self._write(batch):
                await asyncio.sleep(self._settings.pause_ms / 1000)

    async def _linger(self) -> None:
        """Until there is something to hurry for, or company that is sure to come; neither for long."""
        if not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.linger_ms / 1000):
                    await self._hurry.wait()
        elif self._written_last >= self._settings.crowd:
            await asyncio.sleep(self._settings.crowd_ms / 1000)
        if len(self._queue) <= self._settings.batch_max:
            self._hurry.clear()

    async def flush(self, timeout_s: float) -> bool:
        """Takes no more events and waits until all are written and acknowledged. Whether that came about in
        time.
        """
        self._stopping = True
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
                await asyncio.gather(*self._finishing)
        except TimeoutError:
            return False
        return True

    async def _write(self, batch: list[_Pending]) -> bool:
        """Whether the ledger took the batch. What it did not take stays in the stream, to be found there."""
        try:
            delivered = await self._delivery.deliver([pending.event for pending in batch])
        except Exception as error:  # whatever it is, the writer must go on for the others
            self._observer.work_failed("write", error)
            for _, told in batch:
                if told is not None:
                    _tell(told, Durability.BUFFERED)
            return False
        self._answer(batch, delivered.results)
        task = asyncio.create_task(self._finish(delivered.done, delivered.balances))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return True

    def _answer(self, batch: list[_Pending], results: Sequence[Written | None]) -> None:
        written = sum(result is not None for result in results)
        conflicts = sum(result is Written.CONFLICT for result in results)
        for (_, told), result in zip(batch, results, strict=True):
            if told is None or told.done():
                continue
            if result is Written.CONFLICT:
                told.set_exception(IdempotencyConflict("The ledger has it with other content."))
                told.exception()  # retrieved: nobody may be waiting for it
            else:
                told.set_result(Durability.BUFFERED if result is None else Durability.LEDGER)
        self._observer.batch_written(written, conflicts)

    async def _finish(self, events: Sequence[Event], balances: Sequence[WindowBalance]) -> None:
        # What is not finished now is found in the stream and written again, to no other effect than this.
        try:
            await finish(self._events, self._watch, events, balances)
        except StoreUnavailable:
            pass
        except Exception as error:  # whatever it is, the stream still has the events
            self._observer.work_failed("finish", error)


def _tell(told: asyncio.Future[Durability], durability: Durability) -> None:
    """Whoever waits for it, if they still do."""
    if not told.done():
        told.set_result(durability)


async def finish(
    log: EventLog, watch: Watch, events: Sequence[Event], balances: Sequence[WindowBalance]
) -> None:
    """Shows what has been spent to who watches it, then removes the events from the stream: in this order, so
    that a crash in between only repeats it.
    """
    if balances:
        await watch.charged(balances)
    by_organization: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_organization[event.entry.hold.organization].append(event)
    for organization, group in by_organization.items():
        await log.acknowledge(organization, group)
