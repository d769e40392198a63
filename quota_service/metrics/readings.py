"""What has been counted and measured at a moment, and how that of several processes adds up."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from quota_service.metrics.families import (
    FAMILIES,
    PROCESS_CPU_SECONDS,
    PROCESS_MEMORY,
    WORKER_RESTARTS,
    WORKERS,
    Kind,
)

Series: TypeAlias = dict[tuple[str, ...], list[float]]
"""Numbers by the values of labels: one number, or of a histogram how many are in each bucket and then the sum
of all.
"""

Readings: TypeAlias = dict[str, Series]
"""Series by the name of their family."""

_LASTING = frozenset(family.name for family in FAMILIES if family.kind is not Kind.GAUGE)
_STATM = Path("/proc/self/statm")


def add(total: Readings, more: Mapping[str, Series]) -> None:
    """Adds up series by series."""
    for name, series in more.items():
        sums = total.setdefault(name, {})
        for labels, numbers in series.items():
            before = sums.get(labels)
            sums[labels] = [a + b for a, b in zip(before, numbers, strict=True)] if before else list(numbers)


def lasting(readings: Mapping[str, Series]) -> Readings:
    """What stays true when the process that it is of has ended."""
    return {name: series for name, series in readings.items() if name in _LASTING}


def of_workers(answering: int, restarts: int) -> Readings:
    """How many workers there are, and how often one was started again."""
    return {WORKERS.name: {(): [float(answering)]}, WORKER_RESTARTS.name: {(): [float(restarts)]}}


def of_process(worker: str) -> Readings:
    """What this process itself takes."""
    taken: Readings = {PROCESS_CPU_SECONDS.name: {(worker,): [time.process_time()]}}
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[1])
        taken[PROCESS_MEMORY.name] = {(worker,): [float(pages * os.sysconf("SC_PAGE_SIZE"))]}
    return taken
