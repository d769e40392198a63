"""`quota limits` and `quota policies`: how fast may be spent, and on which models."""

from __future__ import annotations

import click

from quota.v1 import budget_pb2, model_policy_pb2
from quota_service.cli import options, output, tables
from quota_service.cli.budget import scope_text
from quota_service.cli.files.server import list_model_policies, list_rate_limits
from quota_service.cli.session import Session, run
from quota_service.cli.units import duration_text


@click.command()
@options.globally()
def limits() -> None:
    """List the rate limits of an organization."""

    async def work(session: Session) -> list[budget_pb2.RateLimit]:
        return [item async for item in list_rate_limits(session.connection, await session.parent())]

    found = run(work)
    if options.current().json:
        output.print_json({"rateLimits": [output.as_dict(item) for item in found]})
        return
    if not found:
        click.echo("there are no rate limits yet")
        return
    columns = ("rate limit", "what counts", "limit", "at once", "state", "name")
    table = output.table(*columns, right=["at once"], whole=[columns[0], columns[2]])
    for item in found:
        meter = tables.METERS.get(item.meter, "")
        table.add_row(
            output.short_id(item.name),
            scope_text(item.scope),
            f"{tables.amount_of(meter, item.limit)} per {duration_text(item.interval.seconds)}",
            tables.amount_of(meter, item.burst or item.limit),
            "disabled" if item.disabled else "on",
            item.display_name,
        )
    output.print_table(table)


@click.command()
@options.globally()
def policies() -> None:
    """List which models the teams of an organization may use.

    A team's own policy replaces the organization's. Without any, every model is allowed.
    """

    async def work(session: Session) -> list[model_policy_pb2.ModelPolicy]:
        return [item async for item in list_model_policies(session.connection, await session.parent())]

    found = run(work)
    if options.current().json:
        output.print_json({"modelPolicies": [output.as_dict(item) for item in found]})
        return
    if not found:
        click.echo("there are no model policies yet: every model is allowed")
        return
    table = output.table("model policy", "team", "allows", "state", "name", whole=["model policy", "team"])
    for item in found:
        table.add_row(
            output.short_id(item.name),
            item.team or "all without their own",
            allowed_text(item),
            "disabled" if item.disabled else "on",
            item.display_name,
        )
    output.print_table(table)


def allowed_text(policy: model_policy_pb2.ModelPolicy) -> str:
    """What a policy allows, in one line."""
    tiers = ", ".join(str(tier) for tier in policy.allowed_tiers)
    label = "tier" if len(policy.allowed_tiers) == 1 else "tiers"
    return ", ".join(filter(None, (f"{label} {tiers}" if tiers else "", *policy.allowed_models))) or "nothing"
