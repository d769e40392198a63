"""`quota reconcile`: whether Valkey and the ledger agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import click
import grpc.aio

from quota.client import ApiError
from quota.v1 import operations_pb2 as pb
from quota_service.cli import options, output, tables
from quota_service.cli.failures import ExitCode
from quota_service.cli.session import Session, run

DRIFT = 1
"""The exit code where something differs."""

_STEPS = {
    pb.ReconcileProgress.STEP_READING: "reading",
    pb.ReconcileProgress.STEP_LOOKING_AGAIN: "looking again",
    pb.ReconcileProgress.STEP_REPAIRING: "setting Valkey from the ledger",
}
_MISSING = {
    pb.Drift.STORE_VALKEY: "the ledger sees it open, Valkey does not have it",
    pb.Drift.STORE_LEDGER: "it is live in Valkey, the ledger does not see it open",
}


@dataclass(slots=True, kw_only=True)
class Result:
    """What a comparison of one organization came to: the one after a repair, where there was one."""

    organization: str
    drifts: list[pb.Drift] = field(default_factory=list)
    repaired: list[pb.Drift] = field(default_factory=list)
    summary: pb.ReconcileSummary = field(default_factory=pb.ReconcileSummary)

    def as_dict(self) -> dict[str, Any]:
        return {
            "organization": f"organizations/{self.organization}",
            "drifts": [output.as_dict(each) for each in self.drifts],
            "repairedDrifts": [output.as_dict(each) for each in self.repaired],
            "summary": output.as_dict(self.summary),
        }


@click.command()
@click.option("--repair", is_flag=True, help="Set Valkey right from the ledger where something differs.")
@click.option(
    "--search", is_flag=True, help="Look for windows that only Valkey knows, through all of its keys."
)
@options.globally()
def reconcile(repair: bool, search: bool) -> int:
    """Compare Valkey with the ledger, window by window and hold by hold, while the service goes on.

    All organizations, unless --organization names one. What is on its way between the stores is taken into
    account; what differs is told only if it stays the same. --repair has an organization's windows and holds
    set anew from the ledger, and compares again.

    \b
    Exit codes:
      0  nothing differs, or nothing any more
      1  something differs, or too much moved to tell
      5  the server or a store is unavailable
    """

    async def work(session: Session) -> list[Result]:
        named = session.globals.organization
        organizations = [named] if named else await session.organizations()
        return [await _reconcile(session, each, repair=repair, search=search) for each in organizations]

    results = run(work)
    if options.current().json:
        output.print_json({"organizations": [each.as_dict() for each in results]})
    else:
        _print(results)
    differ = any(each.summary.drifts or each.summary.undecided for each in results)
    return DRIFT if differ else ExitCode.OK


async def _reconcile(session: Session, organization: str, *, repair: bool, search: bool) -> Result:
    result = Result(organization=organization)
    request = pb.ReconcileRequest(name=f"organizations/{organization}", repair=repair, search=search)
    with output.ProgressLine() as line:
        async for message in _messages(session, request):
            match message.WhichOneof("content"):
                case "progress":
                    if message.progress.step == pb.ReconcileProgress.STEP_REPAIRING:
                        result.repaired, result.drifts = result.drifts, []
                    line.show(f"{organization}: {_progress_text(message.progress)}")
                case "drift":
                    result.drifts.append(message.drift)
                case "summary":
                    result.summary = message.summary
    return result


async def _messages(session: Session, request: pb.ReconcileRequest) -> AsyncIterator[pb.ReconcileResponse]:
    try:
        async for message in session.connection.operations.Reconcile(request):
            yield message
    except grpc.aio.AioRpcError as error:
        raise ApiError.of(error) from None


def _progress_text(progress: pb.ReconcileProgress) -> str:
    step = _STEPS.get(progress.step, "")
    if progress.step == pb.ReconcileProgress.STEP_REPAIRING:
        return step
    windows, holds = output.counted(progress.windows, "window"), output.counted(progress.holds, "hold")
    return f"{step}: {windows}, {holds}, {progress.differing:,} to look at"


def _print(results: list[Result]) -> None:
    for each in results:
        if each.repaired:
            click.echo(f"{each.organization}: was set from the ledger; before that there differed")
            _print_drifts(each.repaired)
        if each.drifts:
            click.echo(f"{each.organization}: there differ{' still' if each.repaired else ''}")
            _print_drifts(each.drifts)
    for each in results:
        click.echo(_summary_text(each))


def _summary_text(result: Result) -> str:
    summary = result.summary
    windows, holds = output.counted(summary.windows, "window"), output.counted(summary.holds, "live hold")
    drifts = output.counted(summary.drifts, "difference") if summary.drifts else "nothing differs"
    undecided = f"; {summary.undecided:,} moved too much to tell" if summary.undecided else ""
    return f"{result.organization}: {windows} and {holds} compared: {drifts}{undecided}"


def _print_drifts(drifts: list[pb.Drift]) -> None:
    windows = [each for each in drifts if not each.reservation]
    if windows:
        columns = ("budget", "window", "what", "Valkey", "ledger", "difference")
        table = output.table(*columns, right=columns[3:], whole=columns[:3])
        for each in windows:
            table.add_row(*_window_row(each))
        output.print_table(table)
    holds = [each for each in drifts if each.reservation]
    if holds:
        table = output.table("reservation", "what", whole=("reservation",))
        for each in holds:
            table.add_row(output.short_id(each.reservation), _MISSING[each.missing_in])
        output.print_table(table)


def _window_row(drift: pb.Drift) -> tuple[str, ...]:
    meter = tables.METERS.get(drift.meter, "")
    name = output.short_id(drift.source)
    quantity = pb.Drift.Quantity.Name(drift.quantity).removeprefix("QUANTITY_").lower()
    numbers = (drift.valkey, drift.ledger, drift.difference)
    return (
        f"{name} [{drift.each_value}]" if drift.each_value else name,
        tables.local_time(drift.window_start, "UTC"),
        f"{quantity}, {meter.lower()}" if meter else quantity,
        *(_exact(meter, number) for number in numbers),
    )


def _exact(meter: str, number: int) -> str:
    """To the last digit: a difference may be small."""
    if meter != "COST":
        return f"{number:,}"
    whole, micros = divmod(abs(number), 1_000_000)
    return f"{'-' if number < 0 else ''}${whole:,}.{micros:06}"
