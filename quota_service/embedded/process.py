"""One server process: started in its own session, logged to a file, bound to the life of this process."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.errors import EmbeddedError

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_POLL_S = 0.005
_LOG_TAIL_LINES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """As whom a server runs. `spec` is the launcher's IDENTITY; `owner` must own what the server writes."""

    spec: str
    owner: tuple[int, int] | None = None


OWN_IDENTITY = Identity(spec="self")


def unprivileged_identity() -> Identity:
    """An identity that PostgreSQL accepts: not root, and a user that has a name.

    A user namespace is preferred to another user: the program keeps our access to files, so an environment
    below /root needs no changed modes. Where root may have none (some containers), it is the user `nobody`.
    """
    is_root = os.geteuid() == 0
    if not is_root and _has_name(os.geteuid()):
        return OWN_IDENTITY
    if sys.platform == "linux" and _can_enter_namespace():
        return Identity(spec="namespace")
    if not is_root:
        return OWN_IDENTITY
    nobody = pwd.getpwnam("nobody")
    return Identity(spec=f"{nobody.pw_uid}:{nobody.pw_gid}", owner=(nobody.pw_uid, nobody.pw_gid))


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _can_enter_namespace() -> bool:
    command = _launch(["/bin/true"], identity=Identity(spec="namespace"), death_signal=signal.SIGKILL)
    return subprocess.run(command, capture_output=True, check=False, start_new_session=True).returncode == 0


def _launch(command: Sequence[str], *, identity: Identity, death_signal: signal.Signals) -> list[str]:
    """The command line that runs `command` as `identity` and signals it when this thread ends."""
    if sys.platform != "linux":
        return list(command)
    prefix = [
        sys.executable,
        "-I",
        "-S",
        _LAUNCHER,
        str(int(death_signal)),
        str(os.getpid()),
        identity.spec,
        "--",
    ]
    return [*prefix, *command]


class ServerProcess:
    """A running program.

    Start it from a thread that lives as long as it should: on Linux the thread's end is the program's.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        stop_signal: signal.Signals,
        identity: Identity = OWN_IDENTITY,
    ) -> None:
        self._stop_signal = stop_signal
        self._log = log
        self._name = Path(command[0]).name
        user, group = identity.owner if identity.owner and sys.platform != "linux" else (None, None)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                _launch(command, identity=identity, death_signal=stop_signal),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,  # a terminal's Ctrl-C reaches only us, and we stop things in order
                user=user,
                group=group,
            )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def log_text(self) -> str:
        """Everything the server has written since its start."""
        return self._log.read_text(errors="replace")

    async def succeeded(self, *, timeout_s: float) -> None:
        """Wait for a program that ends by itself.

        Raises:
            EmbeddedError: it failed, or took too long.
        """
        try:
            finished = await until(lambda: not self.is_running, timeout_s=timeout_s)
        finally:
            self.kill()  # it has ended already, unless it took too long or waiting for it was cancelled
        if not finished:
            raise self.error(f"did not finish within {timeout_s:g} s")
        if self._process.returncode != 0:
            raise self.error(f"failed with exit code {self._process.returncode}")

    async def ready(self, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until the server answers.

        Raises:
            EmbeddedError: it ended, or took too long (then it is killed).
        """
        answered = await until(lambda: not self.is_running or is_ready(), timeout_s=timeout_s)
        if not self.is_running:
            raise self.error(f"did not start (exit code {self._process.returncode})")
        if not answered:
            self.kill()
            raise self.error(f"was not ready within {timeout_s:g} s")

    async def stop(self, *, timeout_s: float) -> None:
        """Ask the server to end cleanly, and kill it when it does not. Harmless on one that has ended."""
        if not self.is_running:
            return
        self._process.send_signal(self._stop_signal)
        if not await until(lambda: not self.is_running, timeout_s=timeout_s):
            self.kill()

    def kill(self) -> None:
        """End the server as a crash would: nothing is flushed."""
        self._process.kill()
        self._process.wait()

    def error(self, happened: str) -> EmbeddedError:
        """An error that says what happened and ends with the last lines of the log."""
        tail = "\n".join(f"    {line}" for line in self.log_text().splitlines()[-_LOG_TAIL_LINES:])
        return EmbeddedError(
            f"{self._name} {happened}; its log ({self._log}) ends with:\n{tail or '    (empty)'}"
        )


async def until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Wait until the condition holds; False when it did not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def stop_leftover(
    pid_file: Path, *, marker: str, stop_signal: signal.Signals, timeout_s: float
) -> None:
    """Stop a server that a crashed run left behind on the same data, and remove its pid file.

    `marker` is a part of the server's command line: a process which merely got the same id is left alone.

    Raises:
        EmbeddedError: it could not be stopped.
    """
    pid = _read_pid(pid_file)
    if pid is None:
        return
    if marker in _command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, stop_signal)
        if not await until(lambda: marker not in _command_line(pid), timeout_s=timeout_s):
            raise EmbeddedError(
                f"process {pid} of an earlier run still uses {marker} and does not stop: kill {pid}"
            )
    pid_file.unlink(missing_ok=True)


def _read_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _command_line(pid: int) -> str:
    """The process's command line; empty when there is no such process."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listing = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout
