"""What becomes of a batch where one of its requests cannot be decided."""

from __future__ import annotations

import asyncio

import pytest
from google.rpc.code_pb2 import INTERNAL, UNAVAILABLE
from google.rpc.error_details_pb2 import RetryInfo

from quota.v1 import quota_pb2
from quota_service.application.requests import AuthorizeRequest, AuthorizeResult
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.errors import StoreUnavailable
from quota_service.edge import batches
from tests.support.service import authorize_request

FAULTS = {
    "away": StoreUnavailable("The store does not answer."),
    "fault": KeyError("postgresql://inside"),
    "cancelled": asyncio.CancelledError(),
}


class Deciding:
    """Denies what has no fault, a turn of the event loop after it was asked. The message is the key."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting_max = 0
        self._waiting = 0

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResult:
        self.asked.append(request.idempotency_key)
        self._waiting += 1
        self.waiting_max = max(self.waiting_max, self._waiting)
        await asyncio.sleep(0)
        self._waiting -= 1
        if request.idempotency_key in FAULTS:
            raise FAULTS[request.idempotency_key]
        why = Violation(Reason.MODEL_UNKNOWN, "It has no price.")
        return AuthorizeResult(organization="acme", violations=(why,), message=request.idempotency_key)


async def answered(*keys: str) -> tuple[Deciding, quota_pb2.AuthorizeBatchResponse]:
    deciding = Deciding()
    return deciding, await batches.authorized(deciding, [authorize_request(key) for key in keys])


async def test_an_outage_is_told_to_the_request_that_meets_it_with_when_to_try_again() -> None:
    _, answer = await answered("a", "away", "b")
    before, away, after = answer.results
    assert [before.response.message, after.response.message] == ["a", "b"]
    assert (away.error.code, away.error.message) == (UNAVAILABLE, "The store does not answer.")
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in away.error.details)
    assert retry.retry_delay.ToMilliseconds() > 0


@pytest.mark.parametrize("kind", ["fault", "cancelled"])
async def test_a_fault_of_the_service_is_told_without_its_inside_to_one_request_alone(kind: str) -> None:
    _, answer = await answered("a", kind, "b")
    before, fault, after = answer.results
    assert [before.response.message, after.response.message] == ["a", "b"]
    assert fault.error.code == INTERNAL
    assert "postgresql" not in str(answer)


async def test_requests_are_asked_for_in_their_order_and_so_many_at_a_time() -> None:
    keys = [f"k{number}" for number in range(256)]
    deciding, answer = await answered(*keys)
    assert deciding.asked == keys
    assert [result.response.message for result in answer.results] == keys
    assert deciding.waiting_max == batches.TOGETHER
