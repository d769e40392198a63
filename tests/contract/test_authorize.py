"""Authorize through the real server."""

from __future__ import annotations

from quota.v1 import types_pb2
from tests.support.service import Client, authorize_request


async def test_a_request_that_fits_is_held(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=types_pb2.Amounts(cost_micros=20_000))
    answer = await client.quota.Authorize(authorize_request("k"))
    assert answer.decision == types_pb2.DECISION_ALLOW
    assert answer.reservation.held.cost_micros == 7_500
    assert [status.held for status in await client.status("engineering")] == [7_500]
