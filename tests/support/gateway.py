"""A real Envoy with deploy/envoy/envoy.yaml, before a stand-in for the providers and the real service.

The file is changed only where it must be: addresses, no TLS to the stand-in, and longer timeouts, as tests
share a busy machine. Further changes are functions of a `Configuration`, such as `failing_open`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ruamel.yaml import YAML

from tests.support.model_provider import ModelProvider, Request
from tests.support.process import ROOT, PrintingProcess

FILE = ROOT / "deploy" / "envoy" / "envoy.yaml"
ENVOY = Path(sys.executable).with_name("envoy")
PROVIDERS = ("openai", "anthropic", "gemini")
KEYS = {
    "OPENAI_API_KEY": "the-company's-openai-key",
    "ANTHROPIC_API_KEY": "the-company's-anthropic-key",
    "GEMINI_API_KEY": "the-company's-gemini-key",
    "QUOTA_TOKEN": "the-gateway's-token",
}
"""What Envoy gets as its environment."""
PATIENCE = "10s"
READY_S = 10
ANY_PORT = "127.0.0.1:0"

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_READY = "starting workers"


class Configuration:
    """Envoy's configuration, and the parts that tests change. `values`: all of it, as in the file."""

    def __init__(self, values: Any) -> None:
        self.values = values
        [self.listener] = values["static_resources"]["listeners"]
        [self.chain] = self.listener["filter_chains"]
        self.http = self.chain["filters"][0]["typed_config"]
        [host] = self.http["route_config"]["virtual_hosts"]
        self.routes: list[Any] = host["routes"]

    @classmethod
    def of_file(cls) -> Configuration:
        return cls(json.loads(file_as_json()))

    def filter(self, name: str) -> Any:
        """The configuration of an HTTP filter; of one that runs when it is needed only, the inner one."""
        [found] = [each["typed_config"] for each in self.http["http_filters"] if each["name"] == name]
        return found.get("extension_config", {}).get("typed_config", found)

    def cluster(self, name: str) -> Any:
        [found] = [each for each in self.values["static_resources"]["clusters"] if each["name"] == name]
        return found

    def route(self, name: str) -> Any:
        [found] = [each for each in self.routes if each["name"] == name]
        return found

    def context(self, route: str) -> dict[str, str]:
        """The `context_extensions` of a route that is metered."""
        overrides = self.route(route)["typed_per_filter_config"]["envoy.filters.http.ext_authz"]
        context: dict[str, str] = overrides["check_settings"]["context_extensions"]
        return context

    def send(self, cluster: str, address: str) -> None:
        """Has a cluster at `host:port`."""
        host, _, port = address.rpartition(":")
        there = {"endpoint": {"address": _socket(host, int(port))}}
        self.cluster(cluster)["load_assignment"]["endpoints"] = [{"lb_endpoints": [there]}]


@cache
def file_as_json() -> str:
    """Read once: it takes long enough to hold up a service in the same process. What the file repeats by an
    alias becomes parts of their own, so that one can be changed.
    """
    return json.dumps(YAML(typ="safe").load(FILE.read_text()))


Change = Callable[[Configuration], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running Envoy. `address` and `admin` are `host:port`; `process.output` is its log."""

    address: str
    admin: str
    process: PrintingProcess
    provider: ModelProvider

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def upstream(self) -> list[Request]:
        """What has reached the stand-in."""
        return list(self.provider.requests)

    async def statistic(self, name: str) -> int:
        """One of Envoy's counters or gauges; 0 if it has none of that name."""
        url = f"http://{self.admin}/stats?format=json&filter=^{name}$"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
        return sum(each.get("value", 0) for each in json.loads(text)["stats"])


@asynccontextmanager
async def gateway(
    folder: Path, service: str, provider: ModelProvider, changes: Sequence[Change] = ()
) -> AsyncIterator[Gateway]:
    """Starts Envoy with the service at that address, gone afterwards. `folder`: for its configuration."""
    configuration = local_configuration(ANY_PORT, ANY_PORT, service, provider.port)
    for change in changes:
        change(configuration)
    own = Path(mkdtemp(prefix="envoy-", dir=folder))
    file, admin_file = own / "envoy.json", own / "admin"
    file.write_text(json.dumps(configuration.values))
    command: list[str | Path] = [ENVOY, "--config-path", file, "--admin-address-path", admin_file]
    process = PrintingProcess([*command, "--disable-hot-restart", "--concurrency", "1"], folder, KEYS)
    try:
        await asyncio.to_thread(process.wait_for, _READY)
        admin = admin_file.read_text()
        address = await asyncio.to_thread(_address_of_listener, admin)
        await _is_listening(address)
        yield Gateway(address=address, admin=admin, process=process, provider=provider)
    finally:
        await asyncio.to_thread(process.kill)


def _address_of_listener(admin: str) -> str:
    """The port is Envoy's own choice: one that a test chose could be another process's by now."""
    with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=10) as answer:
        [listener] = json.load(answer)["listener_statuses"]
    found = listener["local_address"]["socket_address"]
    return f"{found['address']}:{found['port_value']}"


async def _is_listening(address: str) -> None:
    """Waits for the worker, which begins a little later than the log says."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(READY_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                return writer.close()
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)


def local_configuration(address: str, admin: str, service: str, provider_port: int) -> Configuration:
    """The file's, on this machine: Envoy and its administration, the service and the stand-in."""
    configuration = Configuration.of_file()
    host, _, port = address.rpartition(":")
    configuration.listener["address"] = _socket(host, int(port))
    host, _, port = admin.rpartition(":")
    configuration.values["admin"] = {"address": _socket(host, int(port))}
    configuration.send("quota", service)
    for name in PROVIDERS:
        configuration.send(name, f"127.0.0.1:{provider_port}")
        del configuration.cluster(name)["transport_socket"]
    waiting(PATIENCE)(configuration)
    return configuration


def waiting(time: str) -> Change:
    """So long for the service, in each filter that waits for it."""

    def change(configuration: Configuration) -> None:
        configuration.filter("envoy.filters.http.ext_authz")["grpc_service"]["timeout"] = time
        configuration.filter("quota.request")["message_timeout"] = time

    return change


def failing_open(configuration: Configuration) -> None:
    """Calls go through while the service is away."""
    configuration.filter("envoy.filters.http.ext_authz")["failure_mode_allow"] = True


def without_request_phase(configuration: Configuration) -> None:
    """No filter that changes a call, and the routes say so."""
    filters = configuration.http["http_filters"]
    filters[:] = [each for each in filters if each["name"] != "quota.request"]
    for name in PROVIDERS:
        del configuration.context(name)["rewrite"]


def without_filters(configuration: Configuration) -> None:
    """A plain proxy: what the filters are compared with."""
    filters = configuration.http["http_filters"]
    filters[:] = [each for each in filters if each["name"] == "envoy.filters.http.router"]
    for route in configuration.routes:
        route.pop("typed_per_filter_config", None)


def opted_out(name: str) -> Change:
    """The service is not asked about calls of that route."""

    def change(configuration: Configuration) -> None:
        off = {"@type": f"{_EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}
        configuration.route(name)["typed_per_filter_config"] = {"envoy.filters.http.ext_authz": off}

    return change


def with_tokens(issuer: str, keys: str) -> Change:
    """Callers may have a JSON Web Token in `authorization`, checked with the JWKS document `keys`.

    The service gets its claims, under `claims`, and not the token. What about callers without is up to it.
    """
    provider = {
        "issuer": issuer,
        "local_jwks": {"inline_string": keys},
        "payload_in_metadata": "claims",
    }
    requirement = {
        "requires_any": {"requirements": [{"provider_name": "people"}, {"allow_missing_or_failed": {}}]}
    }
    filter_ = {
        "@type": f"{_EXTENSIONS}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"people": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requirement}],
    }

    def change(configuration: Configuration) -> None:
        named = {"name": "envoy.filters.http.jwt_authn", "typed_config": filter_}
        configuration.http["http_filters"].insert(0, named)

    return change


def with_client_certificates(certificate: Path, key: Path, authority: Path) -> Change:
    """TLS for callers, who need a certificate of that authority. The files are PEM."""
    context = {
        "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [
                {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
            ],
            "validation_context": {"trusted_ca": {"filename": str(authority)}},
        },
    }

    def change(configuration: Configuration) -> None:
        socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
        configuration.chain["transport_socket"] = socket

    return change


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
