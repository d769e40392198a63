"""An embedded PostgreSQL, reachable on the loopback interface with a password."""

import os
import secrets
import shutil
import signal
from pathlib import Path

from quota_service.embedded.binaries import postgres_program
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.ports import HOST, start_on_free_port
from quota_service.embedded.process import Identity, ServerProcess, stop_leftover, unprivileged_identity

_USER = "quota"
_DATABASE = "postgres"  # the one that a new server has: creating another could fail halfway
_CREATE_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 60.0  # recovery after a crash takes a while
_STOP_TIMEOUT_S = 10.0
_STOP_SIGNAL = signal.SIGINT  # PostgreSQL's fast shutdown: connections are closed, data is flushed

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path may not be longer than 107 characters
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_SETTINGS_WITHOUT_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server with its data in one directory. May start again after its end, on the same port."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory
        self._password_file = directory.with_name(f"{directory.name}.password")
        self._log = directory.with_name(f"{directory.name}.log")
        self._settings = _SETTINGS if durable else _SETTINGS | _SETTINGS_WITHOUT_DURABILITY
        self._password = ""
        self._port: int | None = None
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """A URL for asyncpg, dbmate and psql. Known once the server has been started."""
        return f"postgres://{_USER}:{self._password}@{HOST}:{self._port}/{_DATABASE}?sslmode=disable"

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        return self._process.pid if self._process and self._process.is_running else None

    async def start(self) -> None:
        """Start the server, its data created first where there is none, and return when it answers.

        Raises:
            EmbeddedError: it does not start.
        """
        identity = unprivileged_identity()
        if not self._directory.exists():
            await self._create_data(identity)
        self._password = self._password_file.read_text()
        await stop_leftover(
            self._directory / "postmaster.pid",
            marker=str(self._directory),
            stop_signal=_STOP_SIGNAL,
            timeout_s=_STOP_TIMEOUT_S,
        )
        if self._port is None:
            self._port = await start_on_free_port(lambda port: self._start_on(port, identity))
        else:
            await self._start_on(self._port, identity)

    async def stop(self) -> None:
        """End the server cleanly. Harmless when it is not running."""
        if self._process:
            await self._process.stop(timeout_s=_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the server as a crash would. Its own children notice within moments."""
        if self._process:
            self._process.kill()

    async def _create_data(self, identity: Identity) -> None:
        """Create the data beside its place and move it there when whole: a crash leaves no half."""
        unfinished = self._directory.with_name(f"{self._directory.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        self._write_password()
        if identity.owner:
            os.chown(unfinished, *identity.owner)
            os.chown(self._password_file, *identity.owner)
        await self._run_initdb(unfinished, identity)
        unfinished.rename(self._directory)

    def _write_password(self) -> None:
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))

    async def _run_initdb(self, directory: Path, identity: Identity) -> None:
        initdb = postgres_program("initdb")
        command = [
            str(initdb),
            f"--pgdata={directory}",
            f"--username={_USER}",
            f"--pwfile={self._password_file}",
            # The password goes in clear, on the loopback interface only. It is random, in a file beside the
            # data: nothing is gained by a hash that makes guesses slow, and with them every connection.
            "--auth=password",
            "--set=scram_iterations=1",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        process = ServerProcess(
            command, log=self._log, cwd=directory, stop_signal=signal.SIGTERM, identity=identity
        )
        try:
            await process.succeeded(timeout_s=_CREATE_TIMEOUT_S)
        except EmbeddedError as error:
            if identity.owner is None:
                raise
            raise EmbeddedError(
                f"{error}\nPostgreSQL refuses to run as root, and user namespaces are forbidden here, so it "
                f"runs as the user nobody, who must be able to read {initdb.parent.parent} "
                f"and to reach {directory.parent}. Run as an ordinary user, or set QUOTA_POSTGRES_URL."
            ) from error

    async def _start_on(self, port: int, identity: Identity) -> None:
        settings = [f"--{name}={value}" for name, value in (self._settings | {"port": str(port)}).items()]
        process = self._process = ServerProcess(
            [str(postgres_program("postgres")), "-D", str(self._directory), *settings],
            log=self._log,
            cwd=self._directory,
            stop_signal=_STOP_SIGNAL,
            identity=identity,
        )
        await process.ready(lambda: self._status() == (str(process.pid), "ready"), timeout_s=_START_TIMEOUT_S)

    def _status(self) -> tuple[str, str] | None:
        """Process id and status as the server reports them in its pid file; `pg_ctl` waits for the same."""
        try:
            lines = (self._directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return (lines[0], lines[7].strip()) if len(lines) >= 8 else None
