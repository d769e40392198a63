"""What a command reaches the server with: files that are read when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from quota_service.cli import options
from quota_service.cli.failures import CommandError


class Tls(NamedTuple):
    """In PEM. `ca`: who signs the server's certificate; `None`: an authority that the system trusts. The
    others are the command's own, for servers that want one.
    """

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None


def tls(given: options.Globals) -> Tls | None:
    """`None`: plaintext. Raises CommandError where a file cannot be read."""
    if bool(given.cert) != bool(given.key):
        raise CommandError("--cert and --key belong together: give both")
    if not (given.tls or given.ca or given.cert):
        return None
    return Tls(*(contents(file) if file else None for file in (given.ca, given.cert, given.key)))


def contents(file: str) -> bytes:
    """Raises CommandError where it cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
