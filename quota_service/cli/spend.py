"""`quota authorize`, `quota commit` and `quota release`: the hot path by hand."""

from __future__ import annotations

import uuid
from typing import Any

import click

from quota.v1 import quota_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.session import Session, run
from quota_service.cli.subjects import split_model, subject_options
from quota_service.cli.units import parse_duration_s, parse_usd
from quota_service.cli.zones import fetch_zones

TOKENS = click.IntRange(min=0)


def _usd_or_none(written: str | None) -> int | None:
    if written is None:
        return None
    try:
        return parse_usd(written)
    except ValueError as error:
        raise CommandError(f"--cost-usd: {error}") from None


def _seconds(written: str) -> int:
    try:
        return parse_duration_s(written)
    except ValueError as error:
        raise CommandError(f"--ttl: {error}") from None


@click.command()
@subject_options
@click.option("--provider", default="", metavar="NAME", help="The model's provider.")
@click.option("--model", required=True, metavar="NAME", help="The model, or PROVIDER/MODEL.")
@click.option("--input-tokens", type=TOKENS, required=True, metavar="N", help="Input tokens.")
@click.option("--max-output-tokens", type=TOKENS, metavar="N", help="Default: the model's.")
@click.option("--min-output-tokens", type=TOKENS, default=0, metavar="N", help="Accept a smaller grant.")
@click.option("--cost-usd", metavar="USD", help="Your own price, for caller-priced models.")
@click.option("--ttl", metavar="DURATION", help="How long the hold lives, such as 90s or 5m. Default: 120s.")
@click.option("--idempotency-key", metavar="KEY", help="Default: a fresh one.")
@click.option("--validate-only", is_flag=True, help="Decide and explain, but hold nothing.")
@options.globally()
@click.pass_context
def authorize(
    context: click.Context,
    *,
    subject: dict[str, Any],
    provider: str,
    model: str,
    input_tokens: int,
    max_output_tokens: int | None,
    min_output_tokens: int,
    cost_usd: str | None,
    ttl: str | None,
    idempotency_key: str | None,
    validate_only: bool,
) -> None:
    """Hold what a call may use against every matching budget. Exits with 1 when it is denied."""
    provider, model = split_model(provider, model)
    request = quota_pb2.AuthorizeRequest(
        idempotency_key=idempotency_key or f"cli-{uuid.uuid4()}",
        subject=types_pb2.Subject(**subject),
        provider=provider,
        model=model,
        estimate=quota_pb2.Estimate(
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            cost_micros=_usd_or_none(cost_usd),
        ),
        min_output_tokens=min_output_tokens,
        validate_only=validate_only,
    )
    if ttl is not None:
        request.ttl.seconds = _seconds(ttl)

    async def work(session: Session) -> tuple[quota_pb2.AuthorizeResponse, tables.Zones]:
        request.subject.organization = await session.organization()
        answer = await session.connection.call(session.connection.quota.Authorize, request)
        return answer, {} if options.current().json else await fetch_zones(session)

    answer, zones = run(work)
    if options.current().json:
        output.print_json(output.as_dict(answer))
    else:
        _print_decision(answer, zones)
    context.exit(ExitCode.OK if answer.decision == types_pb2.DECISION_ALLOW else ExitCode.DENIED)


def _print_decision(answer: quota_pb2.AuthorizeResponse, zones: tables.Zones) -> None:
    allowed = answer.decision == types_pb2.DECISION_ALLOW
    word = output.styled("ALLOW" if allowed else "DENY", fg="green" if allowed else "red", bold=True)
    click.echo(f"{word}  {answer.message}".rstrip())
    if answer.HasField("reservation"):
        _print_reservation(answer.reservation)
    elif allowed:
        click.echo("  nothing is held: this was only a question")
    for violation in answer.violations:
        reason = types_pb2.Reason.Name(violation.reason).removeprefix("REASON_")
        said = violation.message in answer.message
        click.echo(f"  {reason}  {violation.source}{'' if said else f': {violation.message}'}")
    for warning in answer.warnings:
        click.echo(f"  warning: {warning.message}")
    if answer.HasField("retry_after"):
        click.echo(f"  try again in {tables.wait_in_words(answer.retry_after)}")
    if answer.budgets:
        output.print_table(tables.status_table(answer.budgets, zones))


def _print_reservation(reservation: quota_pb2.Reservation) -> None:
    click.echo(f"  reservation  {reservation.name}")
    click.echo(f"  who          {tables.subject_text(reservation.subject)}")
    click.echo(f"  model        {reservation.provider}/{reservation.model}")
    click.echo(f"  held         {tables.amounts_text(reservation.held)}")
    click.echo(f"  output       at most {reservation.granted_output_tokens:,} tokens")


async def full_name(session: Session, name: str) -> str:
    """A reservation's resource name; its last part is enough."""
    return name if "/" in name else f"{await session.parent()}/reservations/{name}"


@click.command()
@click.argument("name")
@click.option("--input-tokens", type=TOKENS, required=True, metavar="N", help="All input tokens.")
@click.option("--output-tokens", type=TOKENS, default=0, metavar="N", help="Output tokens.")
@click.option("--cached-input-tokens", type=TOKENS, default=0, metavar="N", help="Of the input: cache reads.")
@click.option("--cache-write-tokens", type=TOKENS, default=0, metavar="N", help="Of the input: cache writes.")
@click.option("--cost-usd", metavar="USD", help="Your own price, for caller-priced models.")
@click.option("--keep-open", is_flag=True, help="More will follow: charge the total so far.")
@click.option("--estimated", is_flag=True, help="The usage is an estimate.")
@click.option("--provider", default="", metavar="NAME", help="Who really answered, if somebody else.")
@click.option("--model", default="", metavar="NAME", help="What really answered, if something else.")
@options.globally()
def commit(
    *,
    name: str,
    input_tokens: int,
    output_tokens: int,
    cached_input_tokens: int,
    cache_write_tokens: int,
    cost_usd: str | None,
    keep_open: bool,
    estimated: bool,
    provider: str,
    model: str,
) -> None:
    """Charge what a call has used, and return the rest of its hold. NAME is the reservation's."""
    provider, model = split_model(provider, model)
    usage = types_pb2.Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        cache_write_tokens=cache_write_tokens,
        cost_micros=_usd_or_none(cost_usd),
    )

    async def work(session: Session) -> tuple[quota_pb2.CommitResponse, tables.Zones]:
        request = quota_pb2.CommitRequest(
            name=await full_name(session, name),
            usage=usage,
            keep_open=keep_open,
            usage_estimated=estimated,
            provider=provider,
            model=model,
        )
        answer = await session.connection.call(session.connection.quota.Commit, request)
        return answer, {} if options.current().json else await fetch_zones(session)

    answer, zones = run(work)
    if options.current().json:
        output.print_json(output.as_dict(answer))
        return
    _print_commit(answer, zones)


def _print_commit(answer: quota_pb2.CommitResponse, zones: tables.Zones) -> None:
    remarks = [
        remark
        for remark, holds in (
            ("late: the hold had ended", answer.late),
            ("repeated: this was committed before", answer.replayed),
            ("buffered: not in the ledger yet", answer.durability == types_pb2.DURABILITY_BUFFERED),
        )
        if holds
    ]
    click.echo(f"charged   {tables.amounts_text(answer.charged)}")
    click.echo(f"returned  {tables.amounts_text(answer.returned)}")
    if answer.overrun.cost_micros or answer.overrun.tokens:
        click.echo(f"overrun   {tables.amounts_text(answer.overrun)} (above the hold)")
    for remark in remarks:
        click.echo(remark)
    if answer.budgets:
        output.print_table(tables.status_table(answer.budgets, zones))


@click.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the ledger.")
@options.globally()
def release(name: str, reason: str) -> None:
    """Return a whole hold: nothing was used. NAME is the reservation's."""

    async def work(session: Session) -> quota_pb2.ReleaseResponse:
        request = quota_pb2.ReleaseRequest(name=await full_name(session, name), reason=reason)
        return await session.connection.call(session.connection.quota.Release, request)

    answer = run(work)
    if options.current().json:
        output.print_json(output.as_dict(answer))
    elif answer.replayed:
        state = quota_pb2.Reservation.State.Name(answer.reservation.state).removeprefix("STATE_").lower()
        click.echo(f"nothing to return: it was {state} before")
    else:
        click.echo(f"returned  {tables.amounts_text(answer.returned)}")
