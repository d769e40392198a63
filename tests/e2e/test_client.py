"""The Python helper settles a call however it ends."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from quota.client import ApiError, Connection, Denied, Hold, connect, reserve
from quota.v1 import quota_pb2, report_pb2, types_pb2
from tests.e2e.conftest import Server

USED = types_pb2.Usage(input_tokens=1_000, output_tokens=10)
ENTRY = report_pb2.LedgerEntry


def request(*, user: str = "ada", input_tokens: int = 1_000) -> quota_pb2.AuthorizeRequest:
    return quota_pb2.AuthorizeRequest(
        idempotency_key=f"test-{uuid.uuid4()}",
        subject=types_pb2.Subject(organization="acme", user=user),
        provider="openai",
        model="gpt-5-mini",
        estimate=quota_pb2.Estimate(input_tokens=input_tokens, max_output_tokens=100),
    )


async def last_entry(connection: Connection, hold: Hold) -> report_pb2.LedgerEntry:
    query = report_pb2.ListLedgerEntriesRequest(
        parent="organizations/acme", reservation=hold.reservation.name, page_size=1
    )
    answer = await connection.call(connection.report.ListLedgerEntries, query)
    return answer.ledger_entries[0]


async def test_what_was_used_is_committed(server: Server) -> None:
    async with connect(server.address) as connection:
        async with reserve(connection, request()) as hold:
            hold.usage = USED
        entry = await last_entry(connection, hold)
    assert (entry.type, entry.usage, entry.usage_estimated) == (ENTRY.TYPE_COMMIT, USED, False)


async def test_without_usage_the_hold_is_released(server: Server) -> None:
    async with connect(server.address) as connection:
        async with reserve(connection, request()) as hold:
            pass
        reservation = quota_pb2.GetReservationRequest(name=hold.reservation.name)
        ended = await connection.call(connection.quota.GetReservation, reservation)
    assert ended.state == quota_pb2.Reservation.STATE_RELEASED


async def fail_after_use(connection: Connection, failure: type[BaseException], holds: list[Hold]) -> None:
    async with reserve(connection, request()) as hold:
        holds.append(hold)
        hold.usage = USED
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
async def test_after_a_failure_what_is_known_is_committed_as_an_estimate(
    server: Server, failure: type[BaseException]
) -> None:
    async with connect(server.address) as connection:
        holds: list[Hold] = []
        with pytest.raises(failure):
            await fail_after_use(connection, failure, holds)
        entry = await last_entry(connection, holds[0])
    assert (entry.type, entry.usage_estimated) == (ENTRY.TYPE_COMMIT, True)


async def test_a_denial_is_raised_with_its_answer(server: Server) -> None:
    async with connect(server.address) as connection:
        with pytest.raises(Denied) as caught:
            async with reserve(connection, request(user="tim", input_tokens=900_000_000)):
                pytest.fail("it was denied")
    assert caught.value.answer.violations


async def test_errors_have_their_reason_and_fields(server: Server) -> None:
    async with connect(server.address) as connection:
        with pytest.raises(ApiError) as caught:
            await connection.call(connection.quota.Authorize, request(input_tokens=-1))
    assert caught.value.reason == "FIELD_INVALID"
    assert [problem.field for problem in caught.value.fields] == ["estimate.input_tokens"]
