"""The store that decides comes back empty, and there is much to be made anew."""

from __future__ import annotations

import asyncio

from quota.v1 import budget_pb2, directory_pb2, quota_pb2, types_pb2
from tests.support.calls import cost
from tests.support.service import Client, authorize_request, running_service
from tests.support.stores import Stores

ORGANIZATIONS = 14
"""More than a replica has connections to PostgreSQL."""


async def a_reservation(client: Client, organization: str) -> str:
    """Founds an organization in which something is held; the reservation's name."""
    parent = f"organizations/{organization}"
    await client.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id=organization, organization=directory_pb2.Organization()
        )
    )
    await client.directory.CreateUser(
        directory_pb2.CreateUserRequest(parent=parent, user_id="ada", user=directory_pb2.User())
    )
    budget = budget_pb2.Budget(
        limits=cost(1_000_000),
        mode=types_pb2.MODE_HARD,
        period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
    )
    await client.budgets.CreateBudget(
        budget_pb2.CreateBudgetRequest(parent=parent, budget_id="team", budget=budget)
    )
    subject = types_pb2.Subject(organization=organization, user="ada")
    return (await client.quota.Authorize(authorize_request("k1", subject=subject))).reservation.name


async def test_a_new_replica_makes_many_organizations_anew_at_once(
    client: Client, stores: Stores, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    names = [await a_reservation(client, f"org{number}") for number in range(ORGANIZATIONS)]
    await stores.drained()
    async with running_service(valkey_url, postgres_url, key_prefix) as fresh:
        await stores.valkey.delete(*await stores.keys())
        releases = [fresh.quota.Release(quota_pb2.ReleaseRequest(name=name), timeout=15) for name in names]
        done = await asyncio.gather(*releases)
    assert [each.replayed for each in done] == [False] * ORGANIZATIONS
