"""Which metrics there are. Labels have few values, all of them the service's own: none that callers send."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """COUNTER and HISTOGRAM only grow, and outlive the worker that told them; a GAUGE goes with it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """One metric. `name` is Prometheus's, without the suffix that it gives to counters."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of how long calls took, in seconds. What took longer is in one more bucket."""

CALLS = Family(
    "quota_calls", Kind.COUNTER, ("method", "code"), "Calls that have ended, by method and gRPC status."
)
CALL_SECONDS = Family(
    "quota_call_seconds",
    Kind.HISTOGRAM,
    ("method",),
    "How long calls took inside of the server; streams, as long as they lasted.",
)
CALLS_UNDER_WAY = Family(
    "quota_calls_under_way", Kind.GAUGE, ("kind",), "Calls that are being answered, and open streams."
)
CALLS_REFUSED = Family(
    "quota_calls_refused", Kind.COUNTER, ("kind",), "Calls that were refused because of too many others."
)
DECISIONS = Family(
    "quota_decisions",
    Kind.COUNTER,
    ("decision", "reason"),
    "Answers of Authorize and Envoy's Check, but for those that were only asked what if; denials with the"
    " reason that stands in the way longest.",
)
LEDGER_ENTRIES = Family(
    "quota_ledger_entries", Kind.COUNTER, (), "Entries that were taken to the ledger from the own queue."
)
LEDGER_WAITING = Family(
    "quota_ledger_waiting", Kind.GAUGE, (), "Entries that wait in the own queue for the ledger."
)
DEAD_LETTERS = Family(
    "quota_dead_letters",
    Kind.COUNTER,
    (),
    "Entries that the ledger has refused for good: see quota deadletter.",
)
VALKEY_AVAILABLE = Family(
    "quota_valkey_available", Kind.GAUGE, ("worker",), "1 where Valkey can be expected to answer, else 0."
)
POSTGRES_AVAILABLE = Family(
    "quota_postgres_available",
    Kind.GAUGE,
    ("worker",),
    "1 where PostgreSQL can be expected to answer, else 0.",
)
WORKERS = Family("quota_workers", Kind.GAUGE, (), "Workers that answer calls.")
WORKER_RESTARTS = Family(
    "quota_worker_restarts", Kind.COUNTER, (), "How often a worker had ended by itself and was started again."
)
PROCESS_CPU_SECONDS = Family(
    "quota_process_cpu_seconds", Kind.COUNTER, ("worker",), "Processor time that was used."
)
PROCESS_MEMORY = Family(
    "quota_process_resident_memory_bytes", Kind.GAUGE, ("worker",), "Memory that is in use."
)

FAMILIES = (
    CALLS,
    CALL_SECONDS,
    CALLS_UNDER_WAY,
    CALLS_REFUSED,
    DECISIONS,
    LEDGER_ENTRIES,
    LEDGER_WAITING,
    DEAD_LETTERS,
    VALKEY_AVAILABLE,
    POSTGRES_AVAILABLE,
    WORKERS,
    WORKER_RESTARTS,
    PROCESS_CPU_SECONDS,
    PROCESS_MEMORY,
)
