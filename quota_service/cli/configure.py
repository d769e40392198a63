"""`quota apply`, `quota diff` and `quota export`: an organization as a file."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

import click

from quota.client import ApiError
from quota_service.cli import options, output
from quota_service.cli.failures import CommandError, ExitCode, from_api
from quota_service.cli.files import checking, documents
from quota_service.cli.files.changes import Action, Change, Plan, compared, overlay, plan_changes
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.render import render
from quota_service.cli.files.server import fetch_state, make
from quota_service.cli.files.state import Desired, Kind, State, name_of
from quota_service.cli.session import Session, run

FILES = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="YAML of an organization, or JSON of a team's budget; - is standard input. May be repeated.",
)
PRUNE = click.option("--prune", is_flag=True, help="Delete what is not in the files. Default: keep it.")


class Prepared:
    """Files that were read and found right, with what they change."""

    def __init__(self, state: State, plan: Plan) -> None:
        self.state = state
        self.plan = plan


async def _prepare(session: Session, sources: Sequence[documents.Source], *, prune: bool) -> list[Prepared]:
    problems = Problems()
    wanted = documents.parse(sources, session.globals.organization, problems)
    problems.raise_if_any()
    prepared = [await _prepare_one(session, desired, problems, prune=prune) for desired in wanted]
    for warning in problems.warnings:
        output.note(f"warning: {warning}")
    problems.raise_if_any()
    return prepared


async def _prepare_one(session: Session, desired: Desired, problems: Problems, *, prune: bool) -> Prepared:
    desired.organization = desired.organization or await session.organization()
    if prune:
        checking.check_prune(desired)
    state = checking.check_exists(desired, await fetch_state(session.connection, desired.organization))
    await checking.check_references(
        desired, state, prune=prune, connection=session.connection, problems=problems
    )
    plan = plan_changes(desired, state, prune=prune)
    await checking.check_changes(plan, state, connection=session.connection, problems=problems)
    return Prepared(state, plan)


@click.command()
@FILES
@PRUNE
@options.globally()
def apply(files: tuple[str, ...], prune: bool) -> None:
    """Make an organization as the files say: its settings, directory, models and budgets.

    Nothing is changed when anything in the files is wrong. Applying twice changes nothing the second time.
    What is frozen stays frozen unless the file says `frozen: false`.

    A file may also be a team's monthly budget as finance teams write it, in JSON with the keys team,
    monthly_spend_limit_usd, monthly_token_limit, notification_thresholds, action_on_hard_limit,
    notify_channels and reset_day; it becomes the budget TEAM-monthly.
    """
    sources = [documents.load(path) for path in files]

    async def work(session: Session) -> list[Plan]:
        return await apply_sources(session, sources, prune=prune)

    _print_plans(run(work))


async def apply_sources(session: Session, sources: Sequence[documents.Source], *, prune: bool) -> list[Plan]:
    """Makes the server as the files say. Returns what was changed."""
    prepared = await _prepare(session, sources, prune=prune)
    for entry in prepared:
        await _make(session, entry.plan)
    return [entry.plan for entry in prepared]


async def _make(session: Session, plan: Plan) -> None:
    done = 0
    try:
        async for _ in make(session.connection, plan.organization, plan.changes):
            done += 1
    except ApiError as error:
        failure = from_api(error, session.globals.target)
        change = plan.changes[done]
        place = f"{change.place}: " if change.place else ""
        raise CommandError(
            f"{place}{change.key[0].label} {change.key[1]}: {failure}",
            code=failure.code,
            details=failure.details,
            hint=f"{done} of {len(plan.changes)} changes were made before; applying again continues",
        ) from None


def _print_plans(plans: Sequence[Plan]) -> None:
    if options.current().json:
        output.print_json({"organizations": [_as_json(plan) for plan in plans]})
        return
    for plan in plans:
        _print_plan(plan)


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "organization": plan.organization,
        "changes": [
            {
                "kind": change.key[0].name.lower(),
                "name": name_of(plan.organization, change.key),
                "action": change.action.value,
                "fields": list(change.fields),
            }
            for change in plan.changes
        ],
        "unchanged": len(plan.unchanged),
        "notInFiles": [name_of(plan.organization, key) for key in plan.not_in_files],
    }


def _print_plan(plan: Plan) -> None:
    if not plan.changes:
        click.echo(f"{plan.organization}: unchanged ({len(plan.unchanged)} resources are as the files say)")
    else:
        counts = Counter((change.key[0], change.action) for change in plan.changes)
        same = Counter(key[0] for key in plan.unchanged)
        actions = [action for action in Action if any(counted[1] is action for counted in counts)]
        table = output.table(plan.organization, *actions, "unchanged", right=[*actions, "unchanged"])
        for kind in Kind:
            row = [counts[kind, action] for action in actions] + [same[kind]]
            if any(row):
                table.add_row(kind.plural, *(str(number) if number else "·" for number in row))
        output.print_table(table)
        for change in plan.changes:
            if change.action is not Action.CREATED:
                click.echo(_sentence(change))
    if plan.not_in_files:
        names = ", ".join(f"{kind.label} {identifier}" for kind, identifier in plan.not_in_files[:8])
        more = f" and {len(plan.not_in_files) - 8} more" if len(plan.not_in_files) > 8 else ""
        output.note(f"kept, though not in the files: {names}{more} (--prune deletes)")


def _sentence(change: Change) -> str:
    what = f"{change.action} {change.key[0].label} {change.key[1]}"
    return f"{what}: {', '.join(change.fields)}" if change.fields else what


@click.command()
@FILES
@PRUNE
@options.globally()
@click.pass_context
def diff(context: click.Context, files: tuple[str, ...], prune: bool) -> None:
    """Show what `apply` would change. Exits with 2 when there is something."""
    sources = [documents.load(path) for path in files]

    async def work(session: Session) -> list[Prepared]:
        return await _prepare(session, sources, prune=prune)

    prepared = run(work)
    if options.current().json:
        output.print_json({"organizations": [_as_json(entry.plan) for entry in prepared]})
    else:
        for entry in prepared:
            _print_differences(entry)
    context.exit(ExitCode.BAD_INPUT if any(entry.plan.changes for entry in prepared) else ExitCode.OK)


def _print_differences(prepared: Prepared) -> None:
    plan = prepared.plan
    if not plan.changes:
        click.echo(f"{plan.organization}: no difference")
    before = render(plan.organization, compared(prepared.state)).splitlines()
    after = render(plan.organization, compared(overlay(prepared.state, plan))).splitlines()
    colors = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(before, after, "server", "files", lineterm=""):
        title = line.startswith(("+++", "---"))
        click.echo(output.styled(line, bold=True) if title else output.styled(line, fg=colors.get(line[:1])))
    if plan.not_in_files:
        output.note(f"{len(plan.not_in_files)} resources are not in the files; --prune would delete them")


@click.command()
@options.globally()
def export() -> None:
    """Write an organization as the YAML that `apply` reads.

    Loading it again changes nothing. Imported models are not part of it.
    """

    async def work(session: Session) -> tuple[str, State]:
        organization = await session.organization()
        state = await fetch_state(session.connection, organization)
        if state is None:
            raise CommandError(f"there is no organization {organization!r}", code=ExitCode.NOT_FOUND)
        return organization, state

    organization, state = run(work)
    if options.current().json:
        resources = [output.as_dict(state[key]) for key in sorted(state)]
        output.print_json({"organization": organization, "resources": resources})
    else:
        click.echo(render(organization, state), nl=False)
