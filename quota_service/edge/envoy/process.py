"""`envoy.service.ext_proc.v3.ExternalProcessor`: around a call that Check has let pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from quota_service.domain.errors import FieldProblem, InvalidRequest, OrganizationNotFound
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.envoy import rewriting
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    HeadersResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from quota_service.edge.envoy.asking import LONG_BODY_BYTES
from quota_service.edge.envoy.http_call import header_values
from quota_service.edge.envoy.response import End, Response
from quota_service.edge.envoy.settling import Settling
from quota_service.edge.envoy.ticket import Ticket, ticket_of
from quota_service.edge.errors import DeadlinePassed
from quota_service.edge.traffic import STOPPING

PHASE = "x-quota-phase"
REQUEST, RESPONSE = "request", "response"
"""Initial metadata by which a filter says what it is there for."""

BODY_S = 5.0

Messages = AsyncIterator[ProcessingRequest]
Answers = AsyncGenerator[ProcessingResponse, None]


class ProcessorServicer:
    """One stream for each filter of each HTTP request."""

    def __init__(self, settling: Settling) -> None:
        self._settling = settling

    def Process(self, messages: Messages, context: Context) -> Answers:
        phase = dict(context.invocation_metadata() or ()).get(PHASE)
        if phase == REQUEST:
            return self._request(messages)
        if phase == RESPONSE:
            return self._response(messages)
        raise InvalidRequest(
            FieldProblem("", f"the filter's initial_metadata must say {PHASE}: {REQUEST} or {RESPONSE}")
        )

    async def _response(self, messages: Messages) -> Answers:
        """Answers only where Envoy waits for it: a filter that only observes does not."""
        response: Response | None = None
        end = End.BROKEN_OFF
        try:
            async for message in messages:
                response = response or self._begun(message)
                if response is None:
                    return  # it was denied, or is not metered
                _tell(response, message)
                if not message.observability_mode:
                    yield _ANSWERS[message.WhichOneof("request") or "request_headers"]
                if response.settled:
                    return
        except asyncio.CancelledError as cancelled:
            # Envoy ends a stream now so, now by its end; only of the server's own end the rest is not seen.
            end = End.UNSEEN if STOPPING in cancelled.args else end
            raise
        finally:
            if response is not None:
                response.ended(end)

    async def _request(self, messages: Messages) -> Answers:
        """Until all is answered that is due, the call has not been sent: if its caller goes, no response
        phase begins. Raises DeadlinePassed: to end without an answer would let it pass as it is.
        """
        ticket: Ticket | None = None
        is_due = True
        try:
            while is_due and (message := await _in_time(messages)) is not None:
                ticket = ticket or _ticket(message)
                answer = await _rewritten(ticket, message)
                is_due = _is_more_due(ticket, message)  # Envoy may cancel as soon as it has the last answer
                yield answer
        finally:
            if ticket is not None and is_due:
                self._settling.release(ticket, "the call was not sent to the upstream")

    def _begun(self, message: ProcessingRequest) -> Response | None:
        ticket = _ticket(message)
        return None if ticket is None else Response(ticket, self._settling)


async def _in_time(messages: Messages) -> ProcessingRequest | None:
    """The next message. Of a body that is longer than it can buffer Envoy says nothing, for ever."""
    try:
        async with asyncio.timeout(BODY_S):
            return await anext(messages, None)
    except TimeoutError:
        raise DeadlinePassed("The body of the request did not come.") from None


async def _rewritten(ticket: Ticket | None, message: ProcessingRequest) -> ProcessingResponse:
    rewrites = ticket is not None and ticket.rewrites
    match message.WhichOneof("request"):
        case "request_headers" if ticket is not None and rewrites:
            return rewriting.headers(ticket, message.request_headers)
        case "request_body" if ticket is not None and rewrites:
            if len(message.request_body.body) <= LONG_BODY_BYTES:
                return rewriting.body(ticket, message.request_body)
            return await asyncio.to_thread(rewriting.body, ticket, message.request_body)
        case other:
            return _ANSWERS[other or "request_headers"]


def _is_more_due(ticket: Ticket | None, message: ProcessingRequest) -> bool:
    """Whether the body is still to come that was asked for."""
    is_first = message.WhichOneof("request") == "request_headers"
    return is_first and ticket is not None and ticket.rewrites


def _ticket(message: ProcessingRequest) -> Ticket | None:
    """Raises OrganizationNotFound where it is of an organization that Envoy may not act for."""
    ticket = ticket_of(message.metadata_context)
    own = access.organization()
    if ticket is not None and own not in ("", ticket.organization):
        raise OrganizationNotFound(f"There is no organization “{ticket.organization}”.")
    return ticket


def _tell(response: Response, message: ProcessingRequest) -> None:
    match message.WhichOneof("request"):
        case "response_headers":
            headers = header_values(message.response_headers.headers)
            status, content_type, encoding = (
                headers.get(name, ("",))[0] for name in (":status", "content-type", "content-encoding")
            )
            response.began(status, content_type, encoding)
            ended = message.response_headers.end_of_stream
        case "response_body":
            response.went_on(message.response_body.body)
            ended = message.response_body.end_of_stream
        case "response_trailers":
            ended = True
        case _:
            ended = False
    if ended:
        response.ended(End.WHOLE)


_ANSWERS = {
    "request_headers": ProcessingResponse(request_headers=HeadersResponse()),
    "request_body": ProcessingResponse(request_body=BodyResponse()),
    "request_trailers": ProcessingResponse(request_trailers=TrailersResponse()),
    "response_headers": ProcessingResponse(response_headers=HeadersResponse()),
    "response_body": ProcessingResponse(response_body=BodyResponse()),
    "response_trailers": ProcessingResponse(response_trailers=TrailersResponse()),
}
"""Go on, with nothing changed."""
