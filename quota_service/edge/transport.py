"""TLS on the server's port. Certificates are read again when their files change."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog

log = structlog.get_logger(__name__)


class TlsFiles(NamedTuple):
    """PEM files. `client_ca`: whoever connects must show a certificate that it has signed; `None`: nobody."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class TlsFault(Exception):
    """A file cannot be used. The text says which, and why."""


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Raises TlsFault."""
    reading = _Reading(files)
    again: Any = reading.again  # may say None, which its type does not know
    return grpc.dynamic_ssl_server_credentials(
        reading.first, again, require_client_authentication=files.client_ca is not None
    )


class _Reading:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = self._look()
        self.first = _configuration(files)

    def again(self) -> grpc.ServerCertificateConfiguration | None:
        """What has changed; `None`: nothing. gRPC asks at every handshake, in a thread of its own."""
        stamps = self._look()
        if stamps == self._stamps:
            return None
        try:
            configuration = _configuration(self._files)
        except TlsFault as fault:
            log.error("certificates stay as they were", fault=str(fault))
            return None
        self._stamps = stamps
        log.info("certificates were read again")
        return configuration

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(file) for file in self._files if file is not None)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    pair = (_pem(files.key, "PRIVATE KEY"), _pem(files.certificate, "CERTIFICATE"))
    roots = _pem(files.client_ca, "CERTIFICATE") if files.client_ca is not None else None
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)


def _pem(file: Path, kind: str) -> bytes:
    try:
        found = file.read_bytes()
    except OSError as error:
        raise TlsFault(f"{file} cannot be read: {error.strerror}") from None
    if f"{kind}-----".encode() not in found:
        raise TlsFault(f"{file} has no {kind.lower()} in PEM.")
    return found
