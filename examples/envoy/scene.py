"""The service on this machine with the lab in it, for those who put an Envoy before it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.ports import free_port
from tests.support.process import QUOTA, ServeProcess

LAB = Path(__file__).with_name("lab.yaml")
PEOPLE = ("rosalind", "dorothy", "barbara")


class CommandFailed(Exception):
    """A `quota` command did not do what it should. The text is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running service. `secrets`: of everybody's key, by user."""

    address: str
    pid: int
    secrets: Mapping[str, str]

    def quota(self, *arguments: str, columns: int = 120) -> str:
        """What a command prints on stdout, so wide. Raises CommandFailed."""
        return _quota(self.address, *arguments, columns=columns)


@asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Lab]:
    """`quota serve --dev` with stores in that folder, gone afterwards. Raises CommandFailed."""
    address = f"127.0.0.1:{free_port()}"
    process = ServeProcess(("--dev", "--address", address, "--data-dir", str(folder / "stores")), {})
    try:
        await asyncio.to_thread(process.wait_for, address)
        secrets = await asyncio.to_thread(_loaded, address)
        yield Lab(address=address, pid=process.pid, secrets=secrets)
    finally:
        await asyncio.to_thread(process.stop)


def _loaded(address: str) -> dict[str, str]:
    """Makes the lab, and a key for everybody; their secrets."""
    _quota(address, "apply", "-f", str(LAB))
    made = ("--organization", "lab")
    return {
        who: _quota(address, "key", "create", f"key-{who}", "--user", who, *made).strip() for who in PEOPLE
    }


def _quota(address: str, *arguments: str, columns: int = 120) -> str:
    done = subprocess.run(
        [QUOTA, *arguments, "--address", address],
        env={**os.environ, "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise CommandFailed(f"quota {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
