"""The request phase: the call as it was granted, where that is another than was asked for."""

from __future__ import annotations

from quota_service.edge.dialects.calls import CallMalformed
from quota_service.edge.dialects.paths import endpoint_of, path_with_model
from quota_service.edge.dialects.rewriting import rewritten
from quota_service.edge.envoy.api.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HttpBody,
    HttpHeaders,
    ImmediateResponse,
    ProcessingResponse,
)
from quota_service.edge.envoy.api.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from quota_service.edge.envoy.http_call import header_values
from quota_service.edge.envoy.ticket import Ticket


def headers(ticket: Ticket, sent: HttpHeaders) -> ProcessingResponse:
    """What becomes of a request's headers."""
    response = ProcessingResponse(request_headers=HeadersResponse(response=CommonResponse()))
    path = header_values(sent.headers).get(":path", ("",))[0]
    if ticket.rewrite_model and _names_model(path):
        response.request_headers.response.header_mutation.CopyFrom(
            _set(":path", path_with_model(path, ticket.rewrite_model))
        )
    return response


def body(ticket: Ticket, sent: HttpBody) -> ProcessingResponse:
    """What becomes of a request's body."""
    try:
        written = rewritten(
            ticket.kind,
            sent.body,
            model=ticket.rewrite_model,
            max_output_tokens=None if ticket.rewrite_output_tokens < 0 else ticket.rewrite_output_tokens,
            provider=ticket.provider,
        )
    except CallMalformed:
        return _STOPPED
    return ProcessingResponse(
        request_body=BodyResponse(
            response=CommonResponse(
                header_mutation=_set("content-length", str(len(written))),
                body_mutation=BodyMutation(body=written),
            )
        )
    )


def _names_model(path: str) -> bool:
    """Gemini's do, and Azure's deployments."""
    endpoint = endpoint_of("POST", path)
    return endpoint is not None and bool(endpoint.model)


def _set(name: str, value: str) -> HeaderMutation:
    option = HeaderValueOption(
        header=HeaderValue(key=name, raw_value=value.encode()),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return HeaderMutation(set_headers=[option])


_STOPPED = ProcessingResponse(
    immediate_response=ImmediateResponse(
        status=HttpStatus(code=StatusCode.InternalServerError),
        body=b'{"error": {"message": "The request is not the one that was authorized."}}',
        details="the body cannot be rewritten",
    )
)
"""It was read by Check, so it is another one: nothing is let pass that was not priced."""
