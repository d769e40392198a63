"""`quota doctor`: whether all is well."""

from __future__ import annotations

from enum import IntEnum

import click
from rich.text import Text

from quota.v1 import operations_pb2 as pb
from quota_service.cli import options, output
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.session import Session, run


class Verdict(IntEnum):
    """What the command returns: the codes of Nagios, which most monitoring understands."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_VERDICTS = {
    pb.Finding.LEVEL_OK: Verdict.OK,
    pb.Finding.LEVEL_WARNING: Verdict.WARNING,
    pb.Finding.LEVEL_FAILURE: Verdict.CRITICAL,
}
_MARKS = {
    pb.Finding.LEVEL_OK: ("✓", "green"),
    pb.Finding.LEVEL_WARNING: ("!", "yellow"),
    pb.Finding.LEVEL_FAILURE: ("✗", "red"),
}


@click.command()
@options.globally()
def doctor() -> int:
    """Check the stores, their settings, and what waits between them.

    The replica that --address names looks at them from where it stands; nothing is changed.
    docs/operations.md says what each check means.

    \b
    Exit codes, as monitoring expects them:
      0  all is well
      1  warnings: it works, but somebody should look
      2  failures
      3  unknown: the server does not answer
    """
    try:
        diagnosis = run(_diagnose)
    except CommandError as error:
        if error.code is not ExitCode.UNAVAILABLE:
            raise
        raise CommandError(str(error), code=Verdict.UNKNOWN, details=error.details, hint=error.hint) from None
    if options.current().json:
        output.print_json(output.as_dict(diagnosis))
    else:
        _print(diagnosis)
    return _VERDICTS[diagnosis.level]


async def _diagnose(session: Session) -> pb.Diagnosis:
    return await session.connection.call(session.connection.operations.Diagnose, pb.DiagnoseRequest())


def _print(diagnosis: pb.Diagnosis) -> None:
    table = output.table("", "check", "found", "what to do", whole=("", "check"))
    for each in diagnosis.findings:
        mark, color = _MARKS[each.level]
        about = f"{output.short_id(each.organization)}: " if each.organization else ""
        table.add_row(Text(mark, style=color), each.check, f"{about}{each.found}", each.advice)
    output.print_table(table)
    click.echo(_summary(diagnosis))


def _summary(diagnosis: pb.Diagnosis) -> str:
    levels = [each.level for each in diagnosis.findings]
    failures, warnings = (
        levels.count(level) for level in (pb.Finding.LEVEL_FAILURE, pb.Finding.LEVEL_WARNING)
    )
    if not failures and not warnings:
        return "all is well"
    counts = (
        output.counted(number, name)
        for number, name in ((failures, "failure"), (warnings, "warning"))
        if number
    )
    return ", ".join(counts)
