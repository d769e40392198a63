"""Valkey and PostgreSQL as processes that can be killed, halted, emptied and put back in time."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.postgres import EmbeddedPostgres
from quota_service.embedded.valkey import EmbeddedValkey

START_ATTEMPTS = 40
START_PAUSE_S = 0.25
_PROC = Path("/proc")


class _Server(Protocol):
    """One of the embedded servers."""

    @property
    def pid(self) -> int | None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def kill(self) -> None: ...


class Store:
    """A server on data that stays. It ends with the thread that starts it, whatever ends that."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._halted: tuple[int, ...] = ()
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """`None` while it is down."""
        return self._server.pid

    async def start(self) -> None:
        """Starts it where it is down. What is left of the one before may be in the way for a moment."""
        async with self._starting:
            await self._start()

    async def _start(self) -> None:
        for left in range(START_ATTEMPTS - 1, -1, -1):
            if self.pid is not None:
                return
            try:
                await self._server.start()
            except EmbeddedError:
                if not left:
                    raise
                await asyncio.sleep(START_PAUSE_S)

    async def stop(self) -> None:
        """Ends it cleanly, for good."""
        self.resume()
        await self._server.stop()

    def kill(self) -> None:
        """SIGKILL, also to a server that is halted."""
        if self.pid is not None:
            self._server.kill()
        self._halted = ()

    def pause(self) -> None:
        """Halts the server and its children: they keep their connections and do nothing."""
        if self.pid is not None:
            self._halted = (self.pid, *_children(self.pid))
            _signal(self._halted, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a halted server go on where it was."""
        _signal(self._halted, signal.SIGCONT)
        self._halted = ()


class ChaosValkey(Store):
    """Every write is in the kernel's hands before it is answered (`appendfsync no`): a kill loses nothing."""

    def __init__(self, directory: Path) -> None:
        self._valkey = EmbeddedValkey(directory, durable=False)
        self._data = directory / "appendonlydir"
        self._copy = directory.with_name(f"{directory.name}.copy")
        super().__init__(self._valkey)

    @property
    def url(self) -> str:
        """Known once it has been started; the same after every start."""
        return self._valkey.url

    def copy_data(self) -> None:
        """Copies its data aside as they are at this instant."""
        self.pause()
        try:
            shutil.rmtree(self._copy, ignore_errors=True)
            shutil.copytree(self._data, self._copy)
        finally:
            self.resume()

    async def restore_copy(self) -> None:
        """Goes back in time: kills it and starts it on the copy, which stays."""
        async with self._starting:
            self.kill()
            shutil.rmtree(self._data)
            shutil.copytree(self._copy, self._data)
            await self._start()

    async def empty(self) -> None:
        """Kills it and starts it without any data."""
        async with self._starting:
            self.kill()
            shutil.rmtree(self._data)
            await self._start()


class ChaosPostgres(Store):
    """As durable as in production: what it has committed survives SIGKILL of all its processes."""

    def __init__(self, directory: Path) -> None:
        self._postgres = EmbeddedPostgres(directory, durable=True)
        super().__init__(self._postgres)

    @property
    def url(self) -> str:
        """Known once it has been started; the same after every start."""
        return self._postgres.url

    def kill(self) -> None:
        """SIGKILL to the postmaster and to every backend at once."""
        children = _children(self.pid) if self.pid is not None else ()
        super().kill()
        _signal(children, signal.SIGKILL)


def _children(parent: int) -> tuple[int, ...]:
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            # The name in parentheses may contain anything, so fields are counted from behind it.
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return tuple(found)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it has ended meanwhile
