"""`quota exposure`: the worst-case bill."""

from __future__ import annotations

from collections.abc import Iterable

import click

from quota.v1 import exposure_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.session import Session, run
from quota_service.cli.units import usd
from quota_service.cli.zones import fetch_zones

_BOUNDED = exposure_pb2.Exposure.KIND_HARD_CEILING
_UNBOUNDED = exposure_pb2.Exposure.KIND_UNBOUNDED
_DEGRADED = exposure_pb2.Exposure.KIND_DEGRADED


@click.command()
@options.globally()
def exposure() -> None:
    """Show the worst-case bill of the current windows, and what nothing bounds."""

    async def work(session: Session) -> tuple[exposure_pb2.Exposure, tables.Zones]:
        request = exposure_pb2.GetExposureRequest(parent=await session.parent())
        found = await session.connection.call(session.connection.budgets.GetExposure, request)
        return found, {} if options.current().json else await fetch_zones(session)

    found, zones = run(work)
    if options.current().json:
        output.print_json(output.as_dict(found))
    else:
        _print(found, zones)


def _print(found: exposure_pb2.Exposure, zones: tables.Zones) -> None:
    number = output.styled(usd(found.total_micros), bold=True, fg="green" if found.bounded else "red")
    click.echo(f"\n  {number}  {headline(found, zones)}")
    counted = [part for part in found.parts if part.kind != _UNBOUNDED]
    if any(part.kind == _BOUNDED or part.amount_micros for part in counted):
        _print_ceilings(counted, zones)
    for sentence in open_ends(found):
        click.echo(sentence)


def headline(found: exposure_pb2.Exposure, zones: tables.Zones) -> str:
    """What the number is, in words."""
    if not found.bounded:
        return "and more: not everything is bounded"
    until = ""
    if found.HasField("reset_time"):
        until = f", until {tables.local_time(found.reset_time, zones.get('', ''), form='%b %d %H:%M %Z')}"
    allows = any(part.kind == _DEGRADED and part.amount_micros for part in found.parts)
    return f"at most{until}{', with one outage of the store on one replica' if allows else ''}"


def open_ends(found: exposure_pb2.Exposure) -> list[str]:
    """What nothing bounds, in sentences."""
    return [
        f"unbounded: {output.short_id(part.source)}: {part.explanation}"
        if part.source
        else f"unbounded: {part.explanation}"
        for part in found.parts
        if part.kind == _UNBOUNDED
    ]


def _print_ceilings(parts: Iterable[exposure_pb2.Exposure.Part], zones: tables.Zones) -> None:
    columns = ("what", "counters", "at most", "spent", "held", "resets", "why")
    table = output.table(*columns, right=columns[1:5], whole=(columns[0], columns[5]))
    for part in parts:
        is_budget = part.kind == _BOUNDED
        table.add_row(
            output.short_id(part.source) if is_budget else "outages",
            f"{part.counters:,}" if is_budget else "",
            usd(part.amount_micros),
            usd(part.spent_micros) if is_budget else "",
            usd(part.held_micros) if is_budget else "",
            _resets(part, zones) if is_budget else "",
            part.explanation,
        )
    output.print_table(table)


def _resets(part: exposure_pb2.Exposure.Part, zones: tables.Zones) -> str:
    if not part.HasField("reset_time"):
        return "never"
    zone = zones.get(part.source) or zones.get("", "")
    return tables.local_time(part.reset_time, zone, form="%b %d %H:%M %Z")
