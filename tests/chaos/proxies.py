"""Proxies in a process of their own, so that the load of a run does not slow what it measures.

    python -m tests.chaos.proxies

is what the process runs: one JSON command a line on stdin, one JSON answer a line on stdout, and its end when
stdin ends, in whatever way the run has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.proxy import Mode, Proxy

_ROOT = Path(__file__).parents[2]


class Proxies:
    """The proxies of a run, by name."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.proxies"],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the run, which then closes stdin
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def add(self, name: str, port: int) -> int:
        """A new proxy in front of a local port; returns the proxy's own port."""
        answer = await self._ask(do="add", name=name, port=port)
        return int(answer["port"])

    async def switch(self, name: str, mode: Mode, *, delay_s: float = 0.0) -> None:
        await self._ask(do="switch", name=name, mode=mode, delay_s=delay_s)

    async def lost(self) -> int:
        """How many chunks of replies have been swallowed."""
        return int((await self._ask(do="lost"))["lost"])

    def close(self) -> None:
        """Ends the process and waits for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    async def _ask(self, **command: Any) -> dict[str, Any]:
        async with self._turn:
            return await asyncio.to_thread(self._exchange, json.dumps(command))

    def _exchange(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


async def _serve() -> None:
    proxies: dict[str, Proxy] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answer = await _obey(proxies, json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await asyncio.gather(*(proxy.close() for proxy in proxies.values()))


async def _obey(proxies: dict[str, Proxy], command: dict[str, Any]) -> dict[str, Any]:
    match command:
        case {"do": "add", "name": name, "port": port}:
            proxies[name] = Proxy("127.0.0.1", port)
            return {"port": await proxies[name].start()}
        case {"do": "switch", "name": name, "mode": mode, "delay_s": delay_s}:
            await proxies[name].switch(Mode(mode), delay_s=delay_s)
            return {}
        case {"do": "lost"}:
            return {"lost": sum(proxy.lost for proxy in proxies.values())}
        case _:
            raise ValueError(f"not a command: {command}")


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
