"""Builds what the hold store is asked: holds, terms and commands with defaults that fit together."""

from __future__ import annotations

from quota_service.domain import commands
from quota_service.domain.amounts import UNLIMITED, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Basis, Counters, Term
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.reservation import Hold, WindowRef, demand
from quota_service.domain.subject import Subject

MICRO_A_TOKEN = (Rate(0, 1_000_000, 1_000_000, 1_000_000, 1_000_000),)
"""Every token costs one micro-USD."""


def window(
    budget: str = "budget", each_value: str = "", start_ms: int = 0, end_ms: int | None = None
) -> WindowRef:
    return WindowRef(budget, each_value, start_ms, end_ms)


def term(
    place: WindowRef | None = None,
    ceilings: Limits = UNLIMITED,
    mode: Mode = Mode.HARD,
    max_values: int = 0,
) -> Term:
    return Term(place or window(), ceilings, 100, mode, max_values)


def draft(
    organization: str,
    reservation: str,
    *,
    key: str = "",
    content_hash: str = "content",
    rates: tuple[Rate, ...] = MICRO_A_TOKEN,
    input_tokens: int = 10,
    output_tokens: int = 0,
    own_cost_micros: int | None = None,
    caller_priced: bool = False,
    windows: tuple[WindowRef, ...] = (),
    subject: Subject | None = None,
) -> Hold:
    """A hold as an Authorize brings it: what it holds is what its tokens cost."""
    return Hold(
        organization=organization,
        reservation=reservation,
        idempotency_key=key or f"key of {reservation}",
        content_hash=content_hash,
        subject=subject or Subject(organization=organization),
        provider="provider",
        model="model",
        requested_model="model",
        rates=rates,
        caller_priced=caller_priced,
        input_tokens=input_tokens,
        own_cost_micros=own_cost_micros,
        windows=windows,
        granted_output_tokens=output_tokens,
        held=demand(rates, input_tokens, output_tokens, own_cost_micros),
    )


def authorize(
    hold: Hold,
    *terms: Term,
    ttl_ms: int = 60_000,
    version: int = 1,
    refused: bool = False,
    dry_run: bool = False,
) -> commands.Authorize:
    return commands.Authorize(
        basis=Basis(organization=hold.organization, version=version),
        hold=hold,
        ttl_ms=ttl_ms,
        terms=terms,
        refused=refused,
        dry_run=dry_run,
    )


def commit(
    hold: Hold,
    input_tokens: int = 10,
    *,
    output_tokens: int = 0,
    content_hash: str = "commit",
    keep_open: bool = False,
) -> commands.Commit:
    return commands.Commit(
        organization=hold.organization,
        reservation=hold.reservation,
        usage=Usage(input_tokens=input_tokens, output_tokens=output_tokens),
        content_hash=content_hash,
        keep_open=keep_open,
    )


def release(hold: Hold, reason: str = "") -> commands.Release:
    return commands.Release(organization=hold.organization, reservation=hold.reservation, reason=reason)


def extend(
    hold: Hold, *terms: Term, ttl_ms: int = 0, tokens: int = 0, request_id: str = "", version: int = 1
) -> commands.Extend:
    return commands.Extend(
        basis=Basis(organization=hold.organization, version=version),
        reservation=hold.reservation,
        request_id=request_id,
        content_hash=f"{ttl_ms} {tokens}",
        ttl_ms=ttl_ms,
        additional_output_tokens=tokens,
        terms=terms,
    )


def record(hold: Hold, key: str, *, content_hash: str = "record", version: int = 1) -> commands.Record:
    """A Record of what the hold would have cost, in the hold's windows."""
    return commands.Record(
        basis=Basis(organization=hold.organization, version=version),
        key=key,
        content_hash=content_hash,
        hold=hold,
        usage=Usage(input_tokens=hold.input_tokens, output_tokens=hold.granted_output_tokens),
        charged=hold.held,
        cost_pico=hold.held.cost_micros * 1_000_000,
        occur_ms=1,
    )


def inspect(organization: str, *windows: WindowRef, version: int = 1) -> commands.Inspect:
    return commands.Inspect(basis=Basis(organization=organization, version=version), windows=windows)


def granted(answer: commands.AuthorizeAnswer | commands.ExtendAnswer) -> commands.Granted:
    assert isinstance(answer, commands.Granted), answer
    return answer


def settled(answer: commands.CommitAnswer | commands.ReleaseAnswer) -> commands.Settled:
    assert isinstance(answer, commands.Settled), answer
    return answer


def recorded(answer: commands.RecordAnswer) -> commands.Recorded:
    assert isinstance(answer, commands.Recorded), answer
    return answer


def inspected(answer: commands.InspectAnswer) -> tuple[Counters, ...]:
    assert isinstance(answer, commands.Inspected), answer
    return answer.counters
