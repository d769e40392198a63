"""What a server needs to ask who calls and to speak TLS, made once for a directory: for trying it out.

The authority's own key is not kept: nobody can sign anything with it later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HOSTS = ("localhost", "127.0.0.1", "::1")


class SecuredFiles(NamedTuple):
    """`ca`: what clients trust. `token`: of a caller that may do everything, for its owner's eyes only."""

    ca: Path
    certificate: Path
    key: Path
    callers: Path
    token: Path


def secured_files(directory: Path, first_caller: Callable[[], tuple[str, str]]) -> SecuredFiles:
    """The files, made where they are not there yet. `first_caller`: makes a token, and the line of
    the file of callers for it.
    """
    files = SecuredFiles(
        *(directory / name for name in ("ca.pem", "server.pem", "server.key", "callers.yaml", "token"))
    )
    if all(file.exists() for file in files):
        return files
    import trustme  # an extra: production need not have it

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = trustme.CA(organization_name="Quota Service, for trying out")
    issued = authority.issue_cert(*HOSTS)
    token, line = first_caller()
    _write(files.ca, authority.cert_pem.bytes())
    _write(files.certificate, b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    _write(files.key, issued.private_key_pem.bytes())
    _write(files.token, token.encode())
    _write(files.callers, f"callers:\n{line}\n".encode())
    return files


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
