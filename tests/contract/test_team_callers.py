"""Callers that are bound to teams: which methods they may call, and whose they are at every moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quota.v1 import budget_pb2, directory_pb2, money_pb2, types_pb2
from quota_service.domain.caller import Role
from quota_service.domain.errors import StoreUnavailable
from quota_service.edge.access import callers, of_teams
from quota_service.edge.access.of_teams import Rule
from quota_service.edge.access.roles import METHODS
from quota_service.edge.access.scopes import resource_names
from quota_service.stores.valkey.holds import ValkeyHoldStore
from tests.contract.test_callers import ALL, NOT_ALLOWED, NOT_THERE, outcome
from tests.support.callers import BUDGET, about, calling, stub_of, written
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client, authorize_request, running_service

NO_BUDGET = ("NOT_FOUND", "BUDGET_NOT_FOUND")
CALLERS = {
    "operator": ("admin", "*"),
    "core": ("team_lead", "acme", "core"),
    "looks": ("viewer", "acme", "core", "nobodys"),
}
WATCH = budget_pb2.WatchBudgetStatusRequest(name=f"{ACME}/budgets/core")
GET = budget_pb2.GetBudgetRequest(name=f"{ACME}/budgets/core")


class World(NamedTuple):
    """A server that asks who calls, and the file of its callers."""

    address: str
    file: Path


@pytest.fixture
async def world(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """With teams core and sales, users ada of core and bob of sales, two budgets of each team, one of them
    for each user, and a budget for all.
    """
    monkeypatch.setattr(callers, "LOOK_S", 0.0)
    hashed = callers.token_hash("ada-token")
    ada = f"{{role: team_lead, organization: acme, user: ada, token_sha256: {hashed}}}"
    file = written(tmp_path / "callers.yaml", CALLERS, ada=ada)
    async with running_service(valkey_url, postgres_url, key_prefix, callers=str(file)) as client:
        async with calling(client.address, "operator-token") as operator:
            await found(operator)
        yield World(client.address, file)


@pytest.fixture
async def replica(world: World, valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[World]:
    """A second server on the same stores."""
    async with running_service(valkey_url, postgres_url, key_prefix, callers=str(world.file)) as client:
        yield World(client.address, world.file)


async def found(operator: Client) -> None:
    await operator.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id="acme", organization=directory_pb2.Organization()
        )
    )
    for team, user in (("core", "ada"), ("sales", "bob")):
        await operator.directory.CreateTeam(
            directory_pb2.CreateTeamRequest(parent=ACME, team_id=team, team=directory_pb2.Team())
        )
        await operator.directory.CreateUser(
            directory_pb2.CreateUserRequest(parent=ACME, user_id=user, user=directory_pb2.User(teams=[team]))
        )
        await operator.budget(team, limits=BUDGET.limits, scope=budget_pb2.Scope(team=team))
        each = budget_pb2.Each(dimension=types_pb2.DIMENSION_USER)
        await operator.budget(
            f"{team}-each", limits=BUDGET.limits, scope=budget_pb2.Scope(team=team, each=each)
        )
    await operator.budget("all", limits=BUDGET.limits)


async def lead(address: str, team: str, *leads: str) -> None:
    """Has a team led by these."""
    async with calling(address, "operator-token") as operator:
        value = directory_pb2.Team(name=f"{ACME}/teams/{team}", leads=leads)
        request = directory_pb2.UpdateTeamRequest(team=value)
        request.update_mask.paths.append("leads")
        await operator.directory.UpdateTeam(request)


def test_every_method_of_a_table_s_rule_is_one_of_the_contract() -> None:
    assert set(ALL) >= of_teams.METHODS.keys() == METHODS[Role.TEAM_LEAD]


def test_a_method_that_is_kept_in_sight_by_what_is_named_names_something() -> None:
    for name in [name for name, rule in of_teams.METHODS.items() if rule is Rule.NAMED]:
        assert [each for each in resource_names(about(ALL[name], "acme")) if each.count("/") == 3], name


async def test_a_caller_of_teams_may_call_what_has_a_rule_and_its_role_allows_and_nothing_else(
    world: World,
) -> None:
    for caller, role in (("core", Role.TEAM_LEAD), ("looks", Role.VIEWER)):
        async with calling(world.address, f"{caller}-token") as client:
            for name, method in ALL.items():
                may = name in METHODS[role] and name in of_teams.METHODS
                got = await outcome(client, method, about(method, "acme"))
                assert (got != NOT_ALLOWED) == may, name
                assert got[0] not in ("UNAUTHENTICATED", "INTERNAL"), (name, got)
                if may and method.name != "ListOrganizations":
                    assert await outcome(client, method, about(method, "globex")) == NOT_THERE, name


async def test_whoever_leads_a_team_sees_it_on_all_replicas_from_then_on_and_no_longer(
    world: World, replica: World
) -> None:
    async with calling(world.address, "ada-token") as ada, calling(replica.address, "ada-token") as there:
        for client in (ada, there):
            assert answer(await refusal(client.budgets.GetBudget(GET))) == NO_BUDGET
        for _ in range(3):
            await lead(world.address, "core", "bob", "ada")
            for client in (there, ada):
                assert (await client.budgets.GetBudget(GET)).name == GET.name
                listed = await client.budgets.ListBudgets(budget_pb2.ListBudgetsRequest(parent=ACME))
                assert [each.name for each in listed.budgets] == [GET.name, f"{GET.name}-each"]
            await lead(world.address, "core", "bob")
            for client in (there, ada):
                assert answer(await refusal(client.budgets.GetBudget(GET))) == NO_BUDGET
                listed = await client.budgets.ListBudgets(budget_pb2.ListBudgetsRequest(parent=ACME))
                assert not listed.budgets


async def test_a_stream_ends_before_it_tells_anything_to_whom_does_not_lead_the_team_any_more(
    world: World,
) -> None:
    await lead(world.address, "core", "ada")
    async with calling(world.address, "ada-token") as ada:
        stream: Any = ada.budgets.WatchBudgetStatus(WATCH)
        assert (await stream.read()).statuses
        await lead(world.address, "core")
        await spend(world, "1")
        assert answer(await refusal(stream.read())) == NO_BUDGET


async def test_a_stream_ends_before_it_tells_anything_to_whom_the_file_gives_another_team(
    world: World,
) -> None:
    async with calling(world.address, "core-token") as core:
        stream: Any = core.budgets.WatchBudgetStatus(WATCH)
        assert (await stream.read()).statuses
        await spend(world, "1")
        assert (await stream.read()).statuses
        written(world.file, {**CALLERS, "core": ("team_lead", "acme", "sales")})
        await spend(world, "2")
        assert answer(await refusal(stream.read())) == NO_BUDGET


async def spend(world: World, key: str) -> None:
    subject = types_pb2.Subject(organization="acme", user="ada")
    async with calling(world.address, "operator-token") as operator:
        answered = await operator.quota.Authorize(authorize_request(key, subject=subject))
        assert answered.decision == types_pb2.DECISION_ALLOW


def move(source: str, destination: str, **more: Any) -> money_pb2.ReallocateBudgetRequest:
    return money_pb2.ReallocateBudgetRequest(
        source=f"{ACME}/budgets/{source}",
        destination=f"{ACME}/budgets/{destination}",
        amounts=types_pb2.Amounts(cost_micros=1_000),
        reason="more work",
        **{"request_id": f"{source} {destination}", **more},
    )


async def test_a_team_lead_moves_headroom_between_its_own_budgets_and_adjusts_none(world: World) -> None:
    async with calling(world.address, "core-token") as core, calling(world.address, "looks-token") as looks:
        request = move("core", "core-each", destination_each_value="ada")
        moved = await core.budgets.ReallocateBudget(request)
        assert moved.entry.actor == "core"
        assert [each.limit for each in moved.source_statuses] == [BUDGET.limits.cost_micros - 1_000]
        assert answer(await refusal(looks.budgets.ReallocateBudget(request))) == NOT_ALLOWED
        for other in ("sales", "all", "made-up"):
            for pair in (("core", other), (other, "core")):
                error = await refusal(
                    core.budgets.ReallocateBudget(move(*pair, request_id=request.request_id))
                )
                assert answer(error) == NO_BUDGET
                assert error.details() == f"There is no budget “{other}” in organization “acme”."
        adjust = ALL["quota.v1.BudgetService/AdjustBudget"]
        assert await outcome(core, adjust, about(adjust, "acme")) == NOT_ALLOWED


async def test_headroom_goes_to_no_value_that_is_out_of_sight_and_none_is_hinted_at(world: World) -> None:
    async with calling(world.address, "core-token") as core, calling(world.address, "operator-token") as all_:
        for name in ("bob", "bobb", "nobody"):
            request = move("core", "core-each", destination_each_value=name)
            told = fields(await refusal(core.budgets.ReallocateBudget(request)))
            assert told == {"destination_each_value": f"there is no user “{name}”"}
        hinted = await refusal(
            all_.budgets.ReallocateBudget(move("core", "core-each", destination_each_value="bobb"))
        )
        assert "bob”" in fields(hinted)["destination_each_value"].replace("“bobb”", "")


async def test_who_leads_no_team_sees_the_organization_and_prices_and_nothing_else(world: World) -> None:
    async with calling(world.address, "ada-token") as ada:
        name = directory_pb2.GetOrganizationRequest(name=ACME)
        assert (await ada.directory.GetOrganization(name)).name == ACME
        for each in ("Teams", "Users", "ApiKeys", "Projects"):
            method = ALL[f"quota.v1.DirectoryService/List{each}"]
            assert not (await stub_of(ada, method)(about(method, "acme"))).ListFields(), each
        models = ALL["quota.v1.CatalogService/ListModels"]
        assert (await stub_of(ada, models)(about(models, "acme"))).models


async def test_while_valkey_is_away_whoever_led_a_team_sees_nothing_of_it_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise StoreUnavailable("Valkey does not answer.")

    await lead(world.address, "core", "ada")
    async with calling(world.address, "ada-token") as ada:
        await ada.budgets.GetBudget(GET)
        await lead(world.address, "core")
        monkeypatch.setattr(ValkeyHoldStore, "inspect", away)
        assert answer(await refusal(ada.budgets.GetBudget(GET))) == NO_BUDGET
