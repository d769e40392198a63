"""`quota budget list | get | status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from quota.client import ApiError, Connection
from quota.v1 import budget_pb2, types_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError, ExitCode, did_you_mean
from quota_service.cli.files.budgets import MODES
from quota_service.cli.files.nodes import dump, mapping
from quota_service.cli.files.render import render
from quota_service.cli.files.renderbudget import period_node
from quota_service.cli.files.server import list_budgets, list_keys, list_projects, list_teams, list_users
from quota_service.cli.files.state import Kind
from quota_service.cli.money import adjust, reallocate
from quota_service.cli.session import Session, run
from quota_service.cli.subjects import split_model, subject_options
from quota_service.cli.watch import watch
from quota_service.cli.zones import fetch_zones

LARGEST_LISTED = 200

_MODE_NAMES = {number: name for name, number in MODES.items()}


@click.group()
def budget() -> None:
    """List budgets, see where they stand, and give them more or less."""


budget.add_command(adjust)
budget.add_command(reallocate)


@budget.command("list")
@options.globally()
def list_command() -> None:
    """List the budgets of an organization."""

    async def work(session: Session) -> tuple[list[budget_pb2.Budget], str]:
        parent = await session.parent()
        zones = {} if options.current().json else await fetch_zones(session)
        return [item async for item in list_budgets(session.connection, parent)], zones.get("", "")

    budgets, zone = run(work)
    if options.current().json:
        output.print_json({"budgets": [output.as_dict(item) for item in budgets]})
        return
    if not budgets:
        click.echo("there are no budgets yet")
        return
    table = output.table("budget", "what counts", "limit", "period", "mode", "name", whole=["budget"])
    for item in budgets:
        table.add_row(
            output.short_id(item.name),
            scope_text(item.scope),
            tables.amounts_text(item.limits),
            one_line(item.period, zone),
            "disabled" if item.disabled else _MODE_NAMES.get(item.mode, ""),
            item.display_name,
        )
    output.print_table(table)


def one_line(period: budget_pb2.Period, zone: str) -> str:
    """A period as a table shows it, with its time zone where that is not the organization's."""
    text = dump(mapping({"period": period_node(period)})).removeprefix("period: ").strip()
    # `{monthly: {reset_day: 15}}` reads well in a file; a table has no room for braces.
    plain = text.replace("{", "").replace("}", "").replace(": ", " ").replace("_", " ")
    return plain if period.time_zone in ("", zone) else f"{plain} ({period.time_zone})"


def scope_text(scope: budget_pb2.Scope) -> str:
    """Which requests count, in one line."""
    parts = {
        "team": scope.team,
        "user": scope.user,
        "key": scope.api_key,
        "project": scope.project,
        "cost center": scope.cost_center,
        "provider": scope.provider,
        "model": scope.model,
        "tier": str(scope.tier) if scope.HasField("tier") else "",
        **{f"tag {name}": value for name, value in sorted(scope.tags.items())},
    }
    text = ", ".join(f"{part} {value}" for part, value in parts.items() if value) or "everything"
    if not scope.HasField("each"):
        return text
    dimension = types_pb2.Dimension.Name(scope.each.dimension).removeprefix("DIMENSION_").lower()
    return f"{text}, each {scope.each.tag or dimension.replace('api_key', 'key').replace('_', ' ')}"


@budget.command()
@click.argument("budget_id", metavar="BUDGET")
@options.globally()
def get(budget_id: str) -> None:
    """Show one budget as `apply` would read it."""

    async def work(session: Session) -> budget_pb2.Budget:
        return await find_budget(session, budget_id)

    found = run(work)
    if options.current().json:
        output.print_json(output.as_dict(found))
    else:
        text = render("", {(Kind.BUDGET, output.short_id(found.name)): found})
        click.echo(text[text.index("budgets:") :], nl=False)


async def find_budget(session: Session, budget_id: str) -> budget_pb2.Budget:
    """A budget by its id or name; one that does not exist comes with what was probably meant."""
    parent = await session.parent()
    name = budget_id if "/" in budget_id else f"{parent}/budgets/{budget_id}"
    try:
        request = budget_pb2.GetBudgetRequest(name=name)
        return await session.connection.call(session.connection.budgets.GetBudget, request)
    except ApiError as error:
        if error.reason != "BUDGET_NOT_FOUND":
            raise
    known = [output.short_id(item.name) async for item in list_budgets(session.connection, parent)]
    raise CommandError(
        f"there is no budget {output.short_id(name)!r}",
        code=ExitCode.NOT_FOUND,
        hint=did_you_mean(output.short_id(name), known) or "see `quota budget list`",
    )


@budget.command()
@click.argument("budget_id", metavar="[BUDGET]", required=False)
@click.option("--each-value", metavar="VALUE", help="Only this value of the budget's `each` dimension.")
@subject_options
@click.option("--provider", default="", metavar="NAME", help="Together with --model.")
@click.option("--model", default="", metavar="NAME", help="As for a call of this model.")
@click.option("--watch", "watched", is_flag=True, help="Show it again after every change, until Ctrl-C.")
@options.globally()
def status(
    *,
    budget_id: str | None,
    each_value: str | None,
    subject: dict[str, Any],
    provider: str,
    model: str,
    watched: bool,
) -> None:
    """Show where a budget stands or, without one, all budgets that a subject's requests count in.

    A budget with `each` shows every value that the directory and its overrides know.
    """
    provider, model = split_model(provider, model)
    named = any(subject.values()) or bool(model)
    if budget_id and named:
        raise CommandError("name a budget or a subject, not both")
    if each_value is not None and not budget_id:
        raise CommandError(
            "--each-value needs a budget", hint="quota budget status BUDGET --each-value VALUE"
        )
    if watched:
        _watch(budget_id, each_value)
        return

    async def work(session: Session) -> tuple[Sequence[types_pb2.BudgetStatus], tables.Zones]:
        if budget_id:
            found = await find_budget(session, budget_id)
            statuses: Sequence[types_pb2.BudgetStatus] = await _of_budget(session, found, each_value)
        else:
            statuses = await _of_subject(session, types_pb2.Subject(**subject), provider, model)
        return statuses, {} if options.current().json else await fetch_zones(session)

    statuses, zones = run(work)
    if options.current().json:
        output.print_json({"statuses": [output.as_dict(item) for item in statuses]})
    elif not statuses:
        click.echo("no budget matches")
    else:
        output.print_table(tables.status_table(statuses, zones))
        for sentence in tables.would_have_blocked(statuses):
            click.echo(sentence)


def _watch(budget_id: str | None, each_value: str | None) -> None:
    if not budget_id:
        raise CommandError("--watch needs a budget", hint="quota budget status BUDGET --watch")
    name = budget_id

    async def work(session: Session) -> None:
        found = await find_budget(session, name)
        if found.scope.HasField("each") and each_value is None:
            raise CommandError(
                f"{name} has a counter for every value", hint="name the one to watch with --each-value"
            )
        await watch(session, found.name, each_value or "")

    run(work)


async def _of_subject(
    session: Session, subject: types_pb2.Subject, provider: str, model: str
) -> Sequence[types_pb2.BudgetStatus]:
    parent = await session.parent()
    if subject == types_pb2.Subject() and not model:
        return await _of_all(session, parent)
    request = budget_pb2.ListBudgetStatusesRequest(
        parent=parent, subject=subject, provider=provider, model=model
    )
    answer = await session.connection.call(session.connection.budgets.ListBudgetStatuses, request)
    return answer.statuses


async def _of_all(session: Session, parent: str) -> Sequence[types_pb2.BudgetStatus]:
    statuses: list[types_pb2.BudgetStatus] = []
    async for item in list_budgets(session.connection, parent):
        if not item.disabled:
            statuses += await _of_budget(session, item, None)
    return statuses


async def _of_budget(
    session: Session, found: budget_pb2.Budget, each_value: str | None
) -> list[types_pb2.BudgetStatus]:
    values = [""]
    if found.scope.HasField("each"):
        values = await known_values(session.connection, found) if each_value is None else [each_value]
        if len(values) > LARGEST_LISTED:
            output.note(f"the first {LARGEST_LISTED} of {len(values)} values; --each-value shows another")
            values = values[:LARGEST_LISTED]
    elif each_value is not None:
        values = [each_value]
    statuses: list[types_pb2.BudgetStatus] = []
    for value in values:
        request = budget_pb2.GetBudgetStatusRequest(name=found.name, each_value=value)
        answer = await session.connection.call(session.connection.budgets.GetBudgetStatus, request)
        statuses += answer.statuses
    return statuses


async def known_values(connection: Connection, found: budget_pb2.Budget) -> list[str]:
    """Values of an `each` dimension that the directory and the budget's overrides know, in order."""
    parent, team = found.name.partition("/budgets/")[0], found.scope.team
    values = {override.each_value for override in found.overrides}
    match found.scope.each.dimension:
        case types_pb2.DIMENSION_TEAM:
            values |= {output.short_id(item.name) async for item in list_teams(connection, parent)}
        case types_pb2.DIMENSION_USER:
            users = [item async for item in list_users(connection, parent)]
            values |= {output.short_id(item.name) for item in users if not team or team in item.teams}
        case types_pb2.DIMENSION_API_KEY:
            values |= {output.short_id(item.name) async for item in list_keys(connection, parent)}
        case types_pb2.DIMENSION_PROJECT:
            values |= {output.short_id(item.name) async for item in list_projects(connection, parent)}
    return sorted(values) or [""]
