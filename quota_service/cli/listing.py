"""`quota reservations` and `quota ledger`: what is held, and what has been charged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from quota.client import Connection
from quota.v1 import quota_pb2, report_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError
from quota_service.cli.files.fields import instant_reader
from quota_service.cli.session import PAGE_SIZE, Session, paged, run
from quota_service.cli.spend import full_name
from quota_service.cli.subjects import subject_options
from quota_service.cli.units import usd_decimal
from quota_service.cli.zones import fetch_zones

DEFAULT_LIMIT = 50


def list_reservations(
    connection: Connection, parent: str, subject: types_pb2.Subject
) -> AsyncIterator[quota_pb2.Reservation]:
    """Live holds of a subject, those that expire first coming first."""

    async def page(token: str) -> quota_pb2.ListReservationsResponse:
        request = quota_pb2.ListReservationsRequest(
            parent=parent, subject=subject, page_size=PAGE_SIZE, page_token=token
        )
        return await connection.call(connection.quota.ListReservations, request)

    return paged(page, lambda answer: answer.reservations)


def list_entries(
    connection: Connection, query: report_pb2.ListLedgerEntriesRequest
) -> AsyncIterator[report_pb2.LedgerEntry]:
    """Ledger entries that match, newest first."""

    async def page(token: str) -> report_pb2.ListLedgerEntriesResponse:
        request = report_pb2.ListLedgerEntriesRequest()
        request.CopyFrom(query)
        request.page_token = token
        return await connection.call(connection.report.ListLedgerEntries, request)

    return paged(page, lambda answer: answer.ledger_entries)


@click.command()
@subject_options
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, metavar="N")
@options.globally()
def reservations(subject: dict[str, Any], limit: int) -> None:
    """List live holds, those that expire first coming first."""

    async def work(session: Session) -> list[quota_pb2.Reservation]:
        wanted = list_reservations(session.connection, await session.parent(), types_pb2.Subject(**subject))
        return [item async for item in first(wanted, limit)]

    live = run(work)
    if options.current().json:
        output.print_json({"reservations": [output.as_dict(item) for item in live]})
        return
    if not live:
        click.echo("nothing is held")
        return
    table = output.table(
        "reservation", "who", "model", "held", "output", "expires in", right=["output"], whole=["reservation"]
    )
    now = datetime.now(UTC)
    for item in live:
        table.add_row(
            output.short_id(item.name),
            tables.spender_text(item.subject),
            f"{item.provider}/{item.model}",
            tables.amounts_text(item.held),
            f"{item.granted_output_tokens:,} tok",
            tables.in_words(item.expire_time, now),
        )
    output.print_table(table)


async def first(items: AsyncIterator[Any], limit: int) -> AsyncIterator[Any]:
    """At most so many of the items."""
    left = limit
    async for item in items:
        yield item
        left -= 1
        if not left:
            return


TYPES = ["hold", "extend", "commit", "release", "expire", "record", "adjust", "reallocate", "rollover"]


@click.command()
@click.option("--reservation", default="", metavar="NAME", help="Only of this reservation.")
@click.option("--type", "entry_type", type=click.Choice(TYPES), help="Only of this type.")
@click.option("--team", default="", metavar="ID", help="Only of this team.")
@click.option("--user", default="", metavar="ID", help="Only of this user.")
@click.option("--api-key", "--key", "api_key", default="", metavar="ID", help="Only of this API key.")
@click.option("--project", default="", metavar="ID", help="Only for this project.")
@click.option("--budget", default="", metavar="ID", help="Only what touched this budget.")
@click.option("--since", metavar="TIME", help="Written at or after this date or time.")
@click.option("--until", metavar="TIME", help="Written before this date or time.")
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, metavar="N")
@options.globally()
def ledger(
    *,
    reservation: str,
    entry_type: str | None,
    team: str,
    user: str,
    api_key: str,
    project: str,
    budget: str,
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """List what has been held and charged, newest first. Dates are the organization's."""

    async def work(session: Session) -> tuple[list[report_pb2.LedgerEntry], str]:
        parent = await session.parent()
        zone = (await fetch_zones(session))[""]
        query = report_pb2.ListLedgerEntriesRequest(
            parent=parent,
            page_size=min(limit, PAGE_SIZE),
            reservation=await full_name(session, reservation) if reservation else "",
            type=report_pb2.LedgerEntry.Type.Value(f"TYPE_{(entry_type or 'unspecified').upper()}"),
            team=team,
            user=user,
            api_key=api_key,
            project=project,
            source=f"{parent}/budgets/{output.short_id(budget)}" if budget else "",
            start_time=instant("--since", since, zone) if since else None,
            end_time=instant("--until", until, zone) if until else None,
        )
        return [entry async for entry in first(list_entries(session.connection, query), limit)], zone

    entries, zone = run(work)
    if options.current().json:
        output.print_json({"ledgerEntries": [output.as_dict(entry) for entry in entries]})
    elif not entries:
        click.echo("no entries")
    else:
        _print_entries(entries, zone, more=len(entries) == limit)


def instant(option: str, written: str, zone: str) -> Timestamp:
    """The instant that an option says, in a time zone. Raises CommandError."""
    try:
        return instant_reader(zone)(written)
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None


def _print_entries(entries: list[report_pb2.LedgerEntry], zone: str, *, more: bool) -> None:
    columns = ("written", "type", "who", "model", "tokens in", "out", "charged", "reservation", "remarks")
    table = output.table(*columns, right=columns[4:7], whole=(*columns[:2], columns[7]))
    for entry in entries:
        charged = entry.charged.HasField("cost_micros")
        table.add_row(
            tables.local_time(entry.create_time, zone, form="%b %d %H:%M:%S"),
            report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_").lower(),
            tables.spender_text(entry.subject) if entry.model else entry.actor,
            f"{entry.provider}/{entry.model}" if entry.model else "",
            f"{entry.usage.input_tokens:,}" if entry.model else "",
            f"{entry.usage.output_tokens:,}" if entry.model else "",
            f"${usd_decimal(entry.charged.cost_micros)}" if charged else "",
            f"…{entry.reservation[-12:]}" if entry.reservation else "",
            _remarks(entry, zone),
        )
    output.print_table(table)
    if more:
        output.note(f"the newest {len(entries)}; --limit shows more")


def _remarks(entry: report_pb2.LedgerEntry, zone: str) -> str:
    over = f"${usd_decimal(entry.overrun.cost_micros)} over the hold" if entry.overrun.cost_micros else ""
    remarks = [
        *(
            tables.limit_change_text(each, {"": zone})
            for each in entry.windows
            if each.HasField("limit_change")
        ),
        over,
        f"for {entry.subject.project}" if entry.subject.project else "",
        "late" if entry.late else "",
        "estimated" if entry.usage_estimated else "",
        "degraded" if entry.degraded else "",
        entry.reason,
    ]
    return ", ".join(filter(None, remarks))
