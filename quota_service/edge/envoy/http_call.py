"""The HTTP request that Envoy asks about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct

from quota_service.edge.envoy.api.envoy.config.core.v3.base_pb2 import HeaderMap
from quota_service.edge.envoy.api.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext

PARTIAL_BODY = "x-envoy-auth-partial-body"
"""Envoy's own header: whether it cut the body off. It replaces one that the caller sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """`headers`: names in lower case, and every value that was sent. `extensions`: what Envoy's configuration
    says of the route. `principal`: of the client's certificate, "" without one. `metadata`: of Envoy's other
    filters, by their names.
    """

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    body: bytes
    extensions: Mapping[str, str]
    principal: str
    metadata: Mapping[str, Struct]

    def header(self, name: str) -> str:
        """Its value where it was sent once; "" otherwise: of several nobody knows which one is meant."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else ""

    @property
    def is_whole(self) -> bool:
        return self.header(PARTIAL_BODY) != "true"


def http_call(attributes: AttributeContext) -> HttpCall:
    """What a CheckRequest tells."""
    http = attributes.request.http
    return HttpCall(
        method=http.method,
        path=http.path,
        headers=header_values(http.header_map) or {name: (value,) for name, value in http.headers.items()},
        body=http.raw_body or http.body.encode(),
        extensions=dict(attributes.context_extensions),
        principal=attributes.source.principal,
        metadata=attributes.metadata_context.filter_metadata,
    )


def header_values(headers: HeaderMap) -> dict[str, tuple[str, ...]]:
    """Every value of every header, in the order in which they were sent."""
    found: dict[str, tuple[str, ...]] = {}
    for header in headers.headers:
        value = header.value or header.raw_value.decode("utf-8", "replace")
        found[header.key] = (*found.get(header.key, ()), value)
    return found
