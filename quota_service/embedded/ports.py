"""Free ports on the loopback interface."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from quota_service.embedded.errors import EmbeddedError

HOST = "127.0.0.1"
_ATTEMPTS = 3
_RETRY_AFTER_S = 0.2
_PASSING_FAULTS = ("Address already in use", "pre-existing shared memory block is still in use")


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def start_on_free_port(start: Callable[[int], Awaitable[None]]) -> int:
    """Run `start` with a free port and return the port; again with another when somebody took it in between.

    Raises:
        EmbeddedError: the server does not start for another reason, or repeatedly.
    """
    for _ in range(_ATTEMPTS - 1):
        port = free_port()
        try:
            await start(port)
        except EmbeddedError as error:
            if not any(fault in str(error) for fault in _PASSING_FAULTS):
                raise
            await asyncio.sleep(_RETRY_AFTER_S)
        else:
            return port
    port = free_port()
    await start(port)
    return port
