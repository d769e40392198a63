"""A change of the configuration acts at once, on every server."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, directory_pb2, quota_pb2, types_pb2
from quota_service.application.publishing import APART_S
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.support.calls import (
    COST,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    held,
    limit,
    model,
    reasons,
    requests,
    stands,
    subject,
    user,
)
from tests.support.service import ACME, Client, authorize_request


async def found(client: Client, *others: Client, limits: int = 2 * COST) -> None:
    """Acme with one budget; every server has decided under it before, so that it knows the configuration."""
    await client.found_acme()
    await client.budget("engineering", limits=cost(limits))
    for server in (client, *others):
        await server.quota.Authorize(authorize_request("known", validate_only=True))


async def test_lowering_a_limit_blocks_new_holds_at_once_also_on_the_other_server(
    client: Client, other: Client
) -> None:
    await found(client, other)
    name = await held(client, "a")
    await limit(client, "engineering", cost(COST))
    for number, server in enumerate((client, other)):
        [violation] = (await denied(server, f"b{number}")).violations
        assert (violation.limit, violation.held) == (COST, COST)
    await limit(other, "engineering", cost(1))
    for server in (client, other):
        [status] = await server.status("engineering")
        assert (status.limit, status.remaining) == (1, 1 - COST)
    assert (await committed(client, name)).charged.cost_micros == 4_500


async def test_raising_a_limit_allows_at_once_also_on_the_other_server(client: Client, other: Client) -> None:
    await found(client, other, limits=0)
    assert reasons(await denied(other, "a")) == ["BUDGET_EXHAUSTED"]
    await limit(client, "engineering", cost(COST))
    await held(other, "a")
    await limit(other, "engineering", cost(2 * COST))
    await held(client, "b")
    assert await stands(client, "engineering") == (0, 2 * COST)


async def test_a_new_budget_limits_at_once_on_the_other_server(client: Client, other: Client) -> None:
    await found(client, other)
    await client.budget("none", limits=requests(0), scope={"user": "ada"})
    assert reasons(await denied(other)) == ["BUDGET_EXHAUSTED"]


async def test_a_deleted_budget_limits_nobody_any_more_on_the_other_server(
    client: Client, other: Client
) -> None:
    await found(client, other)
    await client.budget("none", limits=requests(0), scope={"user": "ada"})
    assert reasons(await denied(other)) == ["BUDGET_EXHAUSTED"]
    await client.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/none"))
    await authorized(other)


async def test_disabling_a_user_acts_at_once_on_the_other_server(client: Client, other: Client) -> None:
    await found(client, other)
    await held(other, "a")
    for disabled in (True, False):
        changed = directory_pb2.User(name=f"{ACME}/users/ada", disabled=disabled)
        mask = FieldMask(paths=["disabled"])
        await client.directory.UpdateUser(directory_pb2.UpdateUserRequest(user=changed, update_mask=mask))
        if disabled:
            assert reasons(await denied(other, "b")) == ["SUBJECT_DISABLED"]
        else:
            await authorized(other, "b")


async def test_a_new_user_is_known_at_once_on_the_other_server(client: Client, other: Client) -> None:
    await found(client, other)
    assert reasons(await denied(other, subject=subject(user="bob"))) == ["SUBJECT_UNKNOWN"]
    await user(client, "bob", "engineering")
    await authorized(other, subject=subject(user="bob"))


async def test_a_key_that_has_moved_to_another_organization_is_followed_by_the_other_server(
    client: Client, other: Client
) -> None:
    await found(client, other)
    sent = types_pb2.Subject(api_key="key-ada")
    await authorized(other, "a", subject=sent)
    await client.directory.DeleteApiKey(directory_pb2.DeleteApiKeyRequest(name=f"{ACME}/apiKeys/key-ada"))
    settings = directory_pb2.Organization(unbudgeted=directory_pb2.UNBUDGETED_POLICY_ALLOW)
    await client.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(organization_id="other", organization=settings)
    )
    name = "organizations/other"
    await client.directory.CreateTeam(
        directory_pb2.CreateTeamRequest(parent=name, team_id="t", team=directory_pb2.Team())
    )
    key = directory_pb2.ApiKey(team="t")
    await client.directory.CreateApiKey(
        directory_pb2.CreateApiKeyRequest(parent=name, api_key_id="key-ada", api_key=key)
    )
    assert (await authorized(other, "b", subject=sent)).reservation.subject.organization == "other"


async def test_a_new_price_counts_at_once_on_the_other_server_but_not_for_what_is_held(
    client: Client, other: Client
) -> None:
    await found(client)
    await model(client, "own")
    asked = {"provider": "house", "model": "own", "estimate": estimate(100, 100)}
    name = await held(other, "a", **asked)
    await model(client, "own", 2_000_000, 2_000_000)
    assert (await authorized(other, "b", **asked)).reservation.held.cost_micros == 400
    assert (await committed(other, name, 100, 100)).charged.cost_micros == 200


async def test_an_extension_is_decided_under_the_newest_limit_on_the_other_server(
    client: Client, other: Client
) -> None:
    await found(client, other)
    name = await held(other)
    await limit(client, "engineering", cost(COST + 10))
    ask = quota_pb2.ExtendRequest(name=name, additional_output_tokens=2, request_id="r")
    assert reasons(await other.quota.Extend(ask)) == ["BUDGET_HELD"]
    await limit(client, "engineering", cost(COST + 20))
    assert reasons(await other.quota.Extend(ask)) == []


async def test_calls_are_decided_while_many_keys_are_made(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decision begins anew with every change of the configuration, so changes leave room for it."""
    await found(client, limits=1_000 * COST)
    publish, published_s = ValkeyHoldStore.publish_version, list[float]()

    async def watched(holds: ValkeyHoldStore, organization: str, version: int) -> None:
        published_s.append(asyncio.get_running_loop().time())
        await publish(holds, organization, version)

    async def made_and_used(number: int) -> list[str]:
        key = directory_pb2.ApiKey(user="ada")
        create = directory_pb2.CreateApiKeyRequest(parent=ACME, api_key_id=f"key-{number}", api_key=key)
        await client.directory.CreateApiKey(create)
        return reasons(await client.quota.Authorize(authorize_request(f"call-{number}")))

    monkeypatch.setattr(ValkeyHoldStore, "publish_version", watched)
    assert await asyncio.gather(*(made_and_used(number) for number in range(60))) == [[]] * 60
    assert min(later - earlier for earlier, later in pairwise(published_s)) > APART_S * 0.9
