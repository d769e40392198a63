"""Which cores the servers of a benchmark may use: a process has those that its starter had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stores_apart() -> Iterator[None]:
    """What is started in the block has the last core of this process to itself; this process, and what it
    starts afterwards, has the others. Nothing of that where there is one core, or on macOS.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores[:-1])
