"""`quota serve` as a process of its own, as a person starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUOTA = Path(sys.executable).with_name("quota")
READY_S = 60
PATIENCE_MS = "5000"
"""Tests share a busy machine: a slow answer is no outage."""


def clean_environment(added: Mapping[str, str]) -> dict[str, str]:
    """The test run's environment without settings of its own, and with those added."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUOTA_")}
    return inherited | {"QUOTA_PATIENCE_MS": PATIENCE_MS} | dict(added)


def quota(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [QUOTA, *arguments],
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class PrintingProcess:
    """A running program and everything it has printed. The environment is all that it gets."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]) -> None:
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._said_all = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        with self._changed:
            return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, text: str) -> float:
        """Waits until it has printed the text; returns the seconds since the start."""
        with self._changed:
            found = self._changed.wait_for(lambda: text in "".join(self._lines) or self._ended(), READY_S)
        assert found, f"it did not print {text!r}: {self.output}"
        assert text in self.output, f"it ended without printing {text!r}: {self.output}"
        return time.monotonic() - self.begun

    def stop(self, number: int = signal.SIGINT) -> int:
        """Sends the signal, unless it has ended, and returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self._process.wait(READY_S)
        self._reader.join(READY_S)
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ended(self) -> bool:
        return self._said_all and self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._said_all = True
            self._changed.notify_all()


class ServeProcess(PrintingProcess):
    """A running `quota serve`, with these variables besides those of the test run."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        super().__init__([QUOTA, "serve", *arguments], ROOT, clean_environment(environment))


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[ServeProcess]:
    """`quota serve` with these arguments and variables of the environment, gone afterwards."""
    process = ServeProcess(arguments, environment)
    try:
        yield process
    finally:
        process.kill()
