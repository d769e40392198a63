"""`quota budget adjust` and `quota budget reallocate`: money for a budget beside its configured limits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import money_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError
from quota_service.cli.files.fields import instant_reader
from quota_service.cli.session import Session, run
from quota_service.cli.units import parse_count, parse_usd
from quota_service.cli.zones import fetch_zones

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _signed(
    parse: Callable[[str], int],
) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """Reads an amount with a sign by what reads it without."""

    def read(_: click.Context, parameter: click.Parameter, written: str | None) -> int | None:
        if written is None:
            return None
        try:
            amount = parse(written.removeprefix("-"))
        except ValueError as error:
            raise click.BadParameter(str(error), param=parameter) from None
        return -amount if written.startswith("-") else amount

    return read


def _change_options(function: Decorated) -> Decorated:
    """What is changed, and why."""
    for option in (
        click.option(
            "--request-id",
            metavar="ID",
            help="Of this change: with the same it is made once, however often it is asked for.",
        ),
        click.option("--reason", required=True, metavar="TEXT", help="Why. The ledger keeps it."),
        click.option("--requests", callback=_signed(parse_count), metavar="N", help="Requests."),
        click.option("--tokens", callback=_signed(parse_count), metavar="N", help="Tokens."),
        click.option("--usd", "cost_micros", callback=_signed(parse_usd), metavar="N", help="US dollars."),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("budget_id", metavar="BUDGET")
@_change_options
@click.option("--each-value", default="", metavar="VALUE", help="Of the budget's `each` dimension.")
@click.option("--until", metavar="TIME", help="Every window until this date or time, not only the live one.")
@options.globally()
def adjust(
    *,
    budget_id: str,
    each_value: str,
    until: str | None,
    reason: str,
    request_id: str | None,
    **amounts: int | None,
) -> None:
    """Top up a budget's live window, or cut it: amounts below 0 cut."""
    changed, given = _amounts(amounts), request_id or _new_id()

    async def work(session: Session) -> tuple[money_pb2.AdjustBudgetResponse, tables.Zones]:
        name, zones = await _name(session, budget_id), await fetch_zones(session)
        request = money_pb2.AdjustBudgetRequest(
            name=name,
            each_value=each_value,
            amounts=changed,
            until=_instant(until, zones.get(name, zones[""])),
            reason=reason,
            request_id=given,
        )
        return await session.connection.call(session.connection.budgets.AdjustBudget, request), zones

    answer, zones = run(work)
    _show(answer, answer.statuses, zones)


@click.command()
@click.argument("source_id", metavar="SOURCE")
@click.argument("destination_id", metavar="DESTINATION")
@_change_options
@click.option("--source-each-value", default="", metavar="VALUE", help="Of the source's `each` dimension.")
@click.option("--destination-each-value", default="", metavar="VALUE", help="Likewise of the destination's.")
@options.globally()
def reallocate(
    *,
    source_id: str,
    destination_id: str,
    source_each_value: str,
    destination_each_value: str,
    reason: str,
    request_id: str | None,
    **amounts: int | None,
) -> None:
    """Move what a budget has neither spent nor held to another one whose window is the same."""
    moved, given = _amounts(amounts), request_id or _new_id()

    async def work(session: Session) -> tuple[money_pb2.ReallocateBudgetResponse, tables.Zones]:
        request = money_pb2.ReallocateBudgetRequest(
            source=await _name(session, source_id),
            source_each_value=source_each_value,
            destination=await _name(session, destination_id),
            destination_each_value=destination_each_value,
            amounts=moved,
            reason=reason,
            request_id=given,
        )
        answer = await session.connection.call(session.connection.budgets.ReallocateBudget, request)
        return answer, await fetch_zones(session)

    answer, zones = run(work)
    _show(answer, [*answer.source_statuses, *answer.destination_statuses], zones)


def _amounts(given: dict[str, int | None]) -> types_pb2.Amounts:
    if all(amount is None for amount in given.values()):
        raise CommandError("say how much: --usd, --tokens or --requests")
    return types_pb2.Amounts(**given)


def _new_id() -> str:
    """Told before anything is asked, so that a call without an answer can be repeated."""
    fresh = secrets.token_hex(8)
    output.note(f"request id {fresh}: --request-id {fresh} asks for the same again")
    return fresh


async def _name(session: Session, budget_id: str) -> str:
    return budget_id if "/" in budget_id else f"{await session.parent()}/budgets/{budget_id}"


def _instant(written: str | None, zone: str) -> Timestamp | None:
    try:
        return instant_reader(zone)(written) if written else None
    except ValueError as error:
        raise CommandError(f"--until: {error}") from None


def _show(
    answer: money_pb2.AdjustBudgetResponse | money_pb2.ReallocateBudgetResponse,
    statuses: Sequence[types_pb2.BudgetStatus],
    zones: tables.Zones,
) -> None:
    if options.current().json:
        output.print_json(output.as_dict(answer))
        return
    for window in answer.entry.windows:
        click.echo(tables.limit_change_text(window, zones))
    if answer.replayed:
        output.note("this had been done before under the same request id")
    output.print_table(tables.status_table(statuses, zones))
