"""What tests of the PostgreSQL stores share: holds, and the entries that their lives leave in the ledger."""

from __future__ import annotations

from dataclasses import replace

import asyncpg

from quota_service.domain import reservation
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import (
    Entry,
    EntryType,
    key_of_end,
    key_of_extend,
    key_of_hold,
    key_of_late,
    key_of_part,
)
from quota_service.domain.pricing import Rate, Usage, charge, cost_pico
from quota_service.domain.reservation import Hold, State, WindowRef
from quota_service.domain.subject import Subject

START_MS = 1_700_000_000_000
RATES = (Rate(0, 2_500_000, 1_250_000, 2_500_000, 10_000_000),)
WINDOWS = (
    WindowRef("team-monthly", "", START_MS, START_MS + 1_000),
    WindowRef("each-user", "ada", START_MS, None),
)


def a_hold(organization: str = "acme", id_: str = "r1", windows: tuple[WindowRef, ...] = WINDOWS) -> Hold:
    """A live hold of 1,000 input and 500 output tokens."""
    return Hold(
        organization=organization,
        reservation=id_,
        idempotency_key=f"key-{id_}",
        content_hash=f"hash-{id_}",
        subject=Subject(
            organization=organization,
            team="core",
            user="ada",
            api_key="k1",
            project="p",
            tags=(("a", "1"), ("bb", "2")),
        ),
        provider="openai",
        model="gpt-4o",
        requested_model="gpt-4o",
        rates=RATES,
        input_tokens=1_000,
        windows=windows,
        granted_output_tokens=500,
        held=reservation.demand(RATES, 1_000, 500, None),
        create_ms=START_MS,
        expire_ms=START_MS + 120_000,
    )


class Life:
    """A reservation that moves by the domain's rules and leaves the entries that the ledger gets."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.entries: list[Entry] = []
        self._add(self._entry(key_of_hold(hold.reservation), EntryType.HOLD, content_hash=hold.content_hash))

    def extend(self, tokens: int, ttl_ms: int = 0) -> Life:
        self.hold = reservation.extend(
            self.hold, ttl_ms=ttl_ms, additional_output_tokens=tokens, now_ms=self._now_ms
        ).hold
        key = key_of_extend(self.hold.reservation, f"x{len(self.entries)}")
        return self._add(self._entry(key, EntryType.EXTEND))

    def commit(self, output_tokens: int, *, keep_open: bool = False) -> Life:
        usage = Usage(input_tokens=1_000, output_tokens=output_tokens)
        move = reservation.commit(
            self.hold,
            total=charge(RATES, usage),
            total_pico=cost_pico(RATES, usage),
            content_hash=f"c{output_tokens}",
            keep_open=keep_open,
            now_ms=self._now_ms,
        )
        if move.replayed:
            return self
        self.hold = move.hold
        key = self._commit_key(keep_open, move.late)
        return self._add(
            replace(
                self._entry(key, EntryType.COMMIT, content_hash=f"c{output_tokens}"),
                charged=move.spent,
                overrun=move.overrun,
                late=move.late,
                final=not keep_open,
                usage=usage,
                cost_pico=move.charged_pico,
            )
        )

    def end(self, state: State) -> Life:
        move = reservation.end(self.hold, state, self._now_ms)
        if move.replayed:
            return self
        self.hold = move.hold
        type_ = EntryType.EXPIRE if state is State.EXPIRED else EntryType.RELEASE
        key = key_of_end(self.hold.reservation)
        return self._add(self._entry(key, type_, content_hash=self.hold.content_hash, reason="why"))

    @property
    def _now_ms(self) -> int:
        return START_MS + len(self.entries)

    def _commit_key(self, keep_open: bool, late: bool) -> str:
        id_ = self.hold.reservation
        if late:
            return key_of_late(id_, self.hold.late_parts if keep_open else 0)
        return key_of_part(id_, self.hold.parts) if keep_open else key_of_end(id_)

    def _entry(self, key: str, type_: EntryType, content_hash: str = "h", reason: str = "") -> Entry:
        return Entry(
            key=key,
            content_hash=content_hash,
            type=type_,
            at_ms=START_MS + 5,
            occur_ms=START_MS + 3,
            hold=self.hold,
            provider=self.hold.provider,
            model=self.hold.model,
            reason=reason,
            actor="users/ada",
        )

    def _add(self, entry: Entry) -> Life:
        self.entries.append(entry)
        return self


async def open_reservations(pool: asyncpg.Pool, organization: str) -> set[str]:
    """The reservations that the ledger has not seen end."""
    rows = await pool.fetch("SELECT reservation FROM open_holds WHERE organization = $1", organization)
    return {row["reservation"] for row in rows}


async def spent(pool: asyncpg.Pool, organization: str) -> dict[tuple[str, str], Amounts]:
    """What the balances say, by budget and value."""
    rows = await pool.fetch("SELECT * FROM window_balances WHERE organization = $1", organization)
    return {
        (row["budget"], row["each_value"]): Amounts(
            row["spent_cost_micros"], row["spent_tokens"], row["spent_requests"]
        )
        for row in rows
    }
