"""How the server starts, tells its health and stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from quota.v1 import quota_pb2
from quota.v1.quota_pb2_grpc import QuotaServiceStub
from quota_service.application.tracking import Tracked
from quota_service.edge import lanes
from quota_service.edge.server import NOT_SERVING, SERVING, Server, ServerSettings, Services, build_server
from tests.support.refusals import refusal
from tests.unit.test_edge_calls import REQUEST, Behaviour, Servicer, answered


def a_server(behaviour: Behaviour = answered, settings: ServerSettings | None = None) -> tuple[Server, int]:
    servicer = cast(Any, Servicer(behaviour))
    services = Services(
        quota=servicer,
        budgets=servicer,
        directory=servicer,
        catalog=servicer,
        reports=servicer,
        audit=servicer,
        alerts=servicer,
        operations=servicer,
        authorization=servicer,
        processor=servicer,
    )
    server = build_server(services, settings)
    return server, server.listen("127.0.0.1:0")


async def health(channel: grpc.aio.Channel, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return cast(int, answer.status)


async def test_health_follows_the_life_of_the_server() -> None:
    server, port = a_server()
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for service in ("", "quota.v1.QuotaService", "quota.v1.ReportService"):
            assert await health(channel, service) == SERVING
        await server.set_serving(False)
        assert await health(channel, "quota.v1.QuotaService") == NOT_SERVING
        await server.set_serving(True)
        stopping = asyncio.ensure_future(server.shutdown(drain_s=0.3, grace_s=1))
        await asyncio.sleep(0.05)
        assert await health(channel, "") == NOT_SERVING
        # While load balancers turn away, calls are still served.
        assert (await QuotaServiceStub(channel).GetReservation(REQUEST)).name == REQUEST.name
        await stopping


async def test_calls_under_way_finish_and_newcomers_are_told_to_go_elsewhere() -> None:
    begun = asyncio.Event()

    async def slow() -> quota_pb2.Reservation:
        begun.set()
        await asyncio.sleep(0.3)
        return quota_pb2.Reservation(name="done")

    server, port = a_server(slow)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = QuotaServiceStub(channel)

        async def under_way() -> str:
            return (await stub.GetReservation(REQUEST)).name

        call = asyncio.ensure_future(under_way())
        await begun.wait()
        await server.shutdown(drain_s=0, grace_s=5)
        assert await call == "done"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetReservation(REQUEST, timeout=1)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_of_a_flood_that_meets_the_stop_no_call_is_told_that_it_was_cancelled() -> None:
    async def slow() -> quota_pb2.Reservation:
        await asyncio.sleep(0.02)
        return quota_pb2.Reservation(name="done")

    server, port = a_server(slow)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        flood = [asyncio.ensure_future(code_of(channel)) for _ in range(300)]
        await asyncio.sleep(0.03)
        await server.shutdown(drain_s=0, grace_s=5)
        codes = set(await asyncio.gather(*flood))
    assert grpc.StatusCode.UNAVAILABLE in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


async def code_of(channel: grpc.aio.Channel) -> grpc.StatusCode:
    try:
        await QuotaServiceStub(channel).GetReservation(REQUEST, timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_what_outlasts_the_grace_is_unavailable_and_work_beside_it_goes_on() -> None:
    tracked, finished = Tracked(), asyncio.Event()

    async def work() -> quota_pb2.Reservation:
        await asyncio.sleep(0.3)
        finished.set()
        return quota_pb2.Reservation()

    async def settles() -> quota_pb2.Reservation:
        return await tracked.run(work())

    server, port = a_server(settles)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = asyncio.ensure_future(refusal(QuotaServiceStub(channel).GetReservation(REQUEST)))
        await asyncio.sleep(0.1)
        await server.shutdown(drain_s=0, grace_s=0.05)
        # With the reason, unless the connection ends before it is written.
        assert (await call).code() is grpc.StatusCode.UNAVAILABLE
        assert not finished.is_set()
        await tracked.finish(5)
        assert finished.is_set()


async def test_several_calls_of_a_method_are_taken_from_grpc_at_a_time() -> None:
    assert lanes.known()


@pytest.mark.parametrize("asked", [True, False])
async def test_reflection_answers_only_where_it_is_asked_for(asked: bool) -> None:
    server, port = a_server(settings=ServerSettings(reflection=asked))
    await server.start()
    listed: list[str] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with suppress(grpc.aio.AioRpcError):
            async for answer in stub.ServerReflectionInfo(iter([request])):
                listed = [service.name for service in answer.list_services_response.service]
    await server.shutdown(drain_s=0, grace_s=0)
    assert ("quota.v1.QuotaService" in listed) is asked


async def test_several_servers_share_a_port_where_they_are_told_to() -> None:
    shared = ServerSettings(reuse_port=True)
    first, port = a_server(settings=shared)
    second, _ = a_server(settings=shared)
    assert second.listen(f"127.0.0.1:{port}") == port
    third, _ = a_server()
    with pytest.raises(RuntimeError):
        third.listen(f"127.0.0.1:{port}")
    for server in (first, second, third):
        await server.shutdown(drain_s=0, grace_s=0)
