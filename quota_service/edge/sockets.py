"""Closes a server's sockets beneath gRPC.

When gRPC's core stops it answers calls that it has read but not handed over, and those that are on their way,
CANCELLED, as though their callers had wanted it. A connection that ends makes them UNAVAILABLE instead, which
is true, and which callers try again elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_OPEN_FILES = Path("/dev/fd")
_EVERY_HOST = ("0.0.0.0", "::")  # what a socket that listens on all of them says

Place = tuple[str, int]
"""A socket's own host and port; of a UNIX socket its path, and 0."""


def listening() -> frozenset[Place]:
    """Where this process listens. Empty where a system does not list open files."""
    found = set()
    for _, duplicate, place in _sockets():
        with duplicate:
            if _listens(duplicate):
                found.add(place)
    return frozenset(found)


def cut(places: Collection[Place]) -> None:
    """Ends listening there, then every connection that was accepted there: what has been written still
    arrives. The port alone would not tell: other listeners, and connections to stores, may have the same on
    another host.
    """
    # The port first, so that no connection begins between the two.
    for number, duplicate, place in _sockets():
        with duplicate:
            if place in places and _listens(duplicate):
                _replace(number, duplicate.family)
    for _, duplicate, place in _sockets():
        with duplicate, suppress(OSError):  # its caller was first
            if _was_accepted(place, places) and not _listens(duplicate):
                duplicate.shutdown(socket.SHUT_RDWR)


def _replace(number: int, family: int) -> None:
    """Listening is not ended but replaced: gRPC would log an accept that fails as an error."""
    with socket.socket(family) as idle:
        os.dup2(idle.fileno(), number, inheritable=False)


def _was_accepted(place: Place, places: Collection[Place]) -> bool:
    """Whoever listens on every host leaves no other socket the port."""
    return place in places or any((host, place[1]) in places for host in _EVERY_HOST)


def _sockets() -> Iterator[tuple[int, socket.socket, Place]]:
    """The process's stream sockets: their numbers, duplicates to be closed, and where they are."""
    numbers = [int(path.name) for path in _OPEN_FILES.iterdir()] if _OPEN_FILES.is_dir() else []
    for number in numbers:
        found = _duplicate(number)
        if found is None:
            continue
        place = _place(found)
        if place is not None:
            yield number, found, place
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


def _place(found: socket.socket) -> Place | None:
    """Nothing where it is no stream socket of a kind that gRPC listens on."""
    if found.type != socket.SOCK_STREAM:
        return None
    try:
        name: Any = found.getsockname()
    except OSError:
        return None
    if found.family == socket.AF_UNIX:
        return str(name), 0
    return (name[0], name[1]) if found.family in (socket.AF_INET, socket.AF_INET6) else None


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
