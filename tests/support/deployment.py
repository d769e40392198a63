"""What deploy/ says, read as an engine of containers reads it, and what its setup makes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.support.process import ROOT

DEPLOY = ROOT / "deploy"
SECRETS = "/run/secrets"

_VARIABLE = re.compile(r"\$\{(\w+)(?::[?-]([^}]*))?\}")


class Image(NamedTuple):
    """What the Dockerfile's last stage says of how the image runs, and what of the repository is copied."""

    copied: set[str]
    environment: dict[str, str]
    user: str
    entrypoint: list[str]
    command: list[str]
    health: list[str]


def image() -> Image:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    said = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    last = max(number for number, (instruction, _, _) in enumerate(said) if instruction == "FROM")
    of = {instruction: text for instruction, _, text in said[last:]}
    copies = (text.split() for instruction, _, text in said if instruction == "COPY")
    return Image(
        copied={source for each in copies for source in each[:-1] if not each[0].startswith("--from")},
        environment=dict(each.split("=", 1) for each in shlex.split(of["ENV"])),
        user=of["USER"],
        entrypoint=json.loads(of["ENTRYPOINT"]),
        command=json.loads(of["CMD"]),
        health=json.loads(of["HEALTHCHECK"].partition("CMD ")[2]),
    )


@dataclass(frozen=True)
class Deployment:
    """A copy of deploy/ in which the setup has been run."""

    folder: Path

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @cached_property
    def variables(self) -> dict[str, str]:
        """Those of the file .env."""
        return dict(line.split("=", 1) for line in (self.folder / ".env").read_text().splitlines())

    def service(self, name: str) -> Any:
        """A service of the compose file, with its variables filled in, and secrets where they are here."""
        return YAML(typ="safe").load(self._located((self.folder / "compose.yaml").read_text()))["services"][
            name
        ]

    def load_balancer(self) -> Any:
        """Its Envoy's configuration, with secrets where they are here."""
        return YAML(typ="safe").load(self._located((self.folder / "load-balancer.yaml").read_text()))

    def _located(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            return self.variables.get(found[1], found[2] or "")

        return _VARIABLE.sub(value, text).replace(SECRETS, str(self.secrets))


def set_up(folder: Path, *names: str) -> Deployment:
    """Copies deploy/ to the folder and runs its setup."""
    shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns(".env", "secrets"))
    done = subprocess.run(
        [folder / "setup.sh", *names],
        env={**os.environ, **_openssl()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Deployment(folder)


def _openssl() -> dict[str, str]:
    """The environment in which there is an openssl: this machine's, else Debian's, fetched as for the tests
    with Redis.
    """
    if shutil.which("openssl"):
        return {}
    folder = Path(sys.prefix) / "redis"
    subprocess.run([ROOT / "scripts" / "fetch_redis.sh", folder], check=True, capture_output=True)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "OPENSSL_CONF": str(folder / "root" / "etc" / "ssl" / "openssl.cnf"),
    }
