"""`quota token`: service tokens, which only their owner has."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import click

from quota_service.cli import options, output
from quota_service.domain.caller import TOKEN_PREFIX

TOKEN_BYTES = 32


@click.command()
@click.option("--caller", default="NAME", metavar="ID", help="Who will call with it.")
@click.option("--role", default="gateway", show_default=True, metavar="ROLE", help="What they may do.")
@click.option("--of", "organization", default="ORGANIZATION", metavar="ID", help="Whose data; '*': all.")
@click.option("--team", "teams", multiple=True, metavar="ID", help="Only what is this team's; repeatable.")
@click.option("--user", default="", metavar="ID", help="Only what is of the teams that this user leads.")
@options.globally(calls_server=False)
def token(caller: str, role: str, organization: str, teams: tuple[str, ...], user: str) -> None:
    """Make a service token: 256 random bits. It is printed, alone on stdout, and stored nowhere.

    The line for the server's file of callers (QUOTA_CALLERS) is printed beside it.
    """
    made, hashed = new_token()
    if options.current().json:
        output.print_json({"token": made, "tokenSha256": hashed})
        return
    output.note("Add this to the file of callers:")
    output.note(entry(caller, role, organization, hashed, teams, user))
    click.echo(made)


def new_token() -> tuple[str, str]:
    """A token, and what a file of callers has of it."""
    from quota_service.edge.access.callers import token_hash

    made = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return made, token_hash(made)


def entry(
    caller: str, role: str, organization: str, hashed: str, teams: Sequence[str] = (), user: str = ""
) -> str:
    """A caller as the file has it."""
    said = f'role: {role}, organization: "{organization}"'
    if teams:
        said += ", teams: [" + ", ".join(f'"{team}"' for team in teams) + "]"
    if user:
        said += f', user: "{user}"'
    return f"  {caller}: {{{said}, token_sha256: {hashed}}}"
