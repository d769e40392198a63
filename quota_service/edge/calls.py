"""What surrounds every call: the layers between gRPC and a servicer's method.

gRPC's own interceptors run anew for every call and look the handler up each time. These layers are put around
a method once, when it is registered, and cost a coroutine each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc.aio import AbortError

from quota.v1.directory_pb2 import ResolveApiKeyRequest
from quota_service.application import authorship
from quota_service.domain.audit import Authorship
from quota_service.domain.errors import (
    DeadlineTooShort,
    FieldProblem,
    InvalidRequest,
    Overloaded,
    QuotaError,
)
from quota_service.edge import authors
from quota_service.edge.access.control import Access, Within
from quota_service.edge.errors import DeadlinePassed, InternalFault, answer_to, status_of
from quota_service.edge.secrets import has_secret
from quota_service.edge.traffic import OVERLOADED, Bounds, Door, Kind, Traffic, kind_of
from quota_service.edge.validation import validate

_SECRET_SENT = "the request has a secret in it: send ids, and secrets of API keys to ResolveApiKey alone"

REQUEST_ID = "x-request-id"
REQUEST_ID_LENGTH_MAX = 128
STATUS_DETAILS = "grpc-status-details-bin"

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class Method(NamedTuple):
    """A method by its full name, such as `quota.v1.QuotaService/Authorize`, and the message that it takes."""

    name: str
    request: type[Message]


class Observer(Protocol):
    """Told of every call that has ended."""

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """`deadline_s` is for calls without a deadline; those that leave less than `deadline_min_s` are refused.

    Refused are more than `in_flight_max` calls at a time of those that begin something, and of those that
    look or administer; more than `settling_max` of those that settle; more than `streams_max` streams. While
    the event loop is behind, the first two have `behind_max`, and those that settle `settling_behind_max`.
    Without an `observer` nothing is measured. Without an `access` nobody is asked who they are.
    """

    deadline_s: float = 30.0
    deadline_min_s: float = 0.001
    in_flight_max: int = 1_000
    settling_max: int = 4_000
    streams_max: int = 1_000
    behind_max: int = 4
    settling_behind_max: int = 512
    observer: Observer | None = None
    access: Access | None = None

    def bounds(self, kind: Kind) -> Bounds:
        """How many calls of a kind may be under way."""
        if kind is Kind.LASTS:
            return Bounds(self.streams_max, self.streams_max)  # those under way cost next to nothing
        if kind is Kind.SETTLES:
            return Bounds(self.settling_max, min(self.settling_max, self.settling_behind_max))
        return Bounds(self.in_flight_max, min(self.in_flight_max, self.behind_max))


class Call:
    """One call."""

    __slots__ = ("_request_id", "admit", "context", "method", "request", "within")

    def __init__(self, method: Method, context: Context) -> None:
        self.method = method
        self.context = context
        self.request: Message | None = None  # once it has been read, and is valid
        self.admit: Callable[[], Within] | None = None  # raises where the caller may not call any more
        self.within: Within | None = None  # looks whether the request is its caller's
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """The caller's own, or a random one."""
        if not self._request_id:
            self._request_id = sent_request_id(self.context) or token_hex(8)
        return self._request_id

    def authorship(self) -> Authorship:
        """Who makes the changes that it brings."""
        return authors.authorship(self.method.name, self.request_id, self.context)


Answer = Message | None
"""What a call is answered with; `None`: with what its context was told, or with the messages of a stream."""

Handler = Callable[[Call], Awaitable[Answer]]
Layer = Callable[[Handler, CallSettings], Handler]
GrpcMethod = Callable[[Any, Context], Awaitable[Answer]]
"""Registered as though its requests were a stream: the request is read when the call is taken on."""


def sent_request_id(context: Context) -> str:
    """The request id that the caller sent, "" where it sent none that is printable, of a sane length, and no
    secret.
    """
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str):
            is_sane = value.isprintable() and len(value) <= REQUEST_ID_LENGTH_MAX
            return value if is_sane and not has_secret(value.encode()) else ""
    return ""


def guarded(handler: Handler, _: CallSettings) -> Handler:
    """No text of an exception leaves: whatever nobody expected is logged, and answered as INTERNAL."""

    async def guard(call: Call) -> Answer:
        try:
            return await handler(call)
        except grpc.aio.InternalError:
            raise  # an answer that could not be given: the caller has gone
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the caller has gone
            # Something that was waited for was cancelled: raised further, it would leave the caller waiting.
            log.exception("cancelled inside", method=call.method.name, request_id=call.request_id)
            await _refuse(call, InternalFault())
            return None
        except Exception:
            log.exception("unexpected", method=call.method.name, request_id=call.request_id)
            await _refuse(call, InternalFault())
            return None

    return guard


def identified(handler: Handler, _: CallSettings) -> Handler:
    """Returns the request id that a caller sent. Who sent none gets one with errors only: it takes time."""

    async def identify(call: Call) -> Answer:
        sent = sent_request_id(call.context)
        if sent:
            call.context.set_trailing_metadata(((REQUEST_ID, sent),))
        return await handler(call)

    return identify


def observed(handler: Handler, settings: CallSettings) -> Handler:
    """Tells the observer how long a call took and how it ended. Without an observer there is no layer."""
    observer = settings.observer
    if observer is None:
        return handler

    async def observe(call: Call) -> Answer:
        begun = time.perf_counter()
        code = grpc.StatusCode.INTERNAL  # what the guard makes of everything else
        answer: Answer = None
        try:
            answer = await handler(call)
            code = _code(call.context)
            return answer
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            observer.call_ended(call, answer, code, time.perf_counter() - begun)

    return observe


def translated(handler: Handler, _: CallSettings) -> Handler:
    """Errors that are meant for callers are answered with their status and reason."""

    async def translate(call: Call) -> Answer:
        try:
            return await handler(call)
        except QuotaError as error:
            await _refuse(call, error)
            return None

    return translate


def shed(traffic: Traffic, kind: Kind) -> Layer:
    """More calls than the server can serve in time are refused at once, as are all while it stops."""

    def bounded(handler: Handler, settings: CallSettings) -> Handler:
        enter: Door[Call, Answer] = traffic.door(kind, settings.bounds(kind))

        async def count(call: Call) -> Answer:
            return await enter(handler, call)

        return count

    return bounded


def admitted(handler: Handler, settings: CallSettings) -> Handler:
    """Nobody gets further than they may. Where nobody is asked there is no layer."""
    access = settings.access
    if access is None:
        return handler

    async def admit(call: Call) -> Answer:
        call.admit = partial(access.admit, call.method.name, call.context)
        call.within = call.admit()
        return await handler(call)

    return admit


def timed(handler: Handler, settings: CallSettings) -> Handler:
    """Gives calls without a deadline one of the server's own. gRPC itself ends those that have one."""

    async def limit(call: Call) -> Answer:
        remaining: float | None = call.context.time_remaining()
        if remaining is not None:
            if remaining < settings.deadline_min_s:
                raise DeadlineTooShort("The deadline leaves too little time to begin; nothing was done.")
            return await handler(call)
        try:
            async with asyncio.timeout(settings.deadline_s):
                return await handler(call)
        except TimeoutError:
            raise DeadlinePassed(f"The call was not finished within {settings.deadline_s:g} s.") from None

    return limit


def layers(traffic: Traffic, kind: Kind) -> tuple[Layer, ...]:
    """What surrounds a method, the outermost first."""
    return (
        guarded,  # outermost, so that nothing passes it
        identified,  # before anything can fail
        observed,  # sees the answer as the caller gets it, so it surrounds what makes answers of errors
        translated,  # surrounds everything that raises errors for callers, which is everything below
        shed(traffic, kind),  # before any work, even before the request is read
        admitted,  # before the request is read, too
        timed,  # innermost: only the call itself takes long
    )


def surrounded(
    method: Method,
    function: Callable[[Any, Context], Awaitable[Message]],
    settings: CallSettings,
    traffic: Traffic,
) -> GrpcMethod:
    """A servicer's method with all layers around it, for gRPC to call before it has read the request."""

    async def answer(call: Call) -> Answer:
        return await function(await received(call), call.context)

    return layered(method, answer, layers(traffic, kind_of(method.name)), settings)


def layered(method: Method, handler: Handler, around: Sequence[Layer], settings: CallSettings) -> GrpcMethod:
    """A method's handler with layers around it, the outermost first."""
    for layer in reversed(around):
        handler = layer(handler, settings)

    async def handle(_: object, context: Context) -> Answer:
        return await handler(Call(method, context))

    return handle


async def received(call: Call) -> Message:
    """The request, valid. Raises InvalidRequest."""
    raw = await call.context.read()
    if not isinstance(raw, bytes):
        raise InvalidRequest(FieldProblem("", "the call has no request"))
    request = decoded(call.method, raw)
    if call.within is not None and (looking := call.within(request)) is not None:
        await looking
    call.request = request
    authorship.begin(call.authorship)
    return request


async def require_still(call: Call, request: Message) -> None:
    """Raises what a call is refused with whose caller may not make it, or not with this request, any more."""
    if call.admit is not None and (looking := call.admit()(request)) is not None:
        await looking


def decoded(method: Method, raw: bytes) -> Message:
    """The request, valid. Decoded here and not by gRPC, whose answer to garbage would be a fault of the
    server. Raises InvalidRequest.
    """
    kind = method.request
    if has_secret(raw) and kind is not ResolveApiKeyRequest:
        raise InvalidRequest(
            FieldProblem("", _SECRET_SENT)
        )  # before it is anywhere: an error, the ledger, a log
    try:
        request = kind.FromString(raw)
    except DecodeError:
        raise InvalidRequest(FieldProblem("", f"the request is not a {kind.DESCRIPTOR.full_name}")) from None
    validate(request)
    return request


async def _refuse(call: Call, error: QuotaError) -> None:
    """Ends the call with the error's status, alone: gRPC's clients try no call again by themselves that has
    been answered with anything else. After an overload they are not to, and to end calls so is dear.
    """
    is_flood = isinstance(error, Overloaded)
    message, details = _OVERLOADED if is_flood else _told(error)
    metadata = ((STATUS_DETAILS, details), (REQUEST_ID, call.request_id))
    if is_flood:
        call.context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        call.context.set_details(message)
        call.context.set_trailing_metadata(metadata)
        return
    try:
        await call.context.abort(answer_to(error).code, message, metadata)
    except AbortError as ended:
        # gRPC keeps it with the call, and raises it again. With what it refers to it would keep the call in
        # turn: under a flood thousands would wait for the collector, and everybody for the collector.
        ended.__traceback__ = ended.__context__ = None


def _told(error: QuotaError) -> tuple[str, bytes]:
    status = status_of(error)
    return status.message, status.SerializeToString()


_OVERLOADED = _told(Overloaded(OVERLOADED))
"""Encoded once: a refusal must cost next to nothing."""


def _code(context: Context) -> grpc.StatusCode:
    """The status that was set on a call; OK where none was."""
    told: Any = context.code()  # gRPC says it as a number, or not at all
    code = told or 0
    return next(
        (known for known in grpc.StatusCode if code in (known, known.value[0])), grpc.StatusCode.UNKNOWN
    )
