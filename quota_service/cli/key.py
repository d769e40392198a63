"""`quota key create | list | rotate | revoke`: API keys and their secrets."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from quota.client import ApiError
from quota.v1 import directory_pb2 as pb
from quota_service.cli import options, output, tables
from quota_service.cli.failures import CommandError, ExitCode, did_you_mean
from quota_service.cli.files.server import list_keys
from quota_service.cli.listing import instant
from quota_service.cli.session import Session, run
from quota_service.cli.units import parse_duration_s
from quota_service.cli.zones import fetch_zone

DEFAULT_GRACE = "24h"


@click.group()
def key() -> None:
    """Make API keys, and change or end their secrets."""


@key.command()
@click.argument("id_", metavar="KEY")
@click.option("--user", metavar="ID", help="Whose it is.")
@click.option("--team", metavar="ID", help="Whose it is, where it is no single user's.")
@click.option("--name", default="", metavar="TEXT", help="For people.")
@click.option("--until", metavar="TIME", help="A date or time from which it is no longer good.")
@options.globally()
def create(id_: str, user: str | None, team: str | None, name: str, until: str | None) -> None:
    """Make an API key. Its secret is printed, alone on stdout, now and never again."""
    if bool(user) == bool(team):
        raise CommandError("say whose key it is: --user ID or --team ID")
    made = pb.ApiKey(display_name=name, user=user) if user else pb.ApiKey(display_name=name, team=team or "")

    async def work(session: Session) -> pb.ApiKey:
        if until:
            made.expire_time.CopyFrom(instant("--until", until, await fetch_zone(session)))
        request = pb.CreateApiKeyRequest(
            parent=await session.parent(), api_key_id=id_, api_key=made, request_id=secrets.token_hex(8)
        )
        return await session.connection.call(session.connection.directory.CreateApiKey, request)

    _tell_secret(run(work), f"API key {id_} of {_owner(made)}")


@key.command("list")
@options.globally()
def list_() -> None:
    """List the API keys of an organization, with what their secrets begin with."""

    async def work(session: Session) -> tuple[list[pb.ApiKey], str]:
        found = [item async for item in list_keys(session.connection, await session.parent())]
        return found, "" if session.globals.json else await fetch_zone(session)

    found, zone = run(work)
    if options.current().json:
        output.print_json({"apiKeys": [output.as_dict(item) for item in found]})
        return
    if not found:
        click.echo("there are no API keys yet")
        return
    columns = ("key", "whose", "state", "secret", "name")
    table = output.table(*columns, whole=("key", "secret"))
    for item in found:
        table.add_row(
            output.short_id(item.name),
            _owner(item),
            _state(item, zone),
            _secrets(item, zone),
            item.display_name,
        )
    output.print_table(table)


@key.command()
@click.argument("id_", metavar="KEY")
@click.option(
    "--grace",
    default=DEFAULT_GRACE,
    show_default=True,
    metavar="DURATION",
    help="How long the secret before stays good, such as 90s, 2h or 7d; 0 ends it at once.",
)
@options.globally()
def rotate(id_: str, grace: str) -> None:
    """Give an API key another secret. It is printed, alone on stdout, now and never again."""
    try:
        seconds = parse_duration_s(grace)
    except ValueError as error:
        raise CommandError(f"--grace: {error}") from None

    async def work(session: Session) -> pb.ApiKey:
        request = pb.RotateApiKeyRequest(
            name=await _name(session, id_), grace=Duration(seconds=seconds), request_id=secrets.token_hex(8)
        )
        return await _found(session, id_, session.connection.directory.RotateApiKey, request)

    rotated = run(work)
    before = f"; the one before is good for {grace} more" if len(rotated.secrets) > 1 else ""
    _tell_secret(rotated, f"API key {id_} has another secret{before}")


@key.command()
@click.argument("id_", metavar="KEY")
@click.option("--yes", is_flag=True, help="Do not ask. Nothing makes a revoked key good again.")
@options.globally()
def revoke(id_: str, yes: bool) -> None:
    """End an API key for good, at once and everywhere. `quota freeze` stops one for a while."""
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError(f"nothing makes {id_!r} good again once it is revoked", hint="add --yes")
        click.confirm(f"Revoke {id_}? Nothing makes it good again", abort=True, err=True)

    async def work(session: Session) -> tuple[pb.ApiKey, str]:
        request = pb.RevokeApiKeyRequest(name=await _name(session, id_))
        revoked = await _found(session, id_, session.connection.directory.RevokeApiKey, request)
        return revoked, await fetch_zone(session)

    revoked, zone = run(work)
    if options.current().json:
        output.print_json(output.as_dict(revoked))
        return
    click.echo(f"API key {id_} was revoked {tables.local_time(revoked.revoke_time, zone)}")


async def _name(session: Session, id_: str) -> str:
    return f"{await session.parent()}/apiKeys/{output.short_id(id_)}"


async def _found(session: Session, id_: str, method: Any, request: Message) -> pb.ApiKey:
    """The answer of a call about one key. Raises CommandError that suggests another where there is none."""
    try:
        answer: pb.ApiKey = await session.connection.call(method, request)
    except ApiError as error:
        if error.reason != "RESOURCE_NOT_FOUND":
            raise
        known = [
            output.short_id(item.name) async for item in list_keys(session.connection, await session.parent())
        ]
        raise CommandError(
            f"there is no API key {id_!r}", code=ExitCode.NOT_FOUND, hint=did_you_mean(id_, known)
        ) from None
    return answer


def _tell_secret(made: pb.ApiKey, what: str) -> None:
    if options.current().json:
        output.print_json(output.as_dict(made))
        return
    output.note(f"{what}. This is its secret, which is stored nowhere:")
    click.echo(made.secret)


def _owner(item: pb.ApiKey) -> str:
    return f"user {item.user}" if item.user else f"team {item.team}"


def _state(item: pb.ApiKey, zone: str) -> str:
    if item.HasField("revoke_time"):
        return f"revoked {tables.local_time(item.revoke_time, zone)}"
    if item.HasField("expire_time"):
        over = item.expire_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
        ends = f"{'over since' if over else 'until'} {tables.local_time(item.expire_time, zone)}"
        return f"frozen, {ends}" if item.disabled else ends
    return "frozen" if item.disabled else "good"


def _secrets(item: pb.ApiKey, zone: str) -> str:
    if not item.secrets:
        return "none"
    lines = []
    for each in item.secrets:
        ends = each.HasField("expire_time")
        lines.append(f"{each.start}…{f' until {tables.local_time(each.expire_time, zone)}' if ends else ''}")
    return "\n".join(lines)
