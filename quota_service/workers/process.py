"""A worker, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping

from quota_service.metrics.readings import Readings
from quota_service.workers.messages import (
    Answers,
    Begin,
    Demonstrate,
    Demonstrated,
    Failed,
    Link,
    Measure,
    Measured,
    Message,
    Stop,
)

COMMAND = (sys.executable, "-P", "-m", "quota_service.cli.worker")
"""Not from the current directory: what lies there is none of ours."""

MEASURE_S = 2.0

FAULT = 70


class WorkerFailed(Exception):
    """A worker could not begin, or not do what it was told."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class WorkerProcess:
    """One process. `last`: what it told last of what it has counted."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self._process = process
        self._link = link
        self._ready = asyncio.Event()
        self._measured = asyncio.Event()
        self._demonstrated = asyncio.Event()
        self._failed: Failed | None = None
        self.last: Readings = {}
        self._ended = asyncio.ensure_future(self._live())

    @classmethod
    async def start(cls, begin: Begin) -> WorkerProcess:
        """A process that begins. It is out of a terminal's reach: its supervisor tells it when to end."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, stdin=theirs.fileno(), start_new_session=True
            )
        link = Link(*await asyncio.open_connection(sock=ours))
        link.tell(begin)
        return cls(process, link)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def failed(self) -> Failed | None:
        """Why it ended, as far as it could say."""
        return self._failed

    @property
    def is_ready(self) -> bool:
        """Whether it answers calls."""
        return self._ready.is_set() and not self._ended.done()

    async def ready(self) -> None:
        """Waits until it answers calls. Raises WorkerFailed."""
        await self._until(self._ready)

    async def demonstrate(self, options: Mapping[str, str | int | bool]) -> None:
        """Has it load the demonstration. Raises WorkerFailed."""
        self._link.tell(Demonstrate(dict(options)))
        await self._until(self._demonstrated)

    async def measure(self) -> Readings:
        """What it has counted; where it does not answer soon, what it told last."""
        if self.is_ready:
            self._measured.clear()
            self._link.tell(Measure())
            await self._happened(self._measured, MEASURE_S)
        return self.last

    def stop(self) -> None:
        """Tells it to drain and to end."""
        self._link.tell(Stop())

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> int:
        """Waits for its end; the exit code, or the signal's number below 0."""
        return await asyncio.shield(self._ended)

    async def _live(self) -> int:
        while (message := await self._link.hear()) is not None:
            self._take(message)
        code = await self._process.wait()
        self._link.close()
        return code

    def _take(self, message: Message) -> None:
        match message:
            case Answers():
                self._ready.set()
            case Measured(readings):
                self.last = readings
                self._measured.set()
            case Demonstrated():
                self._demonstrated.set()
            case Failed():
                self._failed = message

    async def _happened(self, event: asyncio.Event, timeout_s: float | None = None) -> None:
        """Waits for it, but not beyond the worker's end."""
        waiting = asyncio.ensure_future(event.wait())
        await asyncio.wait((waiting, self._ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _until(self, happened: asyncio.Event) -> None:
        await self._happened(happened)
        if self._failed is not None:
            raise WorkerFailed(self._failed)
        if not happened.is_set():
            raise WorkerFailed(Failed(f"A worker {how(self._ended.result())} before it was ready.", FAULT))


def how(code: int) -> str:
    """How a process ended, in words."""
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
