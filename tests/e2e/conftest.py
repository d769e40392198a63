"""A server process of its own for every test, over the run's real stores, with the demo organization loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "quota_service")
STOPPED_WITHIN_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """`quota serve --dev` in a process of its own. `greeting` is what it printed until it was ready."""

    address: str
    greeting: str
    process: subprocess.Popen[str]

    def quota(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command against this server."""
        environment = {**os.environ, "QUOTA_ADDRESS": self.address, "COLUMNS": "200"}
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=REPOSITORY,
        )

    def quota_json(self, *arguments: str, stdin: str = "") -> Any:
        """The JSON document that a command prints; the command must succeed."""
        done = self.quota(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def server(valkey_url: str, postgres_url: str, key_prefix: str, free_port: int) -> Iterator[ServerProcess]:
    """A server in development mode, stopped by SIGTERM afterwards."""
    address = f"127.0.0.1:{free_port}"
    environment = {
        **os.environ,
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres_url,
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
    }
    arguments = [*COMMAND, "serve", "--dev", "--address", address, "--grace-ms", "1000"]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
    ) as process:
        yield ServerProcess(address=address, greeting=_greeting(process), process=process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPED_WITHIN_S) == 0


def _greeting(process: subprocess.Popen[str]) -> str:
    lines: list[str] = []
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            return "".join(lines)
    raise AssertionError(f"the server ended with {process.wait()}: {''.join(lines)}")
