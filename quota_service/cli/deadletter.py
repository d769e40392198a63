"""`quota deadletter`: what the ledger refused for good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import click

from quota.v1 import operations_pb2 as pb
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError, ExitCode
from quota_service.cli.session import PAGE_SIZE, Session, paged, run

NAMES_PER_CALL = 100
REFUSED = 1
"""The exit code where the ledger refuses some still."""

_RESULTS = {
    pb.ReplayedDeadLetter.RESULT_WRITTEN: "written",
    pb.ReplayedDeadLetter.RESULT_ALREADY_WRITTEN: "had been written",
    pb.ReplayedDeadLetter.RESULT_CONFLICT: "its key has other content, which stands",
    pb.ReplayedDeadLetter.RESULT_VOID: "void: it would return what was charged since",
    pb.ReplayedDeadLetter.RESULT_REFUSED: "not written",
}


@click.group()
def deadletter() -> None:
    """Events that the ledger refused for good: see why, and write them once the reason is gone."""


@deadletter.command("list")
@options.globally()
def list_() -> None:
    """List dead letters, the oldest first: of all organizations, unless --organization names one."""
    found = run(_all)
    if options.current().json:
        output.print_json({"deadLetters": [output.as_dict(each) for each in found]})
    elif not found:
        click.echo("no dead letters")
    else:
        _print_letters(found)


@deadletter.command()
@click.option(
    "--id", "ids", multiple=True, metavar="ID", help="Which one, by its id or name. May be repeated."
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@options.globally()
def replay(ids: Sequence[str], everything: bool) -> int:
    """Write dead letters to the ledger once more. Running it twice does no harm.

    \b
    Exit codes:
      0  the ledger has them all, or there were none
      1  some were not written: the output says why
    """
    if bool(ids) == everything:
        raise CommandError("say which: --id ID (may be repeated), or --all")

    async def work(session: Session) -> list[pb.ReplayedDeadLetter]:
        if everything:
            names = [each.name for each in await _all(session)]
        else:
            parent = await session.parent()
            names = [f"{parent}/deadLetters/{output.short_id(each)}" for each in ids]
        return await _replay(session, names)

    results = run(work)
    if options.current().json:
        output.print_json({"replayed": [output.as_dict(each) for each in results]})
    elif not results:
        click.echo("no dead letters")
    else:
        _print_results(results)
    refused = any(each.result == pb.ReplayedDeadLetter.RESULT_REFUSED for each in results)
    return REFUSED if refused else ExitCode.OK


async def _all(session: Session) -> list[pb.DeadLetter]:
    named = session.globals.organization
    organizations = [named] if named else await session.organizations()
    return [each for organization in organizations async for each in _letters(session, organization)]


def _letters(session: Session, organization: str) -> AsyncIterator[pb.DeadLetter]:
    async def page(token: str) -> pb.ListDeadLettersResponse:
        request = pb.ListDeadLettersRequest(
            parent=f"organizations/{organization}", page_size=PAGE_SIZE, page_token=token
        )
        return await session.connection.call(session.connection.operations.ListDeadLetters, request)

    return paged(page, lambda answer: answer.dead_letters)


async def _replay(session: Session, names: Sequence[str]) -> list[pb.ReplayedDeadLetter]:
    """Those of each organization together, in calls of bounded size."""
    results: list[pb.ReplayedDeadLetter] = []
    for parent in dict.fromkeys("/".join(name.split("/")[:2]) for name in names):
        own = [name for name in names if name.startswith(f"{parent}/")]
        for start in range(0, len(own), NAMES_PER_CALL):
            request = pb.ReplayDeadLettersRequest(parent=parent, names=own[start : start + NAMES_PER_CALL])
            answer = await session.connection.call(session.connection.operations.ReplayDeadLetters, request)
            results += answer.replayed
    return results


def _print_letters(found: list[pb.DeadLetter]) -> None:
    columns = ("id", "organization", "since", "what", "charges", "tries", "why it was refused")
    table = output.table(*columns, right=("tries",), whole=columns[:4])
    for each in found:
        table.add_row(
            output.short_id(each.name),
            each.name.split("/")[1],
            tables.local_time(each.create_time, "UTC"),
            each.type.lower(),
            tables.amounts_text(each.charged),
            str(each.tries),
            each.error,
        )
    output.print_table(table)


def _print_results(results: list[pb.ReplayedDeadLetter]) -> None:
    table = output.table("id", "result", whole=("id",))
    for each in results:
        text = _RESULTS.get(each.result, "")
        table.add_row(output.short_id(each.name), f"{text}: {each.error}" if each.error else text)
    output.print_table(table)
