"""A call that is to be changed, and cannot be, is not sent; the longest ones can be."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio
import pytest

from quota.v1 import report_pb2
from tests.support.gateway import Change, Configuration, Gateway
from tests.support.grants import downgrade, leave_tokens
from tests.support.libraries import CHAT, GENERATE, Question, refused
from tests.support.proxy import Mode, Proxy
from tests.support.raw_http import ask, post
from tests.support.service import Client

Gateways = Callable[..., Awaitable[Gateway]]
Settled = Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]
MIB_8 = 8 * 2**20
ONCE = Question(max_tokens=4_000, retries=False)


def request_phase_at(address: str) -> Change:
    """The request phase is another server's, for which Envoy waits half a second."""

    def change(configuration: Configuration) -> None:
        other = copy.deepcopy(configuration.cluster("quota"))
        other["name"] = other["load_assignment"]["cluster_name"] = "other"
        configuration.values["static_resources"]["clusters"].append(other)
        configuration.send("other", address)
        filter_ = configuration.filter("quota.request")
        filter_["grpc_service"]["envoy_grpc"]["cluster_name"] = "other"
        filter_["message_timeout"] = "0.5s"

    return change


@pytest.fixture
async def line(client: Client) -> AsyncIterator[Proxy]:
    """To the service."""
    host, _, port = client.address.rpartition(":")
    proxy = Proxy(host, int(port))
    await proxy.start()
    yield proxy
    await proxy.close()


@pytest.mark.parametrize(("mode", "status"), [(Mode.REFUSE, 503), (Mode.BLACKHOLE, 504), (Mode.SWALLOW, 504)])
async def test_a_call_that_nobody_changes_is_not_sent_and_gives_its_hold_back(
    client: Client,
    gateways: Gateways,
    secret: str,
    settled: Settled,
    line: Proxy,
    mode: Mode,
    status: int,
) -> None:
    envoy = await gateways(request_phase_at(f"127.0.0.1:{line.listening_on}"))
    await leave_tokens(client, 1_000)
    await line.switch(mode)
    for count, way in enumerate((CHAT, GENERATE), 1):
        refusal = await refused(way, envoy.url, secret, ONCE)
        assert refusal.status == status
        assert (await settled(count))[-1].type == report_pb2.LedgerEntry.TYPE_RELEASE
    assert envoy.upstream == []
    [state] = await client.status("small")
    assert (state.held, state.spent) == (0, 0)


async def test_a_server_that_knows_no_request_phase_stops_the_call(
    client: Client, gateways: Gateways, secret: str, settled: Settled
) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        envoy = await gateways(request_phase_at(f"127.0.0.1:{port}"))
        await leave_tokens(client, 1_000)
        refusal = await refused(CHAT, envoy.url, secret, ONCE)
    finally:
        await server.stop(None)
    assert refusal.status == 503
    assert envoy.upstream == []
    assert (await settled())[0].type == report_pb2.LedgerEntry.TYPE_RELEASE


def long_body(size: int) -> bytes:
    """A chat completion of so many bytes."""
    body = {"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": ""}]}
    empty = json.dumps(body, separators=(",", ":")).encode()
    return empty.replace(
        b'"content":""', b'"content":"%s"' % (b"spend " * (size // 6 + 1))[: size - len(empty)]
    )


async def test_a_body_of_the_longest_that_is_read_can_be_changed(
    client: Client, envoy: Gateway, secret: str, settled: Settled
) -> None:
    await downgrade(client, CHAT)
    body = long_body(MIB_8)
    answer = await ask(envoy.address, post(CHAT.path, body, ("authorization", f"Bearer {secret}")))
    assert answer.status == 200, answer.body[:300]
    [arrived] = envoy.upstream
    assert arrived.header("content-length") == str(len(arrived.body)) == str(MIB_8 + len("-mini"))
    assert arrived.body == body.replace(b"gpt-4o", b"gpt-4o-mini", 1)
    assert (await settled())[0].model == "gpt-4o-mini"


async def test_a_longer_body_is_never_changed_but_denied(client: Client, envoy: Gateway, secret: str) -> None:
    await downgrade(client, CHAT)
    request = post(CHAT.path, long_body(MIB_8 + 1), ("authorization", f"Bearer {secret}"))
    answer = await ask(envoy.address, request)
    assert (answer.status, answer.json["error"]["code"]) == (429, "budget_exhausted")
    assert "“year”" in answer.json["error"]["message"]
    assert envoy.upstream == []
    [state] = await client.status("year")
    assert state.held == 0
