"""`quota budget status BUDGET --watch`: where a budget stands, as it changes."""

from __future__ import annotations

import asyncio
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

INTERRUPTIONS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""How streams end that may begin again. Proxies, and servers of other makes, say CANCELLED."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


async def watch(session: Session, name: str, each_value: str) -> None:
    """Shows where the budget stands, again after every change, until it is interrupted.

    Raises ApiError where the server refuses, or was never reached.
    """
    zones = {} if options.current().json else await fetch_zones(session)
    with _shown(zones) as show:
        async for statuses in _lasting(lambda: _changes(session, name, each_value)):
            show(statuses)


async def _lasting(begin: Callable[[], AsyncIterator[Statuses]]) -> AsyncIterator[Statuses]:
    """One stream after the other: each ends with its server or the age of its connection. What has not
    changed in between is not told again.
    """
    told, pause_s, last = False, FIRST_PAUSE_S, None
    while True:
        try:
            async for statuses in begin():
                pause_s = FIRST_PAUSE_S
                if last is None or list(statuses) != last:
                    last = list(statuses)
                    yield statuses
        except ApiError as error:
            if last is None or error.code not in INTERRUPTIONS:
                raise
        if not told:
            click.echo("the connection was lost: watching goes on when the server answers again", err=True)
            told = True
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


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
