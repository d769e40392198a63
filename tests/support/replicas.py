"""Replicas of the service, in processes of their own, for Envoy to call."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.ports import free_port
from tests.support.gateway import Change, Configuration
from tests.support.process import ServeProcess, serving
from tests.support.service import PEPPER

READY = "Quota Service is ready"
SECOND = "second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """`address`: `host:port`."""

    address: str
    process: ServeProcess

    async def kill(self) -> None:
        """As the kernel does it, -9."""
        await asyncio.to_thread(self.process.kill)

    async def stop(self, number: int) -> int:
        """Sends the signal and waits for the end. The exit code."""
        return await asyncio.to_thread(self.process.stop, number)


class Replicas:
    """Starts them over the given stores, with one pepper, and holds of `ttl_ms`."""

    def __init__(self, valkey_url: str, postgres_url: str, key_prefix: str, folder: Path) -> None:
        self._environment = {
            "QUOTA_VALKEY_URL": valkey_url,
            "QUOTA_POSTGRES_URL": postgres_url,
            "QUOTA_KEY_PREFIX": f"{key_prefix}/",
            "QUOTA_KEY_PEPPER": PEPPER,
            "QUOTA_LEFT_BEHIND_MS": "500",
            "QUOTA_CALLS_BEHIND_MAX": "1000",
            "QUOTA_WORKERS": "1",  # what is killed dies at once
        }
        self._folder = folder

    @asynccontextmanager
    async def running(self, *, ttl_ms: int = 60_000, **more: str) -> AsyncIterator[Replica]:
        """One that is ready, gone afterwards. `more`: further variables of its environment."""
        file = self._folder / f"gateway-{ttl_ms}.yaml"
        file.write_text(f"ttl_ms: {ttl_ms}\n")
        address = f"127.0.0.1:{free_port()}"
        environment = {**self._environment, "QUOTA_ENVOY": str(file), **more}
        with serving("--address", address, "--log-level", "warning", **environment) as process:
            await asyncio.to_thread(process.wait_for, READY)
            yield Replica(address=address, process=process)


def asked_elsewhere(filter_: str, address: str) -> Change:
    """One filter asks another replica of the service."""

    def change(configuration: Configuration) -> None:
        other = copy.deepcopy(configuration.cluster("quota"))
        other["name"] = other["load_assignment"]["cluster_name"] = SECOND
        configuration.values["static_resources"]["clusters"].append(other)
        configuration.send(SECOND, address)
        configuration.filter(filter_)["grpc_service"]["envoy_grpc"]["cluster_name"] = SECOND

    return change


def either(address: str) -> Change:
    """A second replica, which Envoy may call as well, and health that is looked at often."""

    def change(configuration: Configuration) -> None:
        cluster = configuration.cluster("quota")
        [endpoints] = cluster["load_assignment"]["endpoints"]
        [first] = endpoints["lb_endpoints"]
        second = copy.deepcopy(first)
        host, _, port = address.rpartition(":")
        second["endpoint"]["address"] = {"socket_address": {"address": host, "port_value": int(port)}}
        endpoints["lb_endpoints"].append(second)
        [health] = cluster["health_checks"]
        health["interval"] = health["no_traffic_interval"] = "0.2s"

    return change
