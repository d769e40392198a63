"""Which sockets are ended beneath gRPC, and which are nobody's business."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from quota_service.edge import sockets
from tests.unit.test_edge_server import a_server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listener(stack: ExitStack, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    return stack.enter_context(socket.create_server((host, port)))


def connected(
    stack: ExitStack, listening: socket.socket, source: tuple[str, int] | None = None
) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection, the caller's first."""
    caller = stack.enter_context(socket.create_connection(listening.getsockname(), 5, source))
    accepted, _ = listening.accept()
    return caller, stack.enter_context(accepted)


def listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def is_open(caller: socket.socket, accepted: socket.socket) -> bool:
    try:
        accepted.sendall(b"x")
        return caller.recv(1) == b"x"
    except OSError:
        return False


def test_what_listens_and_what_was_accepted_there_is_ended(stack: ExitStack) -> None:
    others = sockets.listening()
    own = listener(stack)
    caller, accepted = connected(stack, own)
    places = sockets.listening() - others
    assert places == {own.getsockname()}

    sockets.cut(places)
    assert not listens(own)
    assert not is_open(caller, accepted)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", next(iter(places))[1]), 5)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no other loopback addresses")
def test_the_same_port_on_another_host_is_somebody_elses(stack: ExitStack) -> None:
    own = listener(stack)
    port = own.getsockname()[1]
    other, store = listener(stack, "127.0.0.2", port), listener(stack)
    to_other = connected(stack, other)
    # As a connection to a store may have it, whose own port the system chooses.
    to_store = connected(stack, store, ("127.0.0.3", port))

    sockets.cut({("127.0.0.1", port)})
    assert not listens(own)
    assert listens(other)
    assert is_open(*to_other)
    assert is_open(*to_store)


def test_who_listens_on_every_host_has_connections_of_each(stack: ExitStack) -> None:
    own = listener(stack, "0.0.0.0")
    port = own.getsockname()[1]
    accepted = connected(stack, own)

    sockets.cut({("0.0.0.0", port)})
    assert not listens(own)
    assert not is_open(*accepted)


@pytest.mark.parametrize("form", ["unix:{path}", "unix://{path}"])
async def test_a_stopping_server_ends_a_unix_socket_however_it_was_named(tmp_path: Path, form: str) -> None:
    path = tmp_path / "quota"
    server, _ = a_server()
    before = sockets.listening()
    server.listen(form.format(path=path))
    [place] = sockets.listening() - before
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        await channel.channel_ready()
        await server.shutdown(drain_s=0, grace_s=1)
    assert place not in sockets.listening()
