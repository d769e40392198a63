"""The settings of a process: read once, then fixed."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

PATIENCE_MS = 40
DEV_PATIENCE_MS = 1_000


PEPPER_LENGTH_MIN = 32

WORKERS_MAX = 128

POSTGRES_CONNECTIONS = 10
POSTGRES_CONNECTIONS_MIN = 4
"""For the ledger, for upkeep, and for calls that look at something."""

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class SettingsError(Exception):
    """A setting is wrong or missing. The text says which, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each setting comes from the command line, or from the variable `QUOTA_` and its name in capitals.

    `dev`: development mode, which embeds the stores where no URLs are set, migrates by itself, answers
    reflection and asks nobody who they are. `valkey_url`: `redis://…`, `rediss://…`, `unix://…` or, for a
    master that Sentinel knows, `redis+sentinel://host:26379,host:26379/name`.
    `postgres_url`: `postgresql://…`. `data_dir`: where embedded stores keep their data. `key_prefix`: put
    before every key in Valkey. `drain_ms`: how long a stopping server serves on after it has told health
    checks that it is leaving; `grace_ms`: how long it then lets calls finish.
    `workers`: how many processes answer on the port; 0: as many as there are cores for them, or one in
    development mode and on a unix socket. `metrics_address`: where Prometheus asks, as `host:port`; empty:
    nowhere.
    `calls_max`: how many calls of a kind may be under way at a time in a worker; `calls_behind_max`: how many
    while it cannot keep up. `left_behind_ms`: the age from which an event that waits for the ledger counts as
    left behind by whoever made it. `patience_ms`: how long Authorize waits for Valkey before the outage
    policy answers; 0: 40, or 1,000 in development mode, where other work may hold a machine up.
    `buffer_bytes_max`: how many bytes of an organization's events may wait in Valkey while PostgreSQL is
    away.
    `log_calls`: whether every call is told in a line of the log.
    `key_pepper`: what secrets of API keys are recognized with, at least 32 characters, the same for all
    replicas; after a comma those before it, whose secrets are still good. Empty: no such secrets.
    `envoy`: the file that says who spends behind Envoy; empty: API keys say it.
    `callers`: the file of those who may call the service; empty: it asks nobody who they are, and listens on
    loopback only. `tls_cert`, `tls_key`: PEM files; empty: plaintext, on loopback or a unix socket only.
    `tls_client_ca`: whoever connects must show a certificate of it.
    """

    dev: bool = False
    address: str = "127.0.0.1:50051"
    valkey_url: str = field(default="", repr=False)
    postgres_url: str = field(default="", repr=False)
    data_dir: Path = Path(".quota")
    key_prefix: str = "quota/"
    log_level: str = "info"
    drain_ms: int = 0
    grace_ms: int = 10_000
    workers: int = 0
    metrics_address: str = ""
    calls_max: int = 1_000
    calls_behind_max: int = 4
    left_behind_ms: int = 10_000
    patience_ms: int = 0
    buffer_bytes_max: int = 256 * 1024 * 1024
    log_calls: bool = False
    key_pepper: str = field(default="", repr=False)
    callers: str = ""
    envoy: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""

    @property
    def key_peppers(self) -> tuple[str, ...]:
        """The current pepper first."""
        return tuple(self.key_pepper.split(",")) if self.key_pepper else ()

    @property
    def worker_count(self) -> int:
        """The number of workers that is meant."""
        if self.workers:
            return self.workers
        return 1 if self.dev or is_unix(self.address) else min(cores(), WORKERS_MAX)

    @property
    def postgres_connections(self) -> int:
        """How many connections to PostgreSQL a worker has at most: together about as many as one alone."""
        return max(POSTGRES_CONNECTIONS_MIN, POSTGRES_CONNECTIONS // self.worker_count)

    @property
    def patience_s(self) -> float:
        """The patience that is meant."""
        return (self.patience_ms or (DEV_PATIENCE_MS if self.dev else PATIENCE_MS)) / 1000

    def __post_init__(self) -> None:
        if bool(self.valkey_url) != bool(self.postgres_url):
            missing = "QUOTA_POSTGRES_URL" if self.valkey_url else "QUOTA_VALKEY_URL"
            raise SettingsError(
                f"{missing} is not set: give the URLs of both stores, or of neither in development mode."
            )
        if not self.dev and not self.valkey_url:
            raise SettingsError(
                "Set QUOTA_VALKEY_URL and QUOTA_POSTGRES_URL, or use development mode (--dev)."
            )
        if any(len(pepper) < PEPPER_LENGTH_MIN for pepper in self.key_peppers):
            raise SettingsError(
                f"QUOTA_KEY_PEPPER must have at least {PEPPER_LENGTH_MIN} characters, and so must each after"
                " a comma: `openssl rand -hex 32` makes one."
            )
        self._require_possible_workers()
        self._require_metrics_address()
        self._require_safe_transport()

    def _require_possible_workers(self) -> None:
        if self.workers > WORKERS_MAX:
            raise SettingsError(f"QUOTA_WORKERS must be at most {WORKERS_MAX}, not {self.workers}.")
        if self.workers > 1 and is_unix(self.address):
            raise SettingsError(
                "QUOTA_WORKERS must be 1 on a unix socket: only one process can listen on it."
            )
        if self.workers > 1 and sys.platform != "linux":
            raise SettingsError(
                "QUOTA_WORKERS must be 1 here: only Linux spreads connections over processes."
            )

    def _require_metrics_address(self) -> None:
        host, _, port = self.metrics_address.rpartition(":")
        if self.metrics_address and not (host and port.isdecimal() and 0 < int(port) < 65_536):
            raise SettingsError(
                "QUOTA_METRICS_ADDRESS must be HOST:PORT, such as 127.0.0.1:9464, not"
                f" {self.metrics_address!r}."
            )

    def _require_safe_transport(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "QUOTA_TLS_KEY" if self.tls_cert else "QUOTA_TLS_CERT"
            raise SettingsError(f"{missing} is not set: TLS needs a certificate and its key.")
        if self.tls_client_ca and not self.tls_cert:
            raise SettingsError("QUOTA_TLS_CLIENT_CA needs QUOTA_TLS_CERT and QUOTA_TLS_KEY.")
        needed = {
            "QUOTA_CALLERS (the file of who may call)": self.callers,
            "QUOTA_TLS_CERT and QUOTA_TLS_KEY": self.tls_cert,
        }
        missing = " and ".join(name for name, value in needed.items() if not value)
        if missing and not is_loopback(self.address):
            raise SettingsError(
                f"To listen on {self.address}, which others can reach, set {missing}. Without, the service"
                " listens on loopback or a unix socket only."
            )

    @classmethod
    def read(cls, environment: Mapping[str, str], **given: object) -> Settings:
        """The environment's settings, with those replaced that are given and not `None`. Raises
        SettingsError.
        """
        values: dict[str, object] = {}
        for each in fields(cls):
            raw = environment.get(f"QUOTA_{each.name.upper()}", "")
            if raw:
                values[each.name] = _parsed(each.name, str(each.type), raw)
        values.update({name: value for name, value in given.items() if value is not None})
        return cls(**values)  # type: ignore[arg-type]


def cores() -> int:
    """How many processes this machine, or the container's share of it, lets work at a time; 1 where they
    could not share a port.
    """
    if sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), cores_of_quota(_CPU_QUOTA))


def cores_of_quota(file: Path) -> int:
    """How many cores a cgroup's file allows, rounded up; many where it does not limit them."""
    try:
        quota_us, period_us = file.read_text().split()
        return max(1, -(-int(quota_us) // int(period_us)))
    except (OSError, ValueError, ZeroDivisionError):  # there is no such file, or it says `max`
        return WORKERS_MAX


def is_unix(address: str) -> bool:
    """Whether it is the address of a unix socket."""
    return address.startswith(("unix:", "unix-abstract:"))


def is_loopback(address: str) -> bool:
    """Whether `host:port` (or `unix:path`) can be reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may come to mean anything


def _parsed(name: str, type_: str, raw: str) -> object:
    variable = f"QUOTA_{name.upper()}"
    if type_ == "bool":
        if raw.lower() not in ("1", "true", "yes", "0", "false", "no"):
            raise SettingsError(f"{variable} must be true or false, not {raw!r}.")
        return raw.lower() in ("1", "true", "yes")
    if type_ == "int":
        if not raw.isdecimal():
            raise SettingsError(f"{variable} must be a whole number, not {raw!r}.")
        return int(raw)
    return Path(raw) if type_ == "Path" else raw
