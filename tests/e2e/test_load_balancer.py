"""Two replicas behind a real Envoy, which has the configuration of deploy/."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from quota.client import Connection, Credentials, connect
from quota.v1 import types_pb2
from quota_service.embedded.ports import free_port
from tests.support.callers import calling
from tests.support.deployment import Deployment, set_up
from tests.support.gateway_caller import eventually
from tests.support.process import PrintingProcess, ServeProcess, serving
from tests.support.refusals import answer, refusal
from tests.support.service import authorize_request

ENVOY = Path(sys.executable).with_name("envoy")
READY = "is ready on"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return set_up(tmp_path / "deploy")


def configuration(deployment: Deployment, port: int, replicas: list[str]) -> Path:
    """Envoy's, on a port of this machine, with addresses of replicas instead of a name that has them."""
    said = deployment.load_balancer()
    [listener], [cluster] = said["static_resources"]["listeners"], said["static_resources"]["clusters"]
    listener["address"] = _address(f"127.0.0.1:{port}")
    [endpoints] = cluster["load_assignment"]["endpoints"]
    assert endpoints["lb_endpoints"] == [{"endpoint": {"address": _address("quota:50051")}}]
    endpoints["lb_endpoints"] = [{"endpoint": {"address": _address(replica)}} for replica in replicas]
    file = deployment.folder / "envoy.json"
    file.write_text(json.dumps(said))
    return file


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


@contextmanager
def envoy(deployment: Deployment, file: Path) -> Iterator[None]:
    """The compose file's Envoy with another configuration."""
    program, *arguments = deployment.service("envoy")["command"]
    assert program == "envoy"
    arguments[arguments.index("/etc/envoy/envoy.yaml")] = str(file)
    arguments[arguments.index("warning")] = "info"
    process = PrintingProcess([ENVOY, *arguments], deployment.folder, {})
    try:
        process.wait_for("starting workers")  # it has asked how the replicas are
        yield
    finally:
        process.kill()


@contextmanager
def replicas(deployment: Deployment, stores: dict[str, str]) -> Iterator[dict[str, ServeProcess]]:
    """Two, by their addresses."""
    settings = {**deployment.service("quota")["environment"], **stores, "QUOTA_LOG_CALLS": "true"}
    with ExitStack() as stack:
        started: dict[str, ServeProcess] = {}
        for _ in range(2):
            address = f"127.0.0.1:{free_port()}"
            started[address] = stack.enter_context(serving("--address", address, **settings))
        for process in started.values():
            process.wait_for(READY)
        yield started


def calls(process: ServeProcess) -> int:
    """How many Authorizes a replica has answered."""
    return sum("QuotaService/Authorize" in line for line in process.output.splitlines())


async def spread(replicas: dict[str, ServeProcess]) -> list[int]:
    """The same of each, as far as their logs have been read."""
    return [calls(process) for process in replicas.values()]


def test_envoy_takes_the_configuration_without_a_remark(deployment: Deployment) -> None:
    file = configuration(deployment, free_port(), ["127.0.0.1:1"])
    checked = subprocess.run(
        [ENVOY, "--mode", "validate", "--config-path", file, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


async def test_calls_are_spread_and_none_fails_while_a_replica_stops(
    deployment: Deployment, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    stores = {
        "QUOTA_VALKEY_URL": valkey_url,
        "QUOTA_POSTGRES_URL": postgres_url,
        "QUOTA_KEY_PREFIX": f"{key_prefix}/",
        "QUOTA_CALLS_BEHIND_MAX": "1000",  # the tests' machine is slow at times
    }
    port, names = free_port(), count()
    trusted = (deployment.secrets / "ca.pem").read_bytes()
    token = (deployment.secrets / "token").read_text().strip()
    operator = Credentials(token=token, tls=True, ca=trusted)
    with replicas(deployment, stores) as running:
        stopping, staying = running.values()
        with envoy(deployment, configuration(deployment, port, [*running])):
            async with calling(f"localhost:{port}", token, tls=True, ca=trusted) as client:
                await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
            async with connect(f"localhost:{port}", credentials=operator) as connection:
                async with asyncio.timeout(30):  # Envoy's first look at a busy replica may have been in vain
                    while not min(calls(stopping), calls(staying)):
                        await authorized(connection, names, 2)
                before = await spread(running)
                await authorized(connection, names, 100)
                # An answer comes before its line has been read from the log.
                after = await eventually(lambda: spread(running), lambda seen: sum(seen) >= sum(before) + 100)
                assert min(now - then for now, then in zip(after, before, strict=True)) > 20

                os.kill(stopping.pid, signal.SIGTERM)
                ended = asyncio.create_task(asyncio.to_thread(stopping.wait))
                while not ended.done():
                    await authorized(connection, names, 4)
                    await asyncio.sleep(0.05)
                assert await ended == 0
                await authorized(connection, names, 50)

            async with calling(f"localhost:{port}", "", tls=True, ca=trusted) as nobody:
                refused = await refusal(nobody.quota.Authorize(authorize_request("nobody's")))
            assert answer(refused) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")


async def authorized(connection: Connection, names: Iterator[int], number: int) -> None:
    """So many holds are allowed, at once, each asked for again while it is answered UNAVAILABLE."""
    requests = [authorize_request(f"call-{next(names)}") for _ in range(number)]
    answers = await asyncio.gather(
        *(connection.call(connection.quota.Authorize, each, attempts=10) for each in requests)
    )
    assert {each.decision for each in answers} == {types_pb2.DECISION_ALLOW}
