"""A master, a replica and three sentinels, all real, for tests of failovers.

async with failover_set(directory) as servers:
    connection = Connection(servers.url)
    await servers.hold_replication()   # what is written from now on is lost with the master
    servers.kill_master()
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from quota_service.embedded.ports import HOST, start_on_free_port
from quota_service.embedded.process import ServerProcess
from quota_service.embedded.valkey import server_program

SERVICE = "budgets"
DOWN_AFTER_MS = 500
FAILOVER_MS = 2_000
START_S = 30.0
AGREEMENT_S = 30.0

_SERVER = """\
bind {host}
port {port}
requirepass {password}
masterauth {password}
set-proc-title no
appendonly yes
appendfsync no
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
"""

_SENTINEL = """\
bind {host}
port {port}
set-proc-title no
sentinel monitor {service} {host} {master} 2
sentinel auth-pass {service} {password}
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} {failover_ms}
"""


class Server:
    """One process with a directory of its own. Starts again on the same port and data."""

    def __init__(self, directory: Path, configuration: str, *arguments: str) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._configuration = configuration
        self._arguments = arguments
        self._process: ServerProcess | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        if self.port:
            await self._start_on(self.port)
        else:
            self.port = await start_on_free_port(self._start_on)

    def kill(self) -> None:
        """As a crash would."""
        if self._process is not None:
            self._process.kill()

    async def _start_on(self, port: int) -> None:
        file = self._directory / "server.conf"
        if not self.port:  # later the servers have written into it what they have learned
            file.write_text(self._configuration.format(host=HOST, port=port))
        process = self._process = ServerProcess(
            [str(server_program()), str(file), *self._arguments],
            log=self._directory / "server.log",
            cwd=self._directory,
            stop_signal=signal.SIGKILL,
        )
        await process.ready(lambda: _is_ready(process.log_text()), timeout_s=START_S)


class FailoverSet:
    """Who was the master at the start, the replica that takes over, and the sentinels that see to it."""

    def __init__(self, directory: Path) -> None:
        self._password = secrets.token_hex(8)
        own = _SERVER.replace("{password}", self._password)
        self._directory = directory
        self.master = Server(directory / "master", own)
        self.replica = Server(directory / "replica", own)
        self.sentinels: list[Server] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:{self._password}@{hosts}/{SERVICE}"

    def plain_url(self, server: Server) -> str:
        """The URL of one of the two, whatever the sentinels think of it."""
        return f"redis://:{self._password}@{HOST}:{server.port}"

    @property
    def master_pid(self) -> int:
        return self.master.pid

    def kill_master(self) -> None:
        self.master.kill()

    async def hold_replication(self) -> None:
        """From now on the replica learns nothing any more. It is promoted all the same, if the master dies
        within some seconds (ten times DOWN_AFTER_MS).
        """
        await self.tell(self.replica, "CONFIG", "SET", "masterauth", "wrong")
        await self.tell(self.replica, "CLIENT", "KILL", "TYPE", "master")
        await _until(lambda: self._has_link("down"))

    async def resume_replication(self) -> None:
        await self.tell(self.replica, "CONFIG", "SET", "masterauth", self._password)
        await _until(lambda: self._has_link("up"))

    async def replicated(self) -> None:
        """Waits until the replica has all that the master has acknowledged so far."""
        await _until(self._has_caught_up)

    async def promoted(self) -> None:
        """Waits until the replica is the master."""
        await _until(lambda: self._plays(self.replica, "master"))

    async def revive(self) -> None:
        """Starts the old master again; waits until the sentinels have made it a replica of the new one."""
        await self.master.start()
        await _until(lambda: self._plays(self.master, "slave"))

    async def tell(self, server: Server, *command: str | int) -> Any:
        """Sends a command to one server of the set."""
        password = None if server in self.sentinels else self._password
        async with contextlib.aclosing(
            redis.asyncio.Redis(host=HOST, port=server.port, password=password, decode_responses=True)
        ) as client:
            return await client.execute_command(*command)

    async def start(self) -> None:
        await self.master.start()
        await self.replica.start()
        await self.tell(self.replica, "REPLICAOF", HOST, self.master.port)
        await _until(lambda: self._has_link("up"))
        watching = _SENTINEL.format(
            host="{host}",
            port="{port}",
            service=SERVICE,
            master=self.master.port,
            password=self._password,
            down_after_ms=DOWN_AFTER_MS,
            failover_ms=FAILOVER_MS,
        )
        for number in range(3):
            self.sentinels.append(Server(self._directory / f"sentinel{number}", watching, "--sentinel"))
        await asyncio.gather(*(sentinel.start() for sentinel in self.sentinels))
        await _until(self._know_each_other)

    def kill(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()

    async def _know_each_other(self) -> bool:
        seen = [await self.tell(sentinel, "SENTINEL", "MASTER", SERVICE) for sentinel in self.sentinels]
        return all(
            _pairs(state).items() >= {"num-slaves": "1", "num-other-sentinels": "2"}.items() for state in seen
        )

    async def _has_link(self, state: str) -> bool:
        return (await self._about(self.replica)).get("master_link_status") == state

    async def _has_caught_up(self) -> bool:
        ahead, behind = await self._about(self.master), await self._about(self.replica)
        return bool(ahead["master_repl_offset"] == behind.get("slave_repl_offset"))

    async def _plays(self, server: Server, role: str) -> bool:
        return (await self._about(server)).get("role") == role

    async def _about(self, server: Server) -> dict[str, Any]:
        about: dict[str, Any] = await self.tell(server, "INFO", "replication")
        return about


@contextlib.asynccontextmanager
async def failover_set(directory: Path) -> AsyncIterator[FailoverSet]:
    """Running servers, of which none is left afterwards. They take some seconds to know each other."""
    servers = FailoverSet(directory)
    try:
        await servers.start()
        yield servers
    finally:
        servers.kill()


def _is_ready(log: str) -> bool:
    return "Ready to accept connections" in log or "Sentinel ID is" in log


def _pairs(flat: Any) -> dict[str, Any]:
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


async def _until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Waits until it holds; a server that cannot be asked right now does not say that it does."""
    async with asyncio.timeout(AGREEMENT_S):
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.05)
