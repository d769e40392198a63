"""`quota freeze` and `quota unfreeze`: stop somebody's spending at once, and let it go on."""

from __future__ import annotations

import click
from google.protobuf.field_mask_pb2 import FieldMask

from quota.client import ApiError, Connection
from quota.v1 import directory_pb2
from quota_service.cli import options, output
from quota_service.cli.failures import CommandError, ExitCode, did_you_mean
from quota_service.cli.files.server import list_keys, list_projects, list_teams, list_users
from quota_service.cli.files.state import Kind, name_of
from quota_service.cli.session import Session, run

KINDS = {
    "team": Kind.TEAM,
    "teams": Kind.TEAM,
    "user": Kind.USER,
    "users": Kind.USER,
    "key": Kind.KEY,
    "keys": Kind.KEY,
    "apikeys": Kind.KEY,
    "project": Kind.PROJECT,
    "projects": Kind.PROJECT,
}

Freezable = directory_pb2.Team | directory_pb2.User | directory_pb2.ApiKey | directory_pb2.Project


@click.command()
@click.argument("who", metavar="TEAM|USER|KEY|PROJECT")
@options.globally()
def freeze(who: str) -> None:
    """Deny every new request of a team, user, key or project, at once.

    Write `team/finance`, `user/ada`, `key/ada-laptop`, a full resource name, or just the id where only one
    has it. What is held can still be committed or released.
    """
    _run(who, disabled=True)


@click.command()
@click.argument("who", metavar="TEAM|USER|KEY|PROJECT")
@options.globally()
def unfreeze(who: str) -> None:
    """Let a frozen team, user, key or project go on."""
    _run(who, disabled=False)


def _run(who: str, *, disabled: bool) -> None:
    async def work(session: Session) -> tuple[Kind, Freezable, bool]:
        kind, found = await resolve(session, who)
        if found.disabled == disabled:
            return kind, found, False
        return kind, await _set(session.connection, kind, found.name, disabled), True

    kind, result, changed = run(work)
    if options.current().json:
        output.print_json({**output.as_dict(result), "changed": changed})
        return
    state = "frozen" if disabled else "not frozen"
    click.echo(f"{kind.label} {output.short_id(result.name)} is {state}{'' if changed else ' already'}")


async def resolve(session: Session, who: str) -> tuple[Kind, Freezable]:
    """Whom a name or an id means. Raises `CommandError` where nobody or several have it."""
    organization = await session.organization()
    *rest, identifier = who.removeprefix(f"organizations/{organization}/").split("/")
    if len(rest) > 1 or (rest and rest[0].lower() not in KINDS):
        raise CommandError(
            f"{who!r} is no team, user, key or project of {organization}",
            hint="write team/ID, user/ID or key/ID",
        )
    kinds = [KINDS[rest[0].lower()]] if rest else sorted(set(KINDS.values()))
    found = [
        (kind, resource)
        for kind in kinds
        if (resource := await _find(session.connection, kind, name_of(organization, (kind, identifier))))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = [f"{_prefix(kind)}/{identifier}" for kind, _ in found]
        raise CommandError(f"{identifier!r} is several: {', '.join(candidates)}", hint="name one of them")
    known = await _known(session.connection, f"organizations/{organization}", kinds)
    what = kinds[0].label if len(kinds) == 1 else "team, user, project or API key"
    raise CommandError(
        f"there is no {what} {identifier!r} in {organization}",
        code=ExitCode.NOT_FOUND,
        hint=did_you_mean(identifier, known),
    )


def _prefix(kind: Kind) -> str:
    return "key" if kind is Kind.KEY else kind.label


async def _find(connection: Connection, kind: Kind, name: str) -> Freezable | None:
    directory = connection.directory
    try:
        if kind is Kind.TEAM:
            return await connection.call(directory.GetTeam, directory_pb2.GetTeamRequest(name=name))
        if kind is Kind.USER:
            return await connection.call(directory.GetUser, directory_pb2.GetUserRequest(name=name))
        if kind is Kind.KEY:
            return await connection.call(directory.GetApiKey, directory_pb2.GetApiKeyRequest(name=name))
        return await connection.call(directory.GetProject, directory_pb2.GetProjectRequest(name=name))
    except ApiError as error:
        if error.reason == "RESOURCE_NOT_FOUND":
            return None
        raise


async def _known(connection: Connection, parent: str, kinds: list[Kind]) -> list[str]:
    ids: list[str] = []
    if Kind.TEAM in kinds:
        ids += [output.short_id(item.name) async for item in list_teams(connection, parent)]
    if Kind.USER in kinds:
        ids += [output.short_id(item.name) async for item in list_users(connection, parent)]
    if Kind.KEY in kinds:
        ids += [output.short_id(item.name) async for item in list_keys(connection, parent)]
    if Kind.PROJECT in kinds:
        ids += [output.short_id(item.name) async for item in list_projects(connection, parent)]
    return ids


async def _set(connection: Connection, kind: Kind, name: str, disabled: bool) -> Freezable:
    directory, mask = connection.directory, FieldMask(paths=["disabled"])
    if kind is Kind.TEAM:
        team = directory_pb2.Team(name=name, disabled=disabled)
        return await connection.call(
            directory.UpdateTeam, directory_pb2.UpdateTeamRequest(team=team, update_mask=mask)
        )
    if kind is Kind.USER:
        user = directory_pb2.User(name=name, disabled=disabled)
        return await connection.call(
            directory.UpdateUser, directory_pb2.UpdateUserRequest(user=user, update_mask=mask)
        )
    if kind is Kind.KEY:
        key = directory_pb2.ApiKey(name=name, disabled=disabled)
        return await connection.call(
            directory.UpdateApiKey, directory_pb2.UpdateApiKeyRequest(api_key=key, update_mask=mask)
        )
    project = directory_pb2.Project(name=name, disabled=disabled)
    return await connection.call(
        directory.UpdateProject, directory_pb2.UpdateProjectRequest(project=project, update_mask=mask)
    )
