"""What is counted, how it adds up, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from quota_service.addresses import AddressInUse
from quota_service.edge.call_metrics import CallMetrics
from quota_service.edge.calls import Call
from quota_service.edge.decoding import Method
from quota_service.embedded.ports import free_port
from quota_service.metrics import families, readings
from quota_service.metrics.endpoint import CONNECTIONS_MAX, HEAD_BYTES_MAX, answering
from quota_service.metrics.readings import Readings
from quota_service.metrics.rendering import rendered
from tests.support.metrics import Metrics

READ: Readings = {
    "quota_calls": {("quota.v1.QuotaService/Commit", "OK"): [3.0]},
    "quota_call_seconds": {("quota.v1.QuotaService/Commit",): [0.0, 2.0] + [0.0] * 11 + [1.0, 7.5]},
    "quota_ledger_waiting": {(): [4.0]},
}


def told(read: Readings) -> Metrics:
    return Metrics(rendered(read, "")[0].decode())


def test_what_several_processes_have_counted_adds_up() -> None:
    total: Readings = {}
    for _ in range(2):
        readings.add(total, READ)
    assert total["quota_calls"] == {("quota.v1.QuotaService/Commit", "OK"): [6.0]}
    assert total["quota_call_seconds"][("quota.v1.QuotaService/Commit",)][-1] == 15.0
    assert READ["quota_ledger_waiting"] == {(): [4.0]}, "what is added stays as it was"


def test_of_a_process_that_has_ended_only_counts_stay() -> None:
    assert readings.lasting(READ).keys() == {"quota_calls", "quota_call_seconds"}


def test_prometheus_can_read_all_of_it() -> None:
    metrics = told(READ)
    assert metrics.value("quota_calls_total", method="quota.v1.QuotaService/Commit", code="OK") == 3
    method = {"method": "quota.v1.QuotaService/Commit"}
    assert metrics.value("quota_call_seconds_bucket", le="0.0005", **method) == 0
    assert metrics.value("quota_call_seconds_bucket", le="0.001", **method) == 2
    assert metrics.value("quota_call_seconds_bucket", le="+Inf", **method) == 3
    assert metrics.value("quota_call_seconds_count", **method) == 3
    assert metrics.value("quota_call_seconds_sum", **method) == 7.5
    assert metrics.types == {family.name: family.kind.value for family in families.FAMILIES}


def test_openmetrics_is_told_to_who_asks_for_it() -> None:
    text, content_type = rendered(READ, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_each_call_is_counted_once_in_the_bucket_of_how_long_it_took() -> None:
    counts = CallMetrics()
    method = Method("quota.v1.QuotaService/Commit", type(None), None, is_ours=True)  # type: ignore[arg-type]
    call = Call(method, None)  # type: ignore[arg-type]
    for seconds in (0.0005, 0.0006, 60.0):
        counts.call_ended(call, None, grpc.StatusCode.OK, seconds)
    counts.call_ended(call, None, grpc.StatusCode.UNAVAILABLE, 0.0)
    assert counts.ended() == {(method.name, "OK"): [3.0], (method.name, "UNAVAILABLE"): [1.0]}
    [numbers] = counts.seconds().values()
    assert (numbers[:2], sum(numbers[2:-2]), numbers[-2:]) == ([2.0, 1.0], 0.0, [1.0, pytest.approx(60.0011)])


@asynccontextmanager
async def endpoint() -> AsyncIterator[int]:
    async def collect() -> Readings:
        return READ

    port = free_port()
    async with answering(f"127.0.0.1:{port}", collect):
        yield port


async def exchanged(port: int, sent: bytes) -> bytes:
    """What is answered; nothing where the connection is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"\xff\xfe \x00\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2 * HEAD_BYTES_MAX, b"431"),
    ],
)
async def test_the_endpoint_answers_what_it_knows_and_refuses_the_rest(sent: bytes, status: bytes) -> None:
    async with endpoint() as port:
        answer = await exchanged(port, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert (b"quota_calls_total" in body) == (status == b"200")


async def test_whoever_asks_for_the_head_gets_no_more() -> None:
    async with endpoint() as port:
        answer = await exchanged(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in answer


async def test_those_who_say_nothing_keep_no_more_than_their_places() -> None:
    async with endpoint() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        assert await exchanged(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for _, writer in silent:
            await closed(writer)
        async with asyncio.timeout(10):
            while not await exchanged(port, b"GET /metrics HTTP/1.1\r\n\r\n"):
                pass


async def test_a_port_that_is_taken_is_told() -> None:
    async with endpoint() as port:
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{port}"):
            async with answering(f"127.0.0.1:{port}", lambda: asyncio.sleep(0, {})):
                pass
