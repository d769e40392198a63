"""The replicas: real `quota serve` processes that are killed and come back on the same port."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from quota_service.embedded.ports import free_port
from tests.support.process import ServeProcess

CLOCK = Path(__file__).with_name("clock")
READY = "Quota Service is ready"
START_ATTEMPTS = 10
START_PAUSE_S = 0.25
START_S = 30.0
POLL_S = 0.02


class Replica:
    """One server. `clock_shift_s`: how far its wall clock is ahead."""

    def __init__(self, name: str, environment: Mapping[str, str], *, clock_shift_s: int = 0) -> None:
        self.name = name
        self.port = free_port()
        self._environment = dict(environment)
        if clock_shift_s:
            path = os.pathsep.join(filter(None, (str(CLOCK), os.environ.get("PYTHONPATH"))))
            self._environment |= {"PYTHONPATH": path, "CHAOS_CLOCK_SHIFT_S": str(clock_shift_s)}
        self._process: ServeProcess | None = None
        self._halted = False
        self._changing = asyncio.Lock()
        self.logs: list[str] = []
        self.troubles: list[str] = []

    @property
    def pid(self) -> int | None:
        """`None` while it is down."""
        return self._process.pid if self._process is not None else None

    @property
    def died(self) -> bool:
        """Whether it has ended though nobody asked it to."""
        return self.pid is not None and _state(self.pid) in ("Z", "")

    async def start(self) -> None:
        """Starts it where it is down, and returns when it answers. A store that is down is waited for."""
        async with self._changing:
            if self.died:
                self.troubles.append(f"{self.name} ended though nobody asked it to")
                self.kill()
            await self._start()

    async def _start(self) -> None:
        for _ in range(START_ATTEMPTS):
            if self._process is not None:
                return
            process = ServeProcess(("--address", f"127.0.0.1:{self.port}"), self._environment)
            self._process = process
            if await _answers(process):
                return
            if self._process is process:  # nobody has killed it meanwhile
                self.kill()
            await asyncio.sleep(START_PAUSE_S)
        raise TimeoutError(f"{self.name} does not start: {self.logs[-1]}")

    async def stop(self) -> None:
        """SIGTERM: it drains."""
        async with self._changing:
            process, self._process = self._process, None
            if process is None:
                return
            code = await asyncio.to_thread(process.stop, signal.SIGTERM)
            self.logs.append(process.output)
            process.kill()
            if code:
                self.troubles.append(f"{self.name} ended with code {code} on SIGTERM")

    def kill(self) -> None:
        """SIGKILL, also where it is halted."""
        process, self._process, self._halted = self._process, None, False
        if process is not None:
            process.kill()
            self.logs.append(process.output)

    def pause(self) -> None:
        if self.pid is not None:
            self._halted = True
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._halted and self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)
        self._halted = False

    def output(self) -> str:
        """What all its lives have printed."""
        return "".join((*self.logs, self._process.output if self._process is not None else ""))


async def _answers(process: ServeProcess) -> bool:
    """Waits until it is ready; false where it ended instead, or takes too long."""
    for _ in range(round(START_S / POLL_S)):
        if READY in process.output:
            return True
        if _state(process.pid) in ("Z", ""):
            return False
        await asyncio.sleep(POLL_S)
    return False


def _state(pid: int) -> str:
    """The letter of `/proc`: Z for a process that has ended; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
