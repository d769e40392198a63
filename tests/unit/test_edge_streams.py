"""What surrounds a stream, on a real server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs

from quota.v1 import budget_pb2
from quota.v1.budget_pb2_grpc import BudgetServiceStub
from quota_service.domain.errors import BudgetNotFound
from quota_service.edge.calls import CallSettings
from quota_service.edge.headers import REQUEST_ID
from quota_service.edge.server import register
from quota_service.edge.traffic import Kind, Traffic
from tests.support.refusals import answer, fields

if TYPE_CHECKING:
    from quota.v1.budget_pb2_grpc import BudgetServiceAsyncStub

SERVICE = budget_pb2.DESCRIPTOR.services_by_name["BudgetService"]
REQUEST = budget_pb2.WatchBudgetStatusRequest(name="organizations/acme/budgets/b")
MESSAGE = budget_pb2.WatchBudgetStatusResponse()

Messages = AsyncGenerator[budget_pb2.WatchBudgetStatusResponse, None]


class Servicer:
    """Every stream does the same thing. Counts those that have been closed."""

    def __init__(self, behaviour: Callable[[], Messages]) -> None:
        self._behaviour = behaviour
        self._closed = asyncio.Semaphore(0)
        self.closed = 0

    def __getattr__(self, method: str) -> Any:
        return None

    async def WatchBudgetStatus(self, request: Any, context: Any) -> Messages:
        try:
            async for message in self._behaviour():
                yield message
        finally:
            self.closed += 1
            self._closed.release()

    async def closed_are(self, number: int) -> None:
        """Waits until so many streams have been closed."""
        async with asyncio.timeout(5):
            for _ in range(number):
                await self._closed.acquire()


async def two() -> Messages:
    yield MESSAGE
    yield MESSAGE


async def lasts() -> Messages:
    yield MESSAGE
    await asyncio.sleep(60)


async def fails() -> Messages:
    yield MESSAGE
    raise RuntimeError("postgresql://user:secret@host")


async def refuses() -> Messages:
    yield MESSAGE
    raise BudgetNotFound("It is gone.")


@asynccontextmanager
async def served(
    servicer: Servicer, settings: CallSettings | None = None, traffic: Traffic | None = None
) -> AsyncIterator[BudgetServiceAsyncStub]:
    server = grpc.aio.server()
    register(server, SERVICE, servicer, settings or CallSettings(), traffic)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield BudgetServiceStub(channel)
    await server.stop(None)


async def ended(stream: Any) -> grpc.aio.AioRpcError:
    """The error that a stream ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _read_all(stream)
    return raised.value


async def _read_all(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_every_message_arrives_and_the_stream_ends_well() -> None:
    async with served(Servicer(two)) as stub:
        stream = stub.WatchBudgetStatus(REQUEST, metadata=((REQUEST_ID, "abc-1"),))
        assert [message async for message in stream] == [MESSAGE, MESSAGE]
        assert dict(await stream.trailing_metadata())[REQUEST_ID] == "abc-1"


async def test_no_text_of_an_exception_leaves_a_stream() -> None:
    with capture_logs() as logs:
        async with served(Servicer(fails)) as stub:
            error = await ended(stub.WatchBudgetStatus(REQUEST))
    assert answer(error) == ("INTERNAL", "INTERNAL")
    assert "secret" not in repr(error) + str(error.trailing_metadata())
    assert [line["method"] for line in logs] == ["quota.v1.BudgetService/WatchBudgetStatus"]


async def test_an_error_for_callers_ends_a_stream_with_its_reason() -> None:
    async with served(Servicer(refuses)) as stub:
        stream = stub.WatchBudgetStatus(REQUEST)
        assert await stream.read() == MESSAGE
        assert answer(await ended(stream)) == ("NOT_FOUND", "BUDGET_NOT_FOUND")


async def test_a_bad_request_is_refused_before_the_stream_begins() -> None:
    async with served(Servicer(two)) as stub:
        request = budget_pb2.WatchBudgetStatusRequest(name=REQUEST.name, each_value="x" * 257)
        error = await ended(stub.WatchBudgetStatus(request))
    assert (answer(error)[0], set(fields(error))) == ("INVALID_ARGUMENT", {"each_value"})


async def test_the_servers_deadline_is_not_imposed_on_a_stream_but_the_callers_is() -> None:
    servicer = Servicer(lasts)
    async with served(servicer, CallSettings(deadline_s=0.01)) as stub:
        stream = stub.WatchBudgetStatus(REQUEST)
        assert await stream.read() == MESSAGE
        await asyncio.sleep(0.1)
        assert not stream.done()
        stream.cancel()
        error = await ended(stub.WatchBudgetStatus(REQUEST, timeout=0.1))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await servicer.closed_are(2)


async def test_a_caller_that_goes_away_is_forgotten() -> None:
    servicer = Servicer(lasts)
    async with served(servicer, CallSettings(streams_max=1)) as stub:
        stream = stub.WatchBudgetStatus(REQUEST)
        assert await stream.read() == MESSAGE
        assert answer(await ended(stub.WatchBudgetStatus(REQUEST))) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        stream.cancel()
        await servicer.closed_are(1)
        again = stub.WatchBudgetStatus(REQUEST)
        assert await again.read() == MESSAGE
        again.cancel()


async def test_streams_end_with_the_server_and_none_begins_afterwards() -> None:
    servicer, traffic = Servicer(lasts), Traffic()
    async with served(servicer, traffic=traffic) as stub:
        under_way = [stub.WatchBudgetStatus(REQUEST) for _ in range(3)]
        for stream in under_way:
            assert await stream.read() == MESSAGE
        traffic.close()
        traffic.end(Kind.LASTS)
        for stream in (*under_way, stub.WatchBudgetStatus(REQUEST)):
            assert answer(await ended(stream)) == ("UNAVAILABLE", "SERVER_STOPPING")
    assert servicer.closed == 3
