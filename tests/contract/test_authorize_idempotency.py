"""One idempotency key, one hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import directory_pb2, quota_pb2, types_pb2
from tests.support.calls import (
    COST,
    api_key,
    authorized,
    committed,
    cost,
    denied,
    entries,
    estimate,
    expired,
    held,
    limit,
    model,
    project,
    reasons,
    released,
    requests,
    seconds,
    stands,
    subject,
    types,
)
from tests.support.refusals import answer, refusal
from tests.support.service import Client, authorize_request

CONFLICT = ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
ENDED = ("FAILED_PRECONDITION", "RESERVATION_ENDED")


async def test_a_repeat_while_held_is_answered_with_the_same_reservation(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    first = await authorized(client)
    again = await authorized(client)
    assert again.replayed
    assert again.reservation == first.reservation
    assert again.granted_output_tokens == 500
    assert again.budgets == first.budgets
    assert await stands(client, "engineering") == (0, COST)


@pytest.mark.parametrize(
    "other",
    [
        {"subject": subject(user="ada", project="apollo")},
        {"subject": subject(user="ada", tags={"run": "7"})},
        {"subject": subject(user="ada", team="engineering")},
        {"model": "gpt-4o-mini"},
        {"estimate": estimate(1_001, 500)},
        {"estimate": estimate(1_000, 501)},
        {"estimate": estimate(1_000)},
        {"min_output_tokens": 1},
        {"ttl": seconds(121)},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_other_content_under_a_key_is_a_conflict_that_changes_nothing(
    client: Client, other: dict[str, Any]
) -> None:
    await client.found_acme()
    await project(client, "apollo")
    await client.budget("engineering", limits=cost(20_000))
    name = await held(client)
    assert answer(await refusal(client.quota.Authorize(authorize_request("k", **other)))) == CONFLICT
    assert await stands(client, "engineering") == (0, COST)
    again = await authorized(client)
    assert (again.reservation.name, again.replayed) == (name, True)


async def test_a_key_whose_reservation_has_ended_covers_no_second_call(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    await committed(client, await held(client, "committed"))
    await released(client, await held(client, "released"))
    await expired(client, "expired")
    for key in ("committed", "released", "expired"):
        for fields in ({}, {"validate_only": True}, {"model": "gpt-4o-mini"}):
            call = client.quota.Authorize(authorize_request(key, **fields))
            assert answer(await refusal(call)) == ENDED
    assert await stands(client, "engineering") == (4_500, 0)


async def test_a_denied_key_held_nothing_and_may_be_tried_again(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST - 1))
    await denied(client)
    await denied(client, model="gpt-unheard-of")
    await limit(client, "engineering", cost(COST))
    assert not (await authorized(client)).replayed
    assert types(await entries(client, 1)) == ["HOLD"]


async def test_a_repeat_is_answered_although_it_would_not_be_allowed_now(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    await limit(client, "engineering", cost(0))
    assert (await authorized(client)).reservation.name == name


async def test_a_partly_committed_hold_is_replayed_as_it_is(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    await committed(client, await held(client), keep_open=True)
    again = await authorized(client)
    assert again.replayed
    assert again.reservation.committed.cost_micros == 4_500
    [status] = again.budgets
    assert (status.spent, status.held) == (4_500, 3_000)


async def test_one_key_in_two_organizations_is_two_keys(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    other = directory_pb2.Organization(unbudgeted="UNBUDGETED_POLICY_ALLOW")  # type: ignore[arg-type]
    await client.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(organization_id="other", organization=other)
    )
    await held(client)
    assert not (await authorized(client, subject=types_pb2.Subject(organization="other"))).replayed


@pytest.mark.parametrize("key", ["a", "x" * 128, "ключ 🜁", "{acme}/meta", "a/b c", "%s", " "])
async def test_a_key_may_be_any_text_without_control_characters(client: Client, key: str) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(20_000))
    name = await held(client, key)
    assert (await authorized(client, key)).reservation.name == name
    await committed(client, name)
    assert answer(await refusal(client.quota.Authorize(authorize_request(key)))) == ENDED


async def test_concurrent_duplicates_of_a_request_hold_once(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=requests(100))
    answers = await asyncio.gather(
        *(each.quota.Authorize(authorize_request("k")) for _ in range(50) for each in (client, other))
    )
    assert {each.decision for each in answers} == {types_pb2.DECISION_ALLOW}
    assert len({each.reservation.name for each in answers}) == 1
    assert sum(not each.replayed for each in answers) == 1
    assert await stands(client, "engineering") == (0, 1)
    assert types(await entries(client, 1)) == ["HOLD"]


async def test_a_repeat_may_name_what_the_service_completed_otherwise_only_as_sent(client: Client) -> None:
    """The content is what was sent, not what the directory made of it."""
    await client.found_acme()
    await api_key(client, "robot", team="engineering")
    await client.budget("engineering", limits=cost(20_000))
    sent = types_pb2.Subject(api_key="robot")
    name = await held(client, subject=sent)
    assert (await authorized(client, subject=sent)).reservation.name == name
    full = quota_pb2.AuthorizeRequest(
        idempotency_key="k",
        subject=subject(api_key="robot", team="engineering"),
        provider="openai",
        model="gpt-4o",
        estimate=estimate(1_000, 500),
    )
    assert answer(await refusal(client.quota.Authorize(full))) == CONFLICT


async def test_a_repeat_is_priced_as_the_first(client: Client) -> None:
    await client.found_acme()
    await model(client, "own")
    await client.budget("engineering", limits=cost(20_000))
    asked: dict[str, Any] = {"provider": "house", "model": "own", "estimate": estimate(10, 10)}
    await held(client, **asked)
    await model(client, "own", 2_000_000, 2_000_000)
    assert (await authorized(client, **asked)).reservation.held.cost_micros == 20
    assert reasons(await denied(client, "n", **{**asked, "estimate": estimate(10_000, 0)})) == ["BUDGET_HELD"]
