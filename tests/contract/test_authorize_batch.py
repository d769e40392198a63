"""AuthorizeBatch: many requests in one call, each answered as Authorize would have done."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from quota.v1 import directory_pb2, quota_pb2, types_pb2
from tests.support.calls import cost
from tests.support.refusals import answer, refusal, status
from tests.support.service import Client, authorize_request, commit_request
from tests.support.stores import Stores

ALLOW, DENY = types_pb2.DECISION_ALLOW, types_pb2.DECISION_DENY
COST = 7_500
"""Of one request, in micro-USD."""

Result = quota_pb2.AuthorizeBatchResponse.Result


async def batch(client: Client, *requests: quota_pb2.AuthorizeRequest) -> Sequence[Result]:
    answered = await client.quota.AuthorizeBatch(quota_pb2.AuthorizeBatchRequest(requests=requests))
    assert len(answered.results) == len(requests)
    return answered.results


def reason(status: Status) -> str:
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "quota.v1"
    return str(info.reason)


@pytest.fixture
async def acme(client: Client) -> Client:
    await client.found_acme()
    await client.budget("team", limits=cost(10 * COST))
    return client


async def test_who_comes_first_in_a_batch_is_decided_first(client: Client) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(2 * COST))
    found = await batch(client, *(authorize_request(f"k{number}") for number in range(5)))
    assert [each.response.decision for each in found] == [ALLOW, ALLOW, DENY, DENY, DENY]
    held = [each.response.budgets[0].held for each in found]
    assert held == [COST, 2 * COST, 2 * COST, 2 * COST, 2 * COST]
    assert found[2].response.violations[0].reason == types_pb2.REASON_BUDGET_HELD
    assert (await client.status("team"))[0].held == 2 * COST


async def test_more_than_are_decided_together_are_decided_in_their_order(client: Client) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(200 * COST))
    found = await batch(client, *(authorize_request(f"k{number}") for number in range(256)))
    assert [each.response.decision for each in found] == [ALLOW] * 200 + [DENY] * 56
    assert [each.response.budgets[0].held for each in found[:200]] == [n * COST for n in range(1, 201)]


async def test_each_answer_is_the_one_that_authorize_gives(acme: Client) -> None:
    requests = [
        authorize_request("a"),
        authorize_request("b", validate_only=True),
        authorize_request("c", model="gpt-nope"),
        authorize_request("d", subject=types_pb2.Subject(organization="acme", user="nobody")),
    ]
    together = [each.response for each in await batch(acme, *requests)]
    alone = [await acme.quota.Authorize(request) for request in requests]
    assert alone[0].replayed
    alone[0].replayed = False
    assert together[0] == alone[0]
    for index in (2, 3):
        assert together[index] == alone[index]
    assert together[1].decision == ALLOW
    assert not together[1].HasField("reservation")


async def test_an_error_is_the_result_of_its_request_alone(acme: Client) -> None:
    await acme.quota.Authorize(authorize_request("used"))
    ended = (await acme.quota.Authorize(authorize_request("ended"))).reservation.name
    await acme.quota.Commit(commit_request(ended, 1_000, 500))
    wrong = [
        authorize_request("used", model="gpt-4o-mini"),
        authorize_request("ended"),
        authorize_request("x", subject=types_pb2.Subject(organization="nowhere")),
        authorize_request("y", min_output_tokens=600),
    ]
    first, *refused, last = await batch(acme, authorize_request("first"), *wrong, authorize_request("last"))
    assert [each.response.decision for each in (first, last)] == [ALLOW, ALLOW]
    assert [each.WhichOneof("result") for each in refused] == ["error"] * 4
    assert [reason(each.error) for each in refused] == [
        *("IDEMPOTENCY_CONFLICT", "RESERVATION_ENDED", "ORGANIZATION_NOT_FOUND", "FIELD_INVALID")
    ]
    for each, request in zip(refused, wrong, strict=True):
        assert each.error == status(await refusal(acme.quota.Authorize(request)))
    assert (await acme.status("team"))[0].held == 3 * COST  # used, first, last


async def test_each_request_counts_in_its_own_organization(acme: Client) -> None:
    settings = directory_pb2.Organization(unbudgeted=directory_pb2.UNBUDGETED_POLICY_ALLOW)
    await acme.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(organization_id="globex", organization=settings)
    )
    theirs = types_pb2.Subject(organization="globex")
    found = await batch(
        acme, authorize_request("k"), authorize_request("k", subject=theirs), authorize_request("other")
    )
    assert [each.response.decision for each in found] == [ALLOW] * 3
    assert [each.response.replayed for each in found] == [False] * 3
    names = [each.response.reservation.name.split("/reservations/")[0] for each in found]
    assert names == ["organizations/acme", "organizations/globex", "organizations/acme"]
    assert [len(each.response.budgets) for each in found] == [1, 0, 1]
    assert (await acme.status("team"))[0].held == 2 * COST


async def test_the_same_key_twice_is_one_hold_or_a_conflict(acme: Client) -> None:
    first, again, other = await batch(
        acme, authorize_request("k"), authorize_request("k"), authorize_request("k", model="gpt-4o-mini")
    )
    assert (again.response.replayed, again.response.reservation) == (True, first.response.reservation)
    assert reason(other.error) == "IDEMPOTENCY_CONFLICT"
    assert (await acme.status("team"))[0].held == COST


async def test_a_batch_that_is_sent_again_is_answered_as_before(acme: Client) -> None:
    requests = [authorize_request(f"k{number}") for number in range(3)]
    before, after = await batch(acme, *requests), await batch(acme, *requests)
    assert [each.response.reservation for each in after] == [each.response.reservation for each in before]
    assert all(each.response.replayed for each in after)
    assert (await acme.status("team"))[0].held == 3 * COST


async def test_one_fault_in_a_field_refuses_the_whole_batch(acme: Client, stores: Stores) -> None:
    before = await stores.snapshot()
    error = await refusal(batch(acme, authorize_request("k"), authorize_request("")))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "requests[1].idempotency_key" in (error.details() or "")
    assert await stores.snapshot() == before


async def test_a_secret_in_one_request_refuses_the_whole_batch(acme: Client, stores: Stores) -> None:
    before = await stores.snapshot()
    subject = types_pb2.Subject(organization="acme", api_key="qk_" + "a" * 43)
    error = await refusal(batch(acme, authorize_request("k"), authorize_request("l", subject=subject)))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "secret" in (error.details() or "")
    assert "a" * 43 not in (error.details() or "")
    assert await stores.snapshot() == before


@pytest.mark.parametrize("count", [0, 257])
async def test_a_batch_has_1_to_256_requests(acme: Client, count: int) -> None:
    error = await refusal(batch(acme, *(authorize_request(f"k{number}") for number in range(count))))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
