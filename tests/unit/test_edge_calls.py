"""What surrounds every call, on a real server in this process."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs

from quota.v1 import quota_pb2, types_pb2
from quota.v1.quota_pb2_grpc import QuotaServiceStub
from quota_service.domain.errors import BudgetNotFound, ReservationEnded, StoreUnavailable
from quota_service.edge.calls import (
    Answer,
    Call,
    CallSettings,
    guarded,
    identified,
    layers,
    translated,
)
from quota_service.edge.headers import REQUEST_ID
from quota_service.edge.server import register
from quota_service.edge.traffic import Kind, Traffic
from tests.support.refusals import answer, fields, refusal

if TYPE_CHECKING:
    from quota.v1.quota_pb2_grpc import QuotaServiceAsyncStub

SERVICE = quota_pb2.DESCRIPTOR.services_by_name["QuotaService"]
NAME = "organizations/acme/reservations/0190e0a0-0000-7000-8000-000000000000"
REQUEST = quota_pb2.GetReservationRequest(name=NAME)

Behaviour = Callable[[], Awaitable[quota_pb2.Reservation]]


class Servicer:
    """Every method does the same thing."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def __getattr__(self, method: str) -> Callable[[Any, Any], Awaitable[quota_pb2.Reservation]]:
        async def call(request: Any, context: Any) -> quota_pb2.Reservation:
            return await self._behaviour()

        return call


async def answered() -> quota_pb2.Reservation:
    return quota_pb2.Reservation(name=NAME)


async def fails() -> quota_pb2.Reservation:
    raise RuntimeError("postgresql://user:secret@host")


async def refuses() -> quota_pb2.Reservation:
    raise ReservationEnded("It has ended.")


async def cancels_itself() -> quota_pb2.Reservation:
    raise asyncio.CancelledError


async def never_ends() -> quota_pb2.Reservation:
    await asyncio.sleep(60)
    raise AssertionError


@asynccontextmanager
async def served(
    behaviour: Behaviour, settings: CallSettings | None = None, options: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[tuple[QuotaServiceAsyncStub, grpc.aio.Channel]]:
    server = grpc.aio.server()
    register(server, SERVICE, Servicer(behaviour), settings or CallSettings())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield QuotaServiceStub(channel), channel
    await server.stop(None)


async def test_an_answer_passes_all_layers() -> None:
    async with served(answered) as (stub, _):
        assert (await stub.GetReservation(REQUEST)).name == NAME
        assert (await stub.GetReservation(REQUEST, timeout=5)).name == NAME


async def test_no_text_of_an_exception_leaves_but_the_log_has_it_with_the_request_id() -> None:
    with capture_logs() as logs:
        async with served(fails) as (stub, _):
            error = await refusal(stub.GetReservation(REQUEST, metadata=((REQUEST_ID, "abc-1"),)))
    assert answer(error) == ("INTERNAL", "INTERNAL")
    assert "secret" not in repr(error) + str(error.trailing_metadata())
    assert dict(error.trailing_metadata())[REQUEST_ID] == "abc-1"
    assert [(line["request_id"], line["method"]) for line in logs] == [
        ("abc-1", "quota.v1.QuotaService/GetReservation")
    ]


async def test_an_error_for_callers_keeps_its_status_reason_and_message() -> None:
    async with served(refuses) as (stub, _):
        error = await refusal(stub.GetReservation(REQUEST))
    assert answer(error) == ("FAILED_PRECONDITION", "RESERVATION_ENDED")
    assert error.details() == "It has ended."
    assert len(dict(error.trailing_metadata())[REQUEST_ID]) == 16


async def test_a_request_id_comes_back_with_the_answer() -> None:
    async with served(answered) as (stub, _):
        call = stub.GetReservation(REQUEST, metadata=((REQUEST_ID, "abc-1"),))
        await call
        assert dict(await call.trailing_metadata())[REQUEST_ID] == "abc-1"


@pytest.mark.parametrize("sent", ["x" * 129, ""])
async def test_a_request_id_of_no_use_is_replaced(sent: str) -> None:
    async with served(refuses) as (stub, _):
        error = await refusal(stub.GetReservation(REQUEST, metadata=((REQUEST_ID, sent),)))
    assert len(dict(error.trailing_metadata())[REQUEST_ID]) == 16


async def test_a_call_that_is_cancelled_from_inside_is_answered() -> None:
    with capture_logs():
        async with served(cancels_itself) as (stub, _):
            error = await refusal(stub.GetReservation(REQUEST, timeout=5))
    assert error.code() is grpc.StatusCode.INTERNAL


async def test_a_call_without_a_deadline_gets_the_servers() -> None:
    async with served(never_ends, CallSettings(deadline_s=0.05)) as (stub, _):
        error = await refusal(stub.GetReservation(REQUEST))
    assert answer(error) == ("DEADLINE_EXCEEDED", "DEADLINE_PASSED")


async def test_a_deadline_that_leaves_no_time_is_refused_before_anything_is_done() -> None:
    async with served(fails, CallSettings(deadline_min_s=10.0)) as (stub, _):
        error = await refusal(stub.GetReservation(REQUEST, timeout=5))
    assert answer(error) == ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT")


async def test_calls_beyond_the_bound_are_shed_and_the_others_finish() -> None:
    release = asyncio.Event()

    async def waits() -> quota_pb2.Reservation:
        await release.wait()
        return quota_pb2.Reservation()

    async with served(waits, CallSettings(in_flight_max=2)) as (stub, _):
        admitted = [asyncio.ensure_future(_done(stub)) for _ in range(2)]
        await asyncio.sleep(0.05)
        error = await refusal(stub.GetReservation(REQUEST))
        assert answer(error) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        release.set()
        await asyncio.gather(*admitted)
        await stub.GetReservation(REQUEST)


async def test_never_more_calls_are_under_way_than_the_bound() -> None:
    under_way, peak = 0, 0

    async def counted() -> quota_pb2.Reservation:
        nonlocal under_way, peak
        under_way += 1
        peak = max(peak, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return quota_pb2.Reservation()

    async with served(counted, CallSettings(in_flight_max=5)) as (stub, _):
        found = await asyncio.gather(*(_done(stub) for _ in range(100)), return_exceptions=True)
    assert peak == 5
    assert 0 < sum(isinstance(each, grpc.aio.AioRpcError) for each in found) < 100


async def _done(stub: QuotaServiceAsyncStub) -> None:
    await stub.GetReservation(REQUEST)


async def test_garbage_is_a_bad_request() -> None:
    async with served(fails) as (_, channel):
        method: Any = channel.unary_unary(f"/{SERVICE.full_name}/GetReservation")
        error = await refusal(method(b"\xff\xff\xff"))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_a_request_that_breaks_the_rules_names_each_field_in_words() -> None:
    request = quota_pb2.AuthorizeRequest(
        subject=types_pb2.Subject(organization="a b", tags={"/": "x"}),
        provider="openai",
        model="gpt",
        estimate=quota_pb2.Estimate(input_tokens=-1),
        idempotency_key="k" * 10_240,
    )
    async with served(fails) as (stub, _):
        error = await refusal(stub.Authorize(request))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    described = fields(error)
    assert set(described) == {
        "idempotency_key",
        "subject.organization",
        'subject.tags["/"]',
        "estimate.input_tokens",
    }
    assert described["subject.organization"].startswith("must be 1–128 letters")


async def test_a_malformed_name_has_a_reason_of_its_own() -> None:
    async with served(fails) as (stub, _):
        error = await refusal(stub.GetReservation(quota_pb2.GetReservationRequest(name="reservations/1")))
    assert answer(error) == ("INVALID_ARGUMENT", "NAME_MALFORMED")
    assert "must be organizations/{organization}/reservations/{reservation}" in (error.details() or "")


class Ends:
    """Remembers how calls ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, grpc.StatusCode]] = []

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((call.method.name.split("/")[1], code))

    async def heard(self, number: int) -> None:
        """An answer may be with its caller before the observer is told of it."""
        async with asyncio.timeout(5):
            while len(self.seen) < number:  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.001)


async def test_an_observer_hears_how_each_call_ended() -> None:
    ends = Ends()
    settings = CallSettings(observer=ends)
    async with served(answered, settings) as (stub, _):
        await stub.GetReservation(REQUEST)
        await ends.heard(1)
    async with served(refuses, settings) as (stub, _):
        await refusal(stub.GetReservation(REQUEST))
        await ends.heard(2)
    with capture_logs():
        async with served(fails, settings) as (stub, _):
            await refusal(stub.GetReservation(REQUEST))
            await ends.heard(3)
    assert ends.seen == [
        ("GetReservation", grpc.StatusCode.OK),
        ("GetReservation", grpc.StatusCode.FAILED_PRECONDITION),
        ("GetReservation", grpc.StatusCode.INTERNAL),
    ]


async def test_nothing_passes_the_guard_and_errors_are_translated_inside_of_it() -> None:
    order = layers(Traffic(), Kind.OTHER)
    assert order[0] is guarded
    assert order.index(identified) < order.index(translated)


async def test_a_missing_resource_is_an_ordinary_answer() -> None:
    async def missing() -> quota_pb2.Reservation:
        raise BudgetNotFound("There is none.")

    with capture_logs() as logs:
        async with served(missing) as (stub, _):
            error = await refusal(stub.GetReservation(REQUEST))
    assert answer(error) == ("NOT_FOUND", "BUDGET_NOT_FOUND")
    assert logs == []


async def test_calls_that_are_refused_leave_nothing_for_the_collector() -> None:
    async with served(refuses) as (stub, _):
        await refusal(stub.GetReservation(REQUEST))
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await refusal(stub.GetReservation(REQUEST))
            await asyncio.sleep(0.05)
            assert sum(isinstance(left, Call) for left in gc.get_objects()) <= 2
        finally:
            gc.enable()


async def test_a_client_that_retries_by_itself_does_so_where_a_call_was_refused() -> None:
    """It would not if the server had said anything but the status."""
    answers = iter([StoreUnavailable("Not now."), StoreUnavailable("Not yet.")])

    async def third_time() -> quota_pb2.Reservation:
        for away in answers:
            raise away
        return await answered()

    policy = {
        "name": [{}],
        "retryPolicy": {
            "maxAttempts": 3,
            "initialBackoff": "0.01s",
            "maxBackoff": "0.01s",
            "backoffMultiplier": 1,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }
    options = [("grpc.service_config", json.dumps({"methodConfig": [policy]}))]
    async with served(third_time, options=options) as (stub, _):
        assert (await stub.GetReservation(REQUEST)).name == NAME
