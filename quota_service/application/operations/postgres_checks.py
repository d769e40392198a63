"""Checks of the ledger's server: pure functions of what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from quota_service.application.operations.findings import Finding, failure, fine, warning
from quota_service.application.operations.health_ports import PostgresFacts

SEALED_MS_MAX = 600_000
"""Replicas seal every half minute."""

OLDEST = 14
"""The oldest major version that the queries run on."""


def check(facts: PostgresFacts, *, development: bool) -> Iterator[Finding]:
    """Every check. In development mode nobody minds when data is lost."""
    yield version(facts)
    yield role(facts)
    yield durability(facts, development=development)
    yield connections(facts)
    yield schema(facts)
    yield partitions(facts)
    yield append_only(facts)
    yield seals(facts)


def version(facts: PostgresFacts) -> Finding:
    """The queries need what came with this version."""
    found = f"It is PostgreSQL {facts.version // 10_000}.{facts.version % 10_000}."
    if facts.version < OLDEST * 10_000:
        return failure("postgres.version", found, f"Use PostgreSQL {OLDEST} or newer.")
    return fine("postgres.version", found)


def role(facts: PostgresFacts) -> Finding:
    """A standby takes no entries."""
    if facts.is_standby:
        advice = "Give the primary's URL (several hosts and `target_session_attrs=primary` find it)."
        return failure("postgres.role", "It is a standby, which takes no entries.", advice)
    return fine("postgres.role", "It is the primary.")


def durability(facts: PostgresFacts, *, development: bool) -> Finding:
    """What a Commit is told to be in the ledger must survive a crash of the machine."""
    off = [
        name
        for name, is_off in (
            ("fsync", not facts.fsync),
            ("full_page_writes", not facts.full_page_writes),
            ("synchronous_commit", facts.synchronous_commit == "off"),
        )
        if is_off
    ]
    if not off:
        return fine(
            "postgres.durability",
            f"What is committed is kept (synchronous_commit {facts.synchronous_commit}).",
        )
    found = f"{', '.join(off)} {'is' if len(off) == 1 else 'are'} off: a crash can lose what was committed."
    tell = warning if development else failure
    return tell("postgres.durability", found, "Switch on what is off.")


def connections(facts: PostgresFacts) -> Finding:
    """Every replica opens as many as its pool holds."""
    used, most, pool = facts.connections_used, facts.connections_max, facts.pool_connections
    found = f"{used} of {most} connections are in use; each replica opens up to {pool}."
    if most - used < pool:
        return warning("postgres.connections", found, "Raise max_connections, or run fewer replicas.")
    return fine("postgres.connections", found)


def schema(facts: PostgresFacts) -> Finding:
    """The code and the tables must fit together."""
    if facts.schema == facts.schema_expected:
        return fine("postgres.schema", f"The schema is at {facts.schema}, as this version needs it.")
    found = f"The schema is at {facts.schema or 'nothing'}, this version needs {facts.schema_expected}."
    if facts.schema > facts.schema_expected:
        return warning("postgres.schema", found, "Update this replica: another one is newer.")
    return failure("postgres.schema", found, "Run `quota migrate`.")


def partitions(facts: PostgresFacts) -> Finding:
    """An entry without a partition is refused."""
    missing = facts.partitions_missing
    if not missing:
        return fine("postgres.partitions", "The ledger has partitions for this month and the next.")
    return failure(
        "postgres.partitions",
        f"The ledger lacks {', '.join(missing)}.",
        "Run `quota migrate`, and see in the log why the daily work failed.",
    )


def append_only(facts: PostgresFacts) -> Finding:
    """What has been written shall stay as it is, whatever the service does."""
    if facts.may_rewrite:
        return warning(
            "postgres.append_only",
            "The service's role may rewrite the ledger and the audit trail.",
            "Grant the role quota_application to the service's login (make it, and `quota migrate` again).",
        )
    return fine("postgres.append_only", "The service can add to the ledger and the audit trail, no more.")


def seals(facts: PostgresFacts) -> Finding:
    """Nobody finds out what is done to entries that are not sealed."""
    if facts.sealed_ms > SEALED_MS_MAX:
        return warning(
            "postgres.seals",
            f"The ledger has not been sealed for {facts.sealed_ms // 60_000:,} minutes.",
            "Look for a transaction that lasts as long (pg_stat_activity), and into the replicas' logs.",
        )
    return fine("postgres.seals", "The ledger is sealed up to now.")
