"""How a client reaches the service: in plaintext or by TLS, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

# Without the proxy of the environment: the service is a neighbour, and HTTP proxies seldom speak gRPC.
_OPTIONS = (("grpc.enable_http_proxy", 0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`token`: a service token, sent with every call. `tls`: the channel is encrypted, and the server must
    show a certificate signed by `ca` (PEM), or, without one, by an authority that the system trusts.
    `certificate` and `key` (PEM) are the client's own, for servers that want one.

    A token is sent over TLS, or, in plaintext, to a server on the same machine.
    """

    token: str = field(default="", repr=False)
    tls: bool = False
    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    def channel(self, address: str) -> grpc.aio.Channel:
        """A channel to `host:port`."""
        interceptors: list[Any] = [_Unary(self.token), _Stream(self.token)] if self.token else []
        if not self.tls:
            return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors)
        secure = grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
        return grpc.aio.secure_channel(address, secure, options=_OPTIONS, interceptors=interceptors)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._header), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._header), request)


def _with(details: Any, header: tuple[str, str]) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), header)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
