"""Checks of what stands between the stores, organization by organization: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from quota_service.application.operations.findings import Finding, failure, fine, warning
from quota_service.application.operations.health_ports import KeysSide, LedgerSide

LATE_WARNING_MS = 30_000
"""What a replica that died left behind is taken up by then."""

LATE_FAILURE_MS = 120_000
BUFFER_WARNING_PERCENT = 50
BUFFER_FAILURE_PERCENT = 70
"""From here on nothing new is authorized."""

TOLD_MAX = 20
"""How many organizations one check tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """Both sides of an organization. `keys` `None`: Valkey does not answer."""

    ledger: LedgerSide
    keys: KeysSide | None
    events_bytes_max: int


Check = Callable[[Organization], Finding | None]
"""What is wrong with an organization; `None` where nothing is, or nothing can be said."""


def check(organizations: Sequence[Organization]) -> Iterator[Finding]:
    """Every check that could be made: what it found of each organization, or that all is well."""
    is_told = all(each.keys is not None for each in organizations)
    for check_, found_nothing, of_one in CHECKS:
        found = [finding for each in organizations if (finding := of_one(each)) is not None]
        if found:
            yield from _bounded(check_, found)
        elif organizations and (is_told or check_ not in OF_VALKEY):
            yield fine(check_, found_nothing)


def epoch(organization: Organization) -> Finding | None:
    """Keys that are not the ledger's epoch are made anew by the next call; that takes moments."""
    ledger, keys = organization.ledger, organization.keys
    if not ledger.epoch.number or (keys is not None and keys.fence.stands_for(ledger.epoch)):
        return None
    if keys is None and not ledger.epoch.broken:
        return None
    why = "differ from the ledger" if ledger.epoch.broken else "are not those of the ledger's epoch"
    return warning(
        "organizations.epoch",
        f"Its keys in Valkey {why}, and are to be made anew.",
        "Look again in a few seconds; if it stays, the log of the service says why.",
        ledger.organization,
    )


def pending(organization: Organization) -> Finding | None:
    """What the ledger has and Valkey has not is brought to it every second."""
    ledger = organization.ledger
    if not ledger.pending or ledger.pending_ms < LATE_WARNING_MS:
        return None
    return warning(
        "organizations.pending",
        f"{ledger.pending:,} of the ledger's entries are not in Valkey, the oldest for "
        f"{ledger.pending_ms // 1000:,} s.",
        "They are brought to it once it answers; if it does, the log of the service says why not.",
        ledger.organization,
    )


def lag(organization: Organization) -> Finding | None:
    """Events are written within milliseconds; a dead replica's within half a minute."""
    keys = organization.keys
    if keys is None or not keys.events or keys.events_ms < LATE_WARNING_MS:
        return None
    tell = failure if keys.events_ms >= LATE_FAILURE_MS else warning
    return tell(
        "organizations.lag",
        f"{keys.events:,} events wait for the ledger, the oldest for {keys.events_ms // 1000:,} s.",
        "See whether PostgreSQL answers and keeps up; the log of the service says why nothing is written.",
        organization.ledger.organization,
    )


def buffer(organization: Organization) -> Finding | None:
    """What waits for the ledger is bounded: full, it keeps others from spending."""
    keys, most = organization.keys, organization.events_bytes_max
    if keys is None or keys.events_bytes * 100 < most * BUFFER_WARNING_PERCENT:
        return None
    is_full = keys.events_bytes * 100 >= most * BUFFER_FAILURE_PERCENT
    return (failure if is_full else warning)(
        "organizations.buffer",
        f"Events that wait for the ledger take {keys.events_bytes * 100 // most} % of what they may.",
        "Bring PostgreSQL back: from 70 % nothing is authorized, at 100 % nothing is committed.",
        organization.ledger.organization,
    )


def dead_letters(organization: Organization) -> Finding | None:
    """Money that the ledger does not know."""
    count = organization.ledger.dead_letters
    if not count:
        return None
    return warning(
        "organizations.dead_letters",
        f"The ledger refused {count:,} event{'' if count == 1 else 's'} for good.",
        "See `quota deadletter list`; once the reason is gone, `quota deadletter replay` writes them.",
        organization.ledger.organization,
    )


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("organizations.epoch", "Valkey's keys are those of the ledger's epochs.", epoch),
    ("organizations.pending", "Nothing of the ledger's has waited long for Valkey.", pending),
    ("organizations.lag", "No event has waited long for the ledger.", lag),
    ("organizations.buffer", "There is room for events that wait for the ledger.", buffer),
    ("organizations.dead_letters", "The ledger has refused nothing for good.", dead_letters),
)

OF_VALKEY = frozenset({"organizations.epoch", "organizations.lag", "organizations.buffer"})
"""Of these nothing good is known while Valkey does not answer."""


def _bounded(check_: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """The worst come first; of the rest only their number is told."""
    worst = sorted(found, key=lambda finding: (-finding.level, finding.organization))
    yield from worst[:TOLD_MAX]
    if more := worst[TOLD_MAX:]:
        others = f"The same is so for {len(more):,} other organization{'' if len(more) == 1 else 's'}."
        yield Finding(check=check_, level=more[0].level, found=others, advice=more[0].advice)
