"""The audit trail: who has changed what, and why, each event chained to the one before it by its hash.

Whoever changes an event without everything after it breaks the chain there; whoever takes the newest ones
away is found out by a `Head` that somebody has kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

NO_HASH = b""
"""What the first of a chain follows."""

MISSING_NAMED_MAX = 100
"""How many missing links in a row are named one by one."""


class Authorship(NamedTuple):
    """Who makes a change, by which method of the contract, in which call, and why.

    `actor`: the caller; "" where the service asks nobody. `reason`: as far as somebody said so.
    """

    actor: str = ""
    method: str = ""
    request_id: str = ""
    reason: str = ""


NOBODY = Authorship()


class Changed(NamedTuple):
    """What a change does to one thing. `resource`: `{collection}/{id}`, "" for the organization itself.

    `before` and `after`: JSON; `None` where it did not exist, or where there is nothing to show.
    """

    resource: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change, as the trail keeps it. `sequence` counts an organization's events from 1, without gaps;
    `create_us` is microseconds since 1970. `previous` is the `hash` of the event before.
    """

    organization: str
    sequence: int
    create_us: int
    by: Authorship
    changed: Changed
    previous: bytes
    hash: bytes

    def digest(self) -> bytes:
        """What `hash` must be: SHA-256 of everything else, as a JSON array."""
        told = (
            self.organization,
            self.sequence,
            self.create_us,
            *self.by,
            *self.changed,
            self.previous.hex(),
        )
        return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).digest()


class Head(NamedTuple):
    """The newest link of a chain: its number (0: there is none) and its hash."""

    sequence: int = 0
    hash: bytes = NO_HASH


def chained(
    organization: str, head: Head, create_us: int, by: Authorship, changes: Iterable[Changed]
) -> Iterator[AuditEvent]:
    """The events of one change, to follow `head`."""
    for changed in changes:
        event = AuditEvent(
            organization=organization,
            sequence=head.sequence + 1,
            create_us=create_us,
            by=by,
            changed=changed,
            previous=head.hash,
            hash=NO_HASH,
        )
        event = replace(event, hash=event.digest())
        head = Head(event.sequence, event.hash)
        yield event


class Tampering(StrEnum):
    """What the verifier found about one record."""

    CHANGED = "CHANGED"
    MISSING = "MISSING"
    ADDED = "ADDED"
    UNCHAINED = "UNCHAINED"
    """It does not follow the one before it: one of both is not what it was."""
    UNSEALED = "UNSEALED"
    """It should have been sealed long ago."""
    HEAD_CHANGED = "HEAD_CHANGED"
    """It is not what somebody has kept as the head."""


class Finding(NamedTuple):
    """Something that is not as it was written. `number`: of the event or the ledger entry; of the seal over
    ledger entries, where it is one that was tampered with (`in_seals`).
    """

    tampering: Tampering
    number: int
    in_seals: bool = False


class Link(NamedTuple):
    """A link of a chain, whatever it is of: its number, what it says it follows, its hash, and what its hash
    ought to be.
    """

    sequence: int
    previous: bytes
    hash: bytes
    digest: bytes


def broken_links(head: Head, links: Iterable[Link]) -> Iterator[Finding]:
    """What is wrong with links that should follow `head`, one by one."""
    for link in links:
        gap = range(head.sequence + 1, link.sequence)[:MISSING_NAMED_MAX]
        yield from (Finding(Tampering.MISSING, missing) for missing in gap)
        if link.digest != link.hash:
            yield Finding(Tampering.CHANGED, link.sequence)
        elif link.sequence == head.sequence + 1 and link.previous != head.hash:
            yield Finding(Tampering.UNCHAINED, link.sequence)
        head = Head(link.sequence, link.hash)


def differences(sealed: dict[int, bytes], found: dict[int, bytes]) -> Iterator[Finding]:
    """What has become of ledger entries since they were sealed: digests by the entries' numbers."""
    for number in sorted(sealed.keys() | found.keys()):
        if number not in found:
            yield Finding(Tampering.MISSING, number)
        elif number not in sealed:
            yield Finding(Tampering.ADDED, number)
        elif sealed[number] != found[number]:
            yield Finding(Tampering.CHANGED, number)
