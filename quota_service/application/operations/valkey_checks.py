"""Checks of the store that decides: pure functions of what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from quota_service.application.operations.findings import Finding, Level, failure, fine, warning
from quota_service.application.operations.health_ports import ValkeyFacts

OLDEST = {"valkey": 8, "redis": 7}
"""The oldest major versions that the scripts run on."""

MEMORY_WARNING_PERCENT = 80
MEMORY_FAILURE_PERCENT = 95

_MIB = 1024 * 1024


def check(facts: ValkeyFacts, *, development: bool) -> Iterator[Finding]:
    """Every check. In development mode nobody minds when data is lost."""
    yield version(facts)
    yield role(facts)
    yield eviction_policy(facts)
    yield persistence(facts, development=development)
    yield last_write(facts)
    yield replicas(facts)
    yield memory(facts)


def version(facts: ValkeyFacts) -> Finding:
    """The scripts need what came with these versions."""
    check_, name = "valkey.version", f"{facts.kind.capitalize()} {facts.version}"
    oldest = OLDEST.get(facts.kind)
    if oldest is None:
        return warning(
            check_, f"It is {name}.", "Use Valkey 8 or Redis 7.0, or newer: nothing else is tested."
        )
    major = facts.version.partition(".")[0]
    if not major.isdecimal() or int(major) < oldest:
        return failure(check_, f"It is {name}.", "Use Valkey 8 or Redis 7.0, or newer.")
    return fine(check_, f"It is {name}.")


def role(facts: ValkeyFacts) -> Finding:
    """Only a master that has loaded its data decides."""
    check_ = "valkey.role"
    if facts.role != "master":
        advice = "Give the master's URL, or one of Sentinel, which knows who that is."
        return failure(check_, f"It is a {facts.role}.", advice)
    if facts.is_loading:
        return failure(check_, "It is still loading its data.", "Wait: calls are answered once it has.")
    return fine(check_, "It is the master.")


def eviction_policy(facts: ValkeyFacts) -> Finding:
    """A counter that is evicted is money forgotten."""
    check_, policy = "valkey.eviction_policy", facts.eviction_policy
    if policy == "noeviction":
        return fine(check_, "Nothing is evicted.")
    return failure(
        check_,
        f"maxmemory-policy is {policy}.",
        "Set `maxmemory-policy noeviction`: evicted counters are lost.",
    )


def persistence(facts: ValkeyFacts, *, development: bool) -> Finding:
    """What Valkey loses comes back from the ledger, but decisions wait for that."""
    check_, advice = "valkey.persistence", "Set `appendonly yes` and `appendfsync everysec`."
    if facts.has_append_only_file:
        if facts.appendfsync is None:
            return warning(
                check_,
                "It keeps an append-only file; how often that is flushed cannot be read.",
                "Make sure that appendfsync is everysec or always, or let the service read it (CONFIG GET).",
            )
        found = f"It keeps an append-only file (appendfsync {facts.appendfsync})."
        if facts.appendfsync == "no":
            return warning(check_, found, "Set `appendfsync everysec`.")
        return fine(check_, found)
    if facts.saves is None:
        return warning(
            check_, "It keeps no append-only file; whether it writes snapshots cannot be read.", advice
        )
    if facts.saves:
        return warning(check_, "It writes snapshots only: a crash takes it back by minutes.", advice)
    return (warning if development else failure)(check_, "It keeps nothing: a restart empties it.", advice)


def last_write(facts: ValkeyFacts) -> Finding:
    """Valkey refuses writes when it cannot keep them."""
    if facts.failed_writes:
        failed = " and ".join(facts.failed_writes)
        return failure(
            "valkey.last_write", f"It could not write its {failed}.", "See its log; its disk may be full."
        )
    return fine("valkey.last_write", "The last write to its disk succeeded.")


def replicas(facts: ValkeyFacts) -> Finding:
    """A master that was cut off from its replicas should not go on deciding."""
    check_, count = "valkey.replicas", facts.replicas
    if not count:
        return fine(check_, "It has no replicas.")
    found = f"It has {count} replica{'' if count == 1 else 's'}"
    if facts.replicas_min is None:
        return warning(
            check_,
            f"{found}; min-replicas-to-write cannot be read.",
            "Make sure that it is at least 1, or let the service read it (CONFIG GET).",
        )
    if facts.replicas_min < 1:
        return warning(
            check_,
            f"{found} and goes on alone when it is cut off from them.",
            "Set `min-replicas-to-write 1`, so that two masters never decide side by side.",
        )
    return fine(check_, f"{found} and needs {facts.replicas_min} of them to go on.")


def memory(facts: ValkeyFacts) -> Finding:
    """Without room it refuses what begins something; what settles is allowed beyond the limit."""
    check_, used = "valkey.memory", f"{facts.bytes_used // _MIB:,} MiB"
    if not facts.bytes_max:
        return fine(check_, f"It uses {used} and has no limit.")
    percent = facts.bytes_used * 100 // facts.bytes_max
    level = _level(percent, MEMORY_WARNING_PERCENT, MEMORY_FAILURE_PERCENT)
    found = f"It uses {used}, {percent} % of its limit."
    if level is Level.OK:
        return fine(check_, found)
    return Finding(check=check_, level=level, found=found, advice="Give it more memory (maxmemory).")


def _level(value: int, warning_from: int, failure_from: int) -> Level:
    if value >= failure_from:
        return Level.FAILURE
    return Level.WARNING if value >= warning_from else Level.OK
