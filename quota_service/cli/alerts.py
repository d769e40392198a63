"""`quota alerts` and `quota denials`: what somebody should hear of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from quota.client import Connection
from quota.v1 import alert_pb2, budget_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.listing import DEFAULT_LIMIT, first, instant
from quota_service.cli.session import PAGE_SIZE, Session, paged, run
from quota_service.cli.zones import fetch_zones


def list_alerts(connection: Connection, query: alert_pb2.ListAlertsRequest) -> AsyncIterator[alert_pb2.Alert]:
    """Alerts that match, newest first."""

    async def page(token: str) -> alert_pb2.ListAlertsResponse:
        request = alert_pb2.ListAlertsRequest()
        request.CopyFrom(query)
        request.page_token = token
        return await connection.call(connection.alerts.ListAlerts, request)

    return paged(page, lambda answer: answer.alerts)


def list_denials(
    connection: Connection, query: alert_pb2.ListDenialsRequest
) -> AsyncIterator[alert_pb2.DenialCount]:
    """Counts of denials that match, the newest minute first."""

    async def page(token: str) -> alert_pb2.ListDenialsResponse:
        request = alert_pb2.ListDenialsRequest()
        request.CopyFrom(query)
        request.page_token = token
        return await connection.call(connection.alerts.ListDenials, request)

    return paged(page, lambda answer: answer.denials)


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that both commands have."""
    for option in (
        click.option(
            "--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, metavar="N"
        ),
        click.option("--until", metavar="TIME", help="Before this date or time."),
        click.option("--since", metavar="TIME", help="At or after this date or time."),
        click.option("--budget", default="", metavar="ID", help="Only of this budget."),
    ):
        function = option(function)
    return function


@click.command()
@_filters
@options.globally()
def alerts(budget: str, since: str | None, until: str | None, limit: int) -> None:
    """List the steps of budgets' ladders that were reached, newest first. Dates are the organization's."""

    async def work(session: Session) -> tuple[list[alert_pb2.Alert], tables.Zones]:
        parent, zones = await session.parent(), await fetch_zones(session)
        query = alert_pb2.ListAlertsRequest(
            parent=parent,
            page_size=min(limit, PAGE_SIZE),
            source=f"{parent}/budgets/{output.short_id(budget)}" if budget else "",
            start_time=instant("--since", since, zones[""]) if since else None,
            end_time=instant("--until", until, zones[""]) if until else None,
        )
        return [each async for each in first(list_alerts(session.connection, query), limit)], zones

    found, zones = run(work)
    if options.current().json:
        output.print_json({"alerts": [output.as_dict(each) for each in found]})
    elif not found:
        click.echo("no alerts")
    else:
        _print_alerts(found, zones)
        _tell_of_more(found, limit)


@click.command()
@_filters
@click.option("--team", default="", metavar="ID", help="Only of this team.")
@click.option("--user", default="", metavar="ID", help="Only of this user.")
@click.option("--api-key", "--key", "api_key", default="", metavar="ID", help="Only of this API key.")
@click.option("--project", default="", metavar="ID", help="Only for this project.")
@options.globally()
def denials(
    *,
    budget: str,
    since: str | None,
    until: str | None,
    limit: int,
    team: str,
    user: str,
    api_key: str,
    project: str,
) -> None:
    """List how often requests were denied, minute by minute, newest first. Dates are the organization's."""

    async def work(session: Session) -> tuple[list[alert_pb2.DenialCount], str]:
        parent, zone = await session.parent(), (await fetch_zones(session))[""]
        query = alert_pb2.ListDenialsRequest(
            parent=parent,
            page_size=min(limit, PAGE_SIZE),
            source=f"{parent}/budgets/{output.short_id(budget)}" if budget else "",
            start_time=instant("--since", since, zone) if since else None,
            end_time=instant("--until", until, zone) if until else None,
            team=team,
            user=user,
            api_key=api_key,
            project=project,
        )
        return [each async for each in first(list_denials(session.connection, query), limit)], zone

    found, zone = run(work)
    if options.current().json:
        output.print_json({"denials": [output.as_dict(each) for each in found]})
    elif not found:
        click.echo("no denials")
    else:
        _print_denials(found, zone)
        _tell_of_more(found, limit)


def _tell_of_more(found: list[Any], limit: int) -> None:
    if len(found) == limit:
        output.note(f"the newest {len(found)}; --limit shows more")


def _print_alerts(found: list[alert_pb2.Alert], zones: tables.Zones) -> None:
    columns = ("told", "budget", "step", "spent", "limit", "used up by", "most spent by")
    table = output.table(*columns, right=columns[3:5], whole=columns[:2])
    for each in found:
        meter, name = tables.METERS.get(each.meter, ""), output.short_id(each.source)
        zone = zones.get(each.source) or zones[""]
        forecast = each.HasField("forecast_time")
        table.add_row(
            tables.local_time(each.create_time, zone, form="%b %d %H:%M"),
            f"{name} [{each.each_value}]" if each.each_value else name,
            _step_text(each.step) + (f", reminder {each.repeat}" if each.repeat else ""),
            tables.amount_of(meter, each.spent),
            tables.amount_of(meter, each.limit),
            tables.local_time(each.forecast_time, zone, form="%b %d") if forecast else "",
            ", ".join(f"{one.id} {tables.amount_of(meter, one.amount)}" for one in each.top_consumers),
        )
    output.print_table(table)


def _step_text(step: budget_pb2.LadderStep) -> str:
    action = step.WhichOneof("action")
    details = {
        "restrict": f"restrict to tier {step.restrict.max_tier}",
        "downgrade": f"downgrade to {step.downgrade.provider}/{step.downgrade.model}",
    }
    return f"{step.at_percent} % {details.get(action or '', action)}"


def _print_denials(found: list[alert_pb2.DenialCount], zone: str) -> None:
    columns = ("minute", "times", "who", "model", "why", "by", "told last")
    table = output.table(*columns, right=columns[1:2], whole=columns[:1])
    for each in found:
        table.add_row(
            tables.local_time(each.minute, zone, form="%b %d %H:%M"),
            f"{each.count:,}",
            tables.spender_text(each.subject),
            f"{each.provider}/{each.model}" if each.model else "",
            types_pb2.Reason.Name(each.reason).removeprefix("REASON_").lower().replace("_", " "),
            "/".join(each.source.split("/")[2:]),
            each.message,
        )
    output.print_table(table)
