"""Closes a server's sockets beneath gRPC.

When gRPC's core stops it answers calls that it has read but not handed over, and those that are on their way,
CANCELLED, as though their callers had wanted it. A connection that ends makes them UNAVAILABLE instead, which
is true, and which callers try again elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_OPEN_FILES = Path("/dev/fd")


def cut(address: str) -> None:
    """Ends listening on `host:port` or `unix:path`, then every connection to it: what has been written still
    arrives. Does nothing where a system does not list open files.
    """
    # The port first, so that no connection begins between the two.
    for number, listening in _sockets(address, listening=True):
        # Listening is not ended but replaced: gRPC would log an accept that fails as an error.
        with listening, socket.socket(listening.family) as idle:
            os.dup2(idle.fileno(), number, inheritable=False)
    for _, connected in _sockets(address, listening=False):
        with connected, suppress(OSError):  # its caller was first
            connected.shutdown(socket.SHUT_RDWR)


def _sockets(address: str, *, listening: bool) -> Iterator[tuple[int, socket.socket]]:
    """The process's sockets of one side of an address: their numbers, and duplicates to be closed."""
    numbers = [int(path.name) for path in _OPEN_FILES.iterdir()] if _OPEN_FILES.is_dir() else []
    for number in numbers:
        found = _duplicate(number)
        if found is None:
            continue
        if _serves(found, address) and _listens(found) == listening:
            yield number, found
        else:
            found.close()


def _duplicate(number: int) -> socket.socket | None:
    """Nothing where it is no socket, or has been closed meanwhile."""
    try:
        duplicate = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return None


def _serves(found: socket.socket, address: str) -> bool:
    if found.type != socket.SOCK_STREAM:
        return False
    try:
        name: Any = found.getsockname()
    except OSError:
        return False
    if found.family == socket.AF_UNIX:
        return address == f"unix:{name}"
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return not address.startswith("unix:") and name[1] == int(address.rpartition(":")[2])


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
