"""Ports that are set aside before anybody listens on them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_SCHEMES = ("ipv4:", "ipv6:", "dns:")
_EVERY_HOST = ("", "0.0.0.0", "::", "*")


class AddressInUse(Exception):
    """An address cannot be listened on."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} cannot be listened on: another process may use it.")


class Reservation:
    """Keeps an address from everybody but processes of the same user who share their ports, as workers do.

    Nobody can connect to it: only those who listen there are connected to. It ends with the process.
    """

    def __init__(self, address: str) -> None:
        """`address`: `host:port`. Raises AddressInUse, also where a host is not known."""
        host, _, port = address.rpartition(":")
        self._sockets: list[socket.socket] = []
        try:
            number = self._bind(_places(host), int(port))
        except (OSError, ValueError, OverflowError) as error:
            self.close()
            raise AddressInUse(address) from error
        self.address = f"{host}:{number}"

    def _bind(self, places: Iterable[tuple[int, str]], number: int) -> int:
        """Binds wherever this machine has a place, as gRPC does, and returns the port's number."""
        failed: OSError | None = None
        for family, place in places:
            try:
                self._sockets.append(_bound(family, place, number))
                number = int(self._sockets[-1].getsockname()[1])
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise
                failed = error
        if failed is not None and not self._sockets:
            raise failed
        return number

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _places(host: str) -> Iterable[tuple[int, str]]:
    """Where gRPC listens for a host."""
    for scheme in _SCHEMES:
        host = host.removeprefix(scheme)
    host = host.strip("[]")
    if host in _EVERY_HOST:
        return [(socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else [(socket.AF_INET, "0.0.0.0")]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found)


def _bound(family: int, host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen. Raises OSError where anybody listens there, or reserves."""
    if port:  # who shares ports could bind what others share; who does not cannot
        with _socket(family, socket.SO_REUSEADDR) as alone:
            alone.bind((host, port))
    try:
        return _shared(family, host, port, socket.SO_REUSEPORT)
    except OSError:  # connections of an earlier server that are not forgotten yet stand in the way
        return _shared(family, host, port, socket.SO_REUSEPORT, socket.SO_REUSEADDR)


def _shared(family: int, host: str, port: int, *options: int) -> socket.socket:
    made = _socket(family, *options)
    try:
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def _socket(family: int, *options: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    for option in options:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return made
