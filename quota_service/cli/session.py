"""One run of a command against the server: connection, organization, and failures in plain words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from quota.client import ApiError, Connection, Credentials, connect
from quota.v1 import directory_pb2
from quota_service.cli import credentials, options
from quota_service.cli.failures import CommandError, ExitCode, from_api
from quota_service.cli.output import short_id

PAGE_SIZE = 1000
TOKEN_VARIABLE = "QUOTA_TOKEN"

Result = TypeVar("Result")
Item = TypeVar("Item")


class Page(Protocol):
    """An answer with a token of the next page."""

    next_page_token: str


PageType = TypeVar("PageType", bound=Page)


@dataclass(slots=True, kw_only=True)
class Session:
    """A connection and the options of the command."""

    connection: Connection
    globals: options.Globals

    async def organization(self) -> str:
        """Id of the organization to work on: the one named, else the only one there is."""
        if self.globals.organization:
            return self.globals.organization
        ids = await self.organizations()
        if len(ids) == 1:
            return ids[0]
        if not ids:
            raise CommandError(
                "there is no organization yet",
                code=ExitCode.NOT_FOUND,
                hint="load one: quota apply -f examples/acme.yaml",
            )
        raise CommandError(
            f"there are several organizations: {', '.join(ids)}",
            hint="name one with --organization or QUOTA_ORGANIZATION",
        )

    async def parent(self) -> str:
        """Resource name of the organization to work on."""
        return f"organizations/{await self.organization()}"

    async def organizations(self) -> list[str]:
        """Ids of all organizations."""

        async def page(token: str) -> directory_pb2.ListOrganizationsResponse:
            request = directory_pb2.ListOrganizationsRequest(page_size=PAGE_SIZE, page_token=token)
            return await self.connection.call(self.connection.directory.ListOrganizations, request)

        return [short_id(item.name) async for item in paged(page, lambda answer: answer.organizations)]


async def paged(
    page: Callable[[str], Awaitable[PageType]], items: Callable[[PageType], Sequence[Item]]
) -> AsyncIterator[Item]:
    """Every item of a list, page after page."""
    token = ""
    while True:
        answer = await page(token)
        for item in items(answer):
            yield item
        token = answer.next_page_token
        if not token:
            return


@asynccontextmanager
async def open_session(given: options.Globals) -> AsyncIterator[Session]:
    """A session with the server of these options; failed calls become the command's failures."""
    try:
        called_as = _credentials(given)
        async with connect(
            given.target, timeout_s=given.timeout_s, credentials=called_as, reason=given.reason
        ) as connection:
            yield Session(connection=connection, globals=given)
    except ApiError as error:
        raise from_api(error, given.target) from None


def _credentials(given: options.Globals) -> Credentials:
    """As whom to call, and how. Raises CommandError where a file cannot be read."""
    tls = credentials.tls(given)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if given.token_file:
        token = credentials.contents(given.token_file).decode(errors="replace").strip()
    if not token.isascii() or not token.isprintable():
        raise CommandError("the service token is not one line of printable ASCII")
    return Credentials(token=token, tls=True, **tls._asdict()) if tls else Credentials(token=token)


def run(work: Callable[[Session], Coroutine[Any, Any, Result]]) -> Result:
    """Runs the work of a command in a session."""
    given = options.current()

    async def in_session() -> Result:
        async with open_session(given) as session:
            return await work(session)

    return asyncio.run(in_session())
