"""The servers that are measured, each a process of its own, and the processor time they have used."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

READY = "Quota Service is ready on "
"""Begins the line on stdout with which a server tells its address."""

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
_PROC = Path("/proc")
_STOLEN = 7  # its place in /proc/stat


class StartFailed(Exception):
    """A server did not come up. The text is what it wrote."""


class Running(NamedTuple):
    """A server that answers."""

    address: str
    pid: int


@asynccontextmanager
async def running(*module: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Runs `python -m MODULE ARGUMENT...` until the block ends. Raises StartFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *module),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,  # Ctrl-C is for this process, which then stops the server gently
    )
    try:
        yield Running(await _address(process), process.pid)
    finally:
        await _stop(process)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await process.stdout.readline()).decode()
    except TimeoutError:
        line = f"nothing within {START_TIMEOUT_S:g} s"
    if not line.startswith(READY):
        raise StartFailed(f"the server said {line!r} instead of being ready")
    return line.removeprefix(READY).strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """Processor time that processes and their children have used so far; `None` where there is no /proc."""
    if not (_PROC / "self" / "stat").exists():
        return None
    roots = set(pids)
    ticks = sum(used for pid, (parent, used) in _processes().items() if pid in roots or parent in roots)
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and used ticks by process id."""
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            # The name in parentheses may contain anything, so the numbers are counted from behind it.
            fields = stat.rpartition(")")[2].split()
            found[int(folder.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    return found


def family(pid: int) -> list[int]:
    """A process and its children."""
    parents = _processes() if _PROC.exists() else {}
    return [pid, *(child for child, (parent, _) in parents.items() if parent == pid)]


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use; 0 where there is no /proc."""
    path = _PROC / str(pid) / "statm"
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


def processor_ticks() -> list[int]:
    """How this machine's processors have spent their time so far, kind by kind; nothing without /proc."""
    if not (_PROC / "stat").exists():
        return []
    first = (_PROC / "stat").read_text().partition("\n")[0]
    return [int(ticks) for ticks in first.split()[1:9]]


def stolen_percent(before: list[int], after: list[int]) -> float:
    """How much of the processors' time other virtual machines took."""
    spent = [later - earlier for earlier, later in zip(before, after, strict=True)]
    return 100 * spent[_STOLEN] / max(1, sum(spent))
