"""How a client reaches the service: in plaintext or by TLS, and as whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

Header = tuple[str, str]

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

    def channel(self, address: str, *, headers: Sequence[Header] = ()) -> grpc.aio.Channel:
        """A channel to `host:port`. `headers` are sent with every call."""
        sent = [*headers, *([("authorization", f"Bearer {self.token}")] if self.token else [])]
        interceptors: list[Any] = [_Unary(sent), _Stream(sent)] if sent else []
        if not self.tls:
            return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors)
        secure = grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
        return grpc.aio.secure_channel(address, secure, options=_OPTIONS, interceptors=interceptors)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = headers

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._headers), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = headers

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_with(details, self._headers), request)


def _with(details: Any, headers: Sequence[Header]) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), *headers)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
