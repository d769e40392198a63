"""What Envoy says to the service, without Envoy: one Check, and the streams of its two filters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from quota.v1 import directory_pb2, quota_pb2, report_pb2
from quota_service.edge.envoy.api.envoy.config.core.v3 import base_pb2
from quota_service.edge.envoy.api.envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2
from tests.support.service import ACME, Client

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GENERATE = "/v1beta/models/gemini-2.5-flash:generateContent"
QUESTION = {
    "model": "gpt-4o",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}

Attributes = attribute_context_pb2.AttributeContext
ProcessingRequest = external_processor_pb2.ProcessingRequest
ProcessingResponse = external_processor_pb2.ProcessingResponse


async def secret_of(client: Client, id_: str = "key-of-ada", **key: Any) -> str:
    """The secret of a new key of acme's; Ada's, unless said otherwise."""
    made = directory_pb2.ApiKey(**(key or {"user": "ada"}))
    request = directory_pb2.CreateApiKeyRequest(parent=ACME, api_key_id=id_, api_key=made)
    return (await client.directory.CreateApiKey(request)).secret


def check_request(
    body: Any = None,
    *,
    path: str = CHAT,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    several: Iterable[tuple[str, str]] = (),
    extensions: Mapping[str, str] | None = None,
    principal: str = "",
    claims: Mapping[str, Any] | None = None,
) -> external_auth_pb2.CheckRequest:
    """`several`: headers as Envoy sends them raw, where one name may come twice. `claims`: of a verified
    token, under `claims`.
    """
    raw = body if isinstance(body, bytes) else json.dumps(QUESTION if body is None else body).encode()
    http = Attributes.HttpRequest(method=method, path=path, headers=dict(headers or {}), raw_body=raw)
    for name, value in several:
        http.header_map.headers.add(key=name, raw_value=value.encode())
    attributes = Attributes(
        source=Attributes.Peer(principal=principal),
        request=Attributes.Request(http=http),
        context_extensions=dict(extensions or {}),
    )
    if claims is not None:
        told = attributes.metadata_context.filter_metadata["envoy.filters.http.jwt_authn"]
        told.update({"claims": dict(claims)})
    return external_auth_pb2.CheckRequest(attributes=attributes)


def with_key(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


class Envoy:
    """Asks a server as Envoy does."""

    def __init__(self, client: Client, token: str = "") -> None:
        channel = client.channel
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._check: Any = channel.unary_unary(
            "/envoy.service.auth.v3.Authorization/Check",
            external_auth_pb2.CheckRequest.SerializeToString,
            external_auth_pb2.CheckResponse.FromString,
        )
        self._process: Any = channel.stream_stream(
            "/envoy.service.ext_proc.v3.ExternalProcessor/Process",
            ProcessingRequest.SerializeToString,
            ProcessingResponse.FromString,
        )

    def check(self, request: external_auth_pb2.CheckRequest, **call: Any) -> Any:
        return self._check(request, metadata=self._metadata, **call)

    def process(self, phase: str) -> Any:
        """A stream of the filter of a phase; "": of one that does not say."""
        metadata = (*self._metadata, *((("x-quota-phase", phase),) if phase else ()))
        return self._process(metadata=metadata)


def status(answer: external_auth_pb2.CheckResponse) -> int:
    """The HTTP status of a denial; 200 of an allowance."""
    return answer.denied_response.status.code if answer.HasField("denied_response") else 200


def told(answer: external_auth_pb2.CheckResponse) -> dict[str, str]:
    """The headers of a denial."""
    return {each.header.key: each.header.value for each in answer.denied_response.headers}


def error(answer: external_auth_pb2.CheckResponse) -> Any:
    """What a denial's body says."""
    return json.loads(answer.denied_response.body)["error"]


def reservation_of(answer: external_auth_pb2.CheckResponse) -> str:
    """The name of the reservation; "" without one."""
    fields = answer.dynamic_metadata.fields
    return fields["reservation"].string_value if "reservation" in fields else ""


async def reservation(client: Client, answer: external_auth_pb2.CheckResponse) -> quota_pb2.Reservation:
    return await client.quota.GetReservation(quota_pb2.GetReservationRequest(name=reservation_of(answer)))


def metadata(answer: external_auth_pb2.CheckResponse) -> base_pb2.Metadata:
    """As Envoy hands it on."""
    handed = Struct()
    handed.CopyFrom(answer.dynamic_metadata)
    return base_pb2.Metadata(filter_metadata={"envoy.filters.http.ext_authz": handed})


def headers_of(values: Mapping[str, str]) -> base_pb2.HeaderMap:
    return base_pb2.HeaderMap(
        headers=[base_pb2.HeaderValue(key=name, raw_value=value.encode()) for name, value in values.items()]
    )


async def entries(client: Client, *types: str) -> list[report_pb2.LedgerEntry]:
    """The ledger's entries of acme, of these types, the oldest first."""
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_size=1_000)
    listed = await client.reports.ListLedgerEntries(request)
    wanted = [report_pb2.LedgerEntry.Type.Value(f"TYPE_{each}") for each in types]
    return [each for each in reversed(listed.ledger_entries) if not wanted or each.type in wanted]
