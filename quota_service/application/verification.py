"""Whether the audit trail and the ledger are as they were written, a stretch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from quota_service.application.audit_ports import Verifiable
from quota_service.domain.audit import Finding, Head, Tampering


class Chain(StrEnum):
    """What is verified: the events of the trail first, then the ledger by its seals."""

    EVENTS = "e"
    SEALS = "s"


class Position(NamedTuple):
    """Behind a link of a chain."""

    chain: Chain = Chain.EVENTS
    after: int = 0


class Heads(NamedTuple):
    """Where the chains end. 0: there is none, or nothing is known of it."""

    events: Head = Head()
    seals: Head = Head()


class Found(NamedTuple):
    """A finding, and in which chain."""

    chain: Chain
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A stretch. `next`: where the following one begins; `None` at the end, which `heads` is told at."""

    findings: Sequence[Found]
    events: int
    entries: int
    unsealed: int
    heads: Heads | None
    next: Position | None


class Verification:
    """The use case. Everything raises StoreUnavailable."""

    def __init__(self, trail: Verifiable, seals: Verifiable) -> None:
        self._chains = {Chain.EVENTS: trail, Chain.SEALS: seals}

    async def verify(self, organization: str, position: Position, count: int, known: Heads) -> Verified:
        """Of about `count` records from a position on. `known`: what must be part of the chains still, which
        the first stretch looks for.
        """
        findings: list[Found] = []
        records = {Chain.EVENTS: 0, Chain.SEALS: 0}
        if position == Position():
            findings += await self._lost_heads(organization, known)
        here: Position | None = position
        unsealed = 0
        while here is not None and (left := count - sum(records.values())) > 0:
            looked = await self._chains[here.chain].verify(organization, here.after, left)
            unsealed = looked.unsealed
            findings += [Found(here.chain, finding) for finding in looked.findings]
            records[here.chain] += looked.records
            if looked.more:
                here = Position(here.chain, looked.at.sequence)
            else:
                here = Position(Chain.SEALS) if here.chain is Chain.EVENTS else None
        return Verified(
            findings=findings,
            events=records[Chain.EVENTS],
            entries=records[Chain.SEALS],
            unsealed=unsealed,
            heads=None if here is not None else await self._heads(organization),
            next=here,
        )

    async def _lost_heads(self, organization: str, known: Heads) -> list[Found]:
        return [
            Found(chain, Finding(Tampering.HEAD_CHANGED, head.sequence))
            for chain, head in zip(self._chains, known, strict=True)
            if head.sequence and await self._chains[chain].hash_of(organization, head.sequence) != head.hash
        ]

    async def _heads(self, organization: str) -> Heads:
        return Heads(*[await chain.head(organization) for chain in self._chains.values()])
