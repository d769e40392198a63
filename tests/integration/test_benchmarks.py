"""The caller of benchmarks, and the server that it compares the service with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks import scenario
from benchmarks.caller import Caller, CallsFailed, connected
from benchmarks.scenario import NESTED
from benchmarks.trivial import Constants, services
from quota.v1 import quota_pb2, types_pb2
from quota_service.edge.server import build_server

NAME = f"{NESTED.parent}/reservations/019a0000-0000-7000-8000-000000000000"


@pytest.fixture
def authorized() -> quota_pb2.AuthorizeResponse:
    return quota_pb2.AuthorizeResponse(
        decision=types_pb2.DECISION_ALLOW,
        reservation=quota_pb2.Reservation(name=NAME, model=NESTED.model),
        budgets=[types_pb2.BudgetStatus()] * NESTED.statuses,
    )


@pytest.fixture
def committed() -> quota_pb2.CommitResponse:
    return quota_pb2.CommitResponse(durability=types_pb2.DURABILITY_LEDGER)


@pytest.fixture
async def caller(
    authorized: quota_pb2.AuthorizeResponse, committed: quota_pb2.CommitResponse
) -> AsyncIterator[Caller]:
    server = build_server(services(Constants(authorized, committed)))
    port = server.listen("127.0.0.1:0")
    await server.start()
    async with connected(f"127.0.0.1:{port}", 2) as found:
        yield found
    await server.shutdown(drain_s=0, grace_s=1)


async def test_as_many_calls_are_made_as_there_are_requests(caller: Caller) -> None:
    run = await caller.saturate(scenario.authorizing(NESTED, count=20), in_flight=4, seconds=60)
    assert len(run.waits_s) == len(run.answers) == 20


async def test_pairs_commit_what_was_granted(caller: Caller) -> None:
    run = await caller.saturate(scenario.pairing(NESTED, count=5), in_flight=2, seconds=60)
    assert len(run.waits_s) == 5
    assert all(quota_pb2.CommitResponse.FromString(answer).durability for answer in run.answers)


async def test_no_more_calls_are_sent_than_are_due(caller: Caller) -> None:
    run = await caller.paced(scenario.authorizing(NESTED), per_second=100, seconds=0.2)
    assert 1 <= len(run.waits_s) <= 21


async def test_a_denial_is_no_measurement(caller: Caller, authorized: quota_pb2.AuthorizeResponse) -> None:
    authorized.decision = types_pb2.DECISION_DENY
    with pytest.raises(CallsFailed, match="3 calls failed"):
        await caller.saturate(scenario.authorizing(NESTED, count=3), in_flight=1, seconds=60)


async def test_of_a_pair_that_is_denied_nothing_is_committed(
    caller: Caller, authorized: quota_pb2.AuthorizeResponse
) -> None:
    authorized.decision = types_pb2.DECISION_DENY
    with pytest.raises(CallsFailed, match="2 calls failed: Authorize was answered"):
        await caller.saturate(scenario.pairing(NESTED, count=2), in_flight=2, seconds=60)


async def test_a_commit_that_is_not_in_the_ledger_is_no_measurement(
    caller: Caller, committed: quota_pb2.CommitResponse
) -> None:
    committed.durability = types_pb2.DURABILITY_BUFFERED
    with pytest.raises(CallsFailed, match="DURABILITY_BUFFERED"):
        await caller.saturate(scenario.pairing(NESTED, count=1), in_flight=1, seconds=60)


async def test_the_trivial_server_refuses_what_is_invalid_as_the_service_does(caller: Caller) -> None:
    work = scenario.authorizing(NESTED, count=1)
    invalid = quota_pb2.AuthorizeRequest().SerializeToString()
    with pytest.raises(CallsFailed, match="status 3"):
        await caller.saturate(
            type(work)(path=work.path, requests=iter([invalid]), check=work.check), in_flight=1, seconds=60
        )
