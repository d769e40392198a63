"""The program of a worker. Its supervisor starts it, and talks to it over its standard input."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

import uvloop

from quota_service import compose
from quota_service.cli import demonstration, options
from quota_service.cli.failures import CommandError
from quota_service.cli.main import DEBUG_VARIABLE, fault
from quota_service.cli.start_failures import failures
from quota_service.workers.messages import Begin, Failed, Link


def main() -> int:
    """Works until it is told to stop, or its supervisor has ended. Returns the exit code."""
    return uvloop.run(_work())


async def _work() -> int:
    link = Link(*await asyncio.open_connection(sock=socket.socket(fileno=0)))
    begin = await link.hear()
    if not isinstance(begin, Begin):
        return 0  # its supervisor has ended
    try:
        with failures():
            await compose.work(begin, link, _demonstrate)
    except Exception as error:
        told = error if isinstance(error, CommandError) else fault(error)
        link.tell(Failed(str(told), told.code, told.details, told.hint))
        await link.told()
        if told is not error and DEBUG_VARIABLE in os.environ:
            raise
        return told.code
    return 0


async def _demonstrate(given: Mapping[str, str | int | bool]) -> None:
    with failures():
        await demonstration.load(options.Globals(**given))  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
