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
from typing import Any, Protocol

import grpc
import structlog
from google.protobuf.message import Message

from quota_service.application import authorship
from quota_service.domain.audit import Authorship
from quota_service.domain.errors import (
    DeadlineTooShort,
    FieldProblem,
    InvalidRequest,
    QuotaError,
)
from quota_service.edge import headers
from quota_service.edge.access import control as access
from quota_service.edge.access.control import Access, Within
from quota_service.edge.decoding import Method, decoded
from quota_service.edge.errors import DeadlinePassed, InternalFault
from quota_service.edge.refusing import code_of, refuse
from quota_service.edge.traffic import Bounds, Door, Kind, Traffic, kind_of

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class Observer(Protocol):
    """Told of every call that has ended."""

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """`deadline_s` is for calls without a deadline; those that leave less than `deadline_min_s` are refused.

    Refused are more than `in_flight_max` calls at a time of those that begin something, and of those that
    look or administer; more than `settling_max` of those that settle; more than `streams_max` streams that
    are watched, and `filters_max` of Envoy's. While the event loop is behind, the first two have
    `behind_max`, and those that settle `settling_behind_max`.
    Without an `observer` nothing is measured. Without an `access` nobody is asked who they are.
    """

    deadline_s: float = 30.0
    deadline_min_s: float = 0.001
    in_flight_max: int = 1_000
    settling_max: int = 4_000
    streams_max: int = 1_000
    filters_max: int = 20_000
    behind_max: int = 4
    settling_behind_max: int = 512
    observer: Observer | None = None
    access: Access | None = None

    def bounds(self, kind: Kind) -> Bounds:
        """How many calls of a kind may be under way."""
        if kind is Kind.LASTS:
            return Bounds(self.streams_max, self.streams_max)  # those under way cost next to nothing
        if kind is Kind.FILTERS:
            return Bounds(self.filters_max, self.filters_max)  # of one that is refused nobody knows the usage
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
            self._request_id = headers.request_id(self.context) or token_hex(8)
        return self._request_id

    def authorship(self) -> Authorship:
        """Who makes the changes that it brings."""
        return Authorship(access.name(), self.method.name, self.request_id, headers.reason(self.context))


Answer = Message | None
"""What a call is answered with; `None`: with what its context was told, or with the messages of a stream."""

Handler = Callable[[Call], Awaitable[Answer]]
Layer = Callable[[Handler, CallSettings], Handler]
GrpcMethod = Callable[[Any, Context], Awaitable[Answer]]
"""Registered as though its requests were a stream: the request is read when the call is taken on."""


def caller_has_gone() -> bool:
    """Whether the call itself is cancelled. If not, something that it waited for was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def guarded(handler: Handler, _: CallSettings) -> Handler:
    """No text of an exception leaves: whatever nobody expected is logged, and answered as INTERNAL."""

    async def guard(call: Call) -> Answer:
        try:
            return await handler(call)
        except grpc.aio.InternalError:
            raise  # an answer that could not be given: the caller has gone
        except asyncio.CancelledError:
            if caller_has_gone():
                raise
            # Something that was waited for was cancelled: raised further, it would leave the caller waiting.
            log.exception("cancelled inside", method=call.method.name, request_id=call.request_id)
            return await _refused(call, InternalFault())
        except Exception:
            log.exception("unexpected", method=call.method.name, request_id=call.request_id)
            return await _refused(call, InternalFault())

    return guard


def identified(handler: Handler, _: CallSettings) -> Handler:
    """Returns the request id that a caller sent. Who sent none gets one with errors only: it takes time."""

    async def identify(call: Call) -> Answer:
        sent = headers.request_id(call.context)
        if sent:
            call.context.set_trailing_metadata(((headers.REQUEST_ID, sent),))
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
            code = code_of(call.context)
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
            return await _refused(call, error)

    return translate


async def _refused(call: Call, error: QuotaError) -> Answer:
    """The method's own way to say no, where it has one; else a status."""
    if call.method.refused is not None:
        return call.method.refused(error)
    await refuse(call.context, call.request_id, error)
    return None


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
