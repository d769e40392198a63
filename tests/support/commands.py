"""Builds what the hold store is asked: holds, terms and commands with defaults that fit together."""

from __future__ import annotations

from dataclasses import replace

from quota_service.domain import commands
from quota_service.domain.amounts import UNLIMITED, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.pricing import Rate, Usage
from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import Hold, WindowRef, demand
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Alternative, Basis, Counters, Term, Terms

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


def alternative(
    hold: Hold, *terms: Term, rates: tuple[RateTerm, ...] = (), least: int | None = None
) -> Alternative:
    """A way to grant what a hold asks for, counted in the terms' windows; all or nothing unless `least` says
    otherwise.
    """
    return Alternative(
        hold=replace(
            hold,
            windows=tuple(term.window for term in terms),
            keepings=tuple(term.keeping for term in terms),
        ),
        terms=Terms(budgets=terms, rates=rates),
        least=hold.granted_output_tokens if least is None else least,
    )


def authorize(
    hold: Hold,
    *terms: Term,
    others: tuple[Alternative, ...] = (),
    rates: tuple[RateTerm, ...] = (),
    least: int | None = None,
    ttl_ms: int = 60_000,
    version: int = 1,
    refused: bool = False,
    dry_run: bool = False,
) -> commands.Authorize:
    return commands.Authorize(
        basis=Basis(organization=hold.organization, version=version),
        alternatives=(alternative(hold, *terms, rates=rates, least=least), *others),
        ttl_ms=ttl_ms,
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
    hold: Hold,
    *terms: Term,
    rates: tuple[RateTerm, ...] = (),
    ttl_ms: int = 0,
    tokens: int = 0,
    request_id: str = "",
    version: int = 1,
) -> commands.Extend:
    return commands.Extend(
        basis=Basis(organization=hold.organization, version=version),
        reservation=hold.reservation,
        request_id=request_id,
        content_hash=f"{ttl_ms} {tokens}",
        ttl_ms=ttl_ms,
        additional_output_tokens=tokens,
        terms=Terms(budgets=terms, rates=rates),
    )


def record(
    hold: Hold, key: str, *, content_hash: str = "record", version: int = 1, max_values: int = 0
) -> commands.Record:
    """A Record of what the hold would have cost, in the hold's windows."""
    return commands.Record(
        basis=Basis(organization=hold.organization, version=version),
        key=key,
        content_hash=content_hash,
        hold=hold,
        terms=tuple(term(place, max_values=max_values) for place in hold.windows),
        usage=Usage(input_tokens=hold.input_tokens, output_tokens=hold.granted_output_tokens),
        charged=hold.held,
        cost_pico=hold.held.cost_micros * 1_000_000,
        occur_ms=1,
    )


def inspect(organization: str, *windows: WindowRef, version: int = 1) -> commands.Inspect:
    basis = Basis(organization=organization, version=version)
    return commands.Inspect(basis=basis, terms=tuple(term(place) for place in windows))


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
