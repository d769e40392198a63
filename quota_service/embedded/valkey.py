"""An embedded Valkey: append-only file, no eviction, reachable on the loopback interface with a password."""

import os
import secrets
import signal
from pathlib import Path

from quota_service.embedded.binaries import valkey_server
from quota_service.embedded.ports import HOST, start_on_free_port
from quota_service.embedded.process import ServerProcess, stop_leftover

_START_TIMEOUT_S = 30.0  # loading a large append-only file takes a while
_STOP_TIMEOUT_S = 10.0
_STOP_SIGNAL = signal.SIGTERM  # what SHUTDOWN does: flush the append-only file, then end

PROGRAM_VARIABLE = "QUOTA_EMBEDDED_VALKEY"
"""Names another valkey-server, or a redis-server of version 7.0 or newer, to run in place of the package's.
"""

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
pidfile valkey.pid
# The command line stays as given, so that a leftover of a crashed run can be recognized by it.
set-proc-title no
appendonly yes
appendfsync {appendfsync}
save ""
# Evicting a counter would forget money spent.
maxmemory-policy noeviction
"""


def server_program() -> Path:
    """The program that is run: the package's, unless the environment names another.

    Raises:
        EmbeddedError: the package is missing, or has no program for this platform.
    """
    other = os.environ.get(PROGRAM_VARIABLE)
    return Path(other) if other else valkey_server()


class EmbeddedValkey:
    """A Valkey server with its data in one directory. May start again after its end, on the same port."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory
        self._durable = durable
        self._password = secrets.token_hex(16)
        self._port: int | None = None
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """A redis-py URL. Known once the server has been started."""
        return f"redis://:{self._password}@{HOST}:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        return self._process.pid if self._process and self._process.is_running else None

    async def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            EmbeddedError: it does not start.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await stop_leftover(
            self._directory / "valkey.pid",
            marker=str(self._configuration_file),
            stop_signal=_STOP_SIGNAL,
            timeout_s=_STOP_TIMEOUT_S,
        )
        if self._port is None:
            self._port = await start_on_free_port(self._start_on)
        else:
            await self._start_on(self._port)

    async def stop(self) -> None:
        """End the server cleanly. Harmless when it is not running."""
        if self._process:
            await self._process.stop(timeout_s=_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process:
            self._process.kill()

    @property
    def _configuration_file(self) -> Path:
        return self._directory / "valkey.conf"

    async def _start_on(self, port: int) -> None:
        self._write_configuration(port)
        process = self._process = ServerProcess(
            [str(server_program()), str(self._configuration_file)],
            log=self._directory / "valkey.log",
            cwd=self._directory,
            stop_signal=_STOP_SIGNAL,
        )
        await process.ready(
            lambda: "Ready to accept connections" in process.log_text(), timeout_s=_START_TIMEOUT_S
        )

    def _write_configuration(self, port: int) -> None:
        # In a file and not on the command line, which every user of the machine can read.
        self._configuration_file.touch(mode=0o600)
        text = _CONFIGURATION.format(
            host=HOST, port=port, password=self._password, appendfsync="everysec" if self._durable else "no"
        )
        self._configuration_file.write_text(text)
