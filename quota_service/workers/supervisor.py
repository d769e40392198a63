"""Starts workers, starts those again that end, and ends them together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from quota_service.config import Settings
from quota_service.metrics import readings
from quota_service.metrics.readings import Readings
from quota_service.starting import end_at_once
from quota_service.workers.messages import Begin
from quota_service.workers.pauses import Pauses
from quota_service.workers.process import WorkerFailed, WorkerProcess

POLL_S = 5.0

SUPERVISOR = "supervisor"


class Observer(Protocol):
    """Told what becomes of the workers."""

    def worker_ended(self, number: int, pid: int, code: int, reason: str, again_s: float) -> None: ...

    def worker_answers_again(self, number: int, pid: int) -> None: ...

    def work_failed(self, work: str, error: Exception) -> None: ...


class Supervisor:
    """The workers of one service."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._workers: dict[int, WorkerProcess] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._restarts = 0
        self._kept: Readings = {}  # of workers that have ended

    async def start(self, settings: Settings) -> None:
        """Starts as many workers as the settings say, with these settings; returns when all answer.

        Raises WorkerFailed where one cannot.
        """
        for number in range(1, settings.worker_count + 1):
            self._workers[number] = await WorkerProcess.start(Begin(number, settings))
        await asyncio.gather(*(worker.ready() for worker in self._workers.values()))

    def keep(self, settings: Settings) -> None:
        """From now on, starts a worker again whenever one has ended."""
        self._keeping = [asyncio.create_task(self._keep(number, settings)) for number in self._workers]

    async def demonstrate(self, options: Mapping[str, str | int | bool]) -> None:
        """Has a worker load the demonstration, with these options of the command. Raises WorkerFailed."""
        await self._workers[1].demonstrate(options)

    async def measured(self) -> Readings:
        """What all processes have counted and measured, added up. No counter ever goes back."""
        workers = dict(self._workers)
        told = await asyncio.gather(*(worker.measure() for worker in workers.values()))
        ready = sum(worker.is_ready for worker in workers.values())
        total = readings.of_workers(answering=ready, restarts=self._restarts)
        for (number, worker), each in zip(workers.items(), told, strict=True):
            if worker is self._workers[number]:  # else it has ended meanwhile, and its counts are kept
                readings.add(total, each if worker.is_ready else readings.lasting(each))
        readings.add(total, self._kept)
        readings.add(total, readings.of_process(SUPERVISOR))
        return total

    async def poll(self) -> None:
        """Asks now and then what workers have counted, until it is cancelled: so little is lost with one that
        is killed.
        """
        while True:
            await asyncio.sleep(POLL_S)
            await asyncio.gather(*(worker.measure() for worker in self._workers.values()))

    async def stop(self, patience_s: float) -> None:
        """Has all workers drain at the same time, and waits for their end; ends those that take longer."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()
        try:
            async with asyncio.timeout(patience_s):
                await self._all_ended()
        except TimeoutError:
            self.kill()
            await self._all_ended()

    async def _all_ended(self) -> None:
        await asyncio.shield(asyncio.gather(*self._keeping))  # one of them may just be starting another
        await asyncio.gather(*(worker.ended() for worker in self._workers.values()))

    def kill(self) -> None:
        """Ends all workers at once."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()

    def end_at_once(self, number: int) -> None:
        """Ends all workers and this process on the spot, as by the signal of this number."""
        self.kill()
        end_at_once(number)

    async def _keep(self, number: int, settings: Settings) -> None:
        """Starts a worker again whenever it has ended, until all are to stop."""
        pauses, clock = Pauses(), asyncio.get_running_loop().time
        begun_s = clock()
        while True:
            worker = self._workers[number]
            code = await worker.ended()
            if self._stopping.is_set():
                return
            pause_s = pauses.after(clock() - begun_s)
            reason = worker.failed.message if worker.failed else ""
            self._observer.worker_ended(number, worker.pid, code, reason, pause_s)
            if await _set_within(self._stopping, pause_s):
                return
            begun_s = clock()
            try:
                await self._replace(number, settings)
            except OSError as error:  # this machine has no room for another process
                self._observer.work_failed("starting a worker", error)

    async def _replace(self, number: int, settings: Settings) -> None:
        worker = await WorkerProcess.start(Begin(number, settings))
        readings.add(self._kept, readings.lasting(self._workers[number].last))
        self._workers[number] = worker
        self._restarts += 1
        if self._stopping.is_set():
            worker.stop()  # the others have been told before it was there
        try:
            await worker.ready()
        except WorkerFailed:
            return  # told with its end
        self._observer.worker_answers_again(number, worker.pid)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
