"""`quota budget status BUDGET --watch`: where a budget stands, as it changes."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click
import grpc.aio
from rich.live import Live

from quota.client import ApiError
from quota.v1 import budget_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.session import Session
from quota_service.cli.zones import fetch_zones

if TYPE_CHECKING:
    from collections.abc import Iterator

Statuses = Sequence[types_pb2.BudgetStatus]
Show = Callable[[Statuses], None]


async def watch(session: Session, name: str, each_value: str) -> None:
    """Shows where the budget stands, again after every change, until it is interrupted. Raises ApiError."""
    zones = {} if options.current().json else await fetch_zones(session)
    with _shown(zones) as show:
        async for statuses in _changes(session, name, each_value):
            show(statuses)


async def _changes(session: Session, name: str, each_value: str) -> AsyncIterator[Statuses]:
    request = budget_pb2.WatchBudgetStatusRequest(name=name, each_value=each_value)
    try:
        async for message in session.connection.budgets.WatchBudgetStatus(request):
            yield message.statuses
    except grpc.aio.AioRpcError as error:
        raise ApiError.of(error) from None


@contextmanager
def _shown(zones: tables.Zones) -> Iterator[Show]:
    """How it is shown: a table that changes in a terminal; elsewhere a line, or a JSON document, a change."""
    if options.current().json:
        yield _print_document
    elif not sys.stdout.isatty():
        yield _print_lines
    else:
        with Live(console=output.console(), auto_refresh=False) as live:
            yield lambda statuses: live.update(tables.status_table(statuses, zones), refresh=True)


def _print_document(statuses: Statuses) -> None:
    document = {"statuses": [output.as_dict(status) for status in statuses]}
    click.echo(json.dumps(document, ensure_ascii=False))


def _print_lines(statuses: Statuses) -> None:
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    for status in statuses:
        click.echo(f"{now}  {line(status)}")
    if not statuses:
        click.echo(f"{now}  it has no window now")


def line(status: types_pb2.BudgetStatus) -> str:
    """Where one meter of a budget stands, in one line."""
    meter, name = tables.METERS.get(status.meter, ""), output.short_id(status.source)
    value = f" [{status.each_value}]" if status.each_value else ""
    spent, held, remaining, limit = (
        tables.amount_of(meter, amount)
        for amount in (status.spent, status.held, status.remaining, status.limit)
    )
    return f"{name}{value}  spent {spent}, held {held}, remaining {remaining} of {limit}"
