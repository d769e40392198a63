"""Who calls: a method is for some roles only, and what is another organization's is not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from quota.v1 import (
    alert_pb2,
    audit_pb2,
    budget_pb2,
    catalog_pb2,
    directory_pb2,
    operations_pb2,
    quota_pb2,
    report_pb2,
    types_pb2,
)
from quota_service.domain.caller import Role
from quota_service.edge.access.roles import METHODS, UNBOUND_ONLY
from quota_service.edge.access.scopes import paths
from tests.support.callers import BUDGET, about, calling, stub_of, written
from tests.support.refusals import answer, refusal
from tests.support.service import Client, authorize_request, running_service

DESCRIPTORS = [
    module.DESCRIPTOR
    for module in (
        quota_pb2,
        budget_pb2,
        directory_pb2,
        catalog_pb2,
        report_pb2,
        alert_pb2,
        audit_pb2,
        operations_pb2,
    )
]
ALL: dict[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for file in DESCRIPTORS
    for service in file.services_by_name.values()
    for method in service.methods
}
ENVOYS = {"envoy.service.auth.v3.Authorization/Check", "envoy.service.ext_proc.v3.ExternalProcessor/Process"}
WITHOUT_ORGANIZATION = {
    "quota.v1.DirectoryService/ListOrganizations",
    "quota.v1.DirectoryService/ResolveApiKey",
    "quota.v1.OperationsService/Diagnose",
}
BOUND = {role.value: (role.value, "acme", *(["acme-1"] if role is Role.TEAM_LEAD else [])) for role in Role}
NOT_ALLOWED = ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
NOT_THERE = ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
MISSING = ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
INVALID = ("UNAUTHENTICATED", "CREDENTIALS_INVALID")


class World(NamedTuple):
    """A server that asks who calls, and the file of its callers."""

    address: str
    file: Path


@pytest.fixture
async def world(valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """With organizations acme and globex, alike but for their ids."""
    file = written(tmp_path / "callers.yaml", {"operator": ("admin", "*"), **BOUND})
    async with running_service(valkey_url, postgres_url, key_prefix, callers=str(file)) as client:
        async with calling(client.address, "operator-token") as operator:
            for organization in ("acme", "globex"):
                await found(operator, organization)
        yield World(client.address, file)


async def found(operator: Client, organization: str) -> None:
    directory, parent = operator.directory, f"organizations/{organization}"
    await directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id=organization, organization=directory_pb2.Organization()
        )
    )
    name = f"{parent}/users/{organization}-1"
    await directory.UpdateUser(
        directory_pb2.UpdateUserRequest(user=directory_pb2.User(name=name), allow_missing=True)
    )
    await operator.budgets.CreateBudget(
        budget_pb2.CreateBudgetRequest(parent=parent, budget_id=f"{organization}-1", budget=BUDGET)
    )


async def outcome(client: Client, method: MethodDescriptor, request: Message) -> tuple[str, str]:
    call = stub_of(client, method)(request, timeout=20)
    try:
        await (call.read() if method.server_streaming else call)
    except grpc.aio.AioRpcError as error:
        return answer(error)
    finally:
        call.cancel()
    return ("OK", "")


def test_every_method_stands_in_some_role_s_table_and_nothing_else_does() -> None:
    assert frozenset().union(*METHODS.values()) == set(ALL) | ENVOYS
    assert METHODS[Role.ADMIN] >= UNBOUND_ONLY


def test_every_request_says_which_organization_it_is_about() -> None:
    """But for those whose methods look at who calls themselves: a new one has to be thought of."""
    silent = {name for name, method in ALL.items() if not paths(method.input_type)}
    assert silent == WITHOUT_ORGANIZATION


@pytest.mark.parametrize("role", list(Role))
async def test_what_is_another_organization_s_is_not_there(world: World, role: Role) -> None:
    async with calling(world.address, f"{role}-token") as caller:
        for name, method in ALL.items():
            if name in WITHOUT_ORGANIZATION:
                continue
            allowed = name in METHODS[role] - UNBOUND_ONLY
            for organization in ("globex", "nowhere"):
                got = await outcome(caller, method, about(method, organization))
                assert got == (NOT_THERE if allowed else NOT_ALLOWED), (name, organization)


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_may_call_what_its_table_says_and_nothing_else(world: World, role: Role) -> None:
    async with calling(world.address, f"{role}-token") as caller:
        for name, method in ALL.items():
            if method.name.startswith("Delete") and name in METHODS[role] - UNBOUND_ONLY:
                continue  # the others want to see it
            got = await outcome(caller, method, about(method, "acme"))
            if name in METHODS[role] - UNBOUND_ONLY:
                assert got not in (NOT_ALLOWED, NOT_THERE), name
                assert got[0] not in ("UNAUTHENTICATED", "INTERNAL"), (name, got)
            else:
                assert got == NOT_ALLOWED, name


async def test_a_mixed_request_about_two_organizations_is_about_another_s(world: World) -> None:
    async with calling(world.address, "admin-token") as admin:
        move = about(ALL["quota.v1.BudgetService/ReallocateBudget"], "acme")
        move.destination = move.destination.replace("acme", "globex")
        assert answer(await refusal(admin.budgets.ReallocateBudget(move))) == NOT_THERE
        commit = about(ALL["quota.v1.QuotaService/Commit"], "acme")
        commit.subject.organization = "globex"
        assert answer(await refusal(admin.quota.Commit(commit))) == NOT_THERE


async def test_the_organization_comes_from_the_caller_where_the_request_has_none(world: World) -> None:
    subject = types_pb2.Subject(user="acme-1")
    async with calling(world.address, "gateway-token") as gateway:
        answered = await gateway.quota.Authorize(authorize_request("k", subject=subject))
        assert answered.decision == types_pb2.DECISION_ALLOW
        assert answered.reservation.subject.organization == "acme"
        assert answered.reservation.name.startswith("organizations/acme/")


async def test_a_key_of_another_organization_is_unknown_to_a_bound_caller(world: World) -> None:
    async with (
        calling(world.address, "operator-token") as operator,
        calling(world.address, "gateway-token") as gateway,
    ):
        key = directory_pb2.ApiKey(user="globex-1")
        made = await operator.directory.CreateApiKey(
            directory_pb2.CreateApiKeyRequest(parent="organizations/globex", api_key_id="k", api_key=key)
        )
        request = directory_pb2.ResolveApiKeyRequest(secret=made.secret)
        assert (await operator.directory.ResolveApiKey(request)).subject.organization == "globex"
        error = await refusal(gateway.directory.ResolveApiKey(request))
        assert answer(error) == ("NOT_FOUND", "API_KEY_UNKNOWN")
        denied = await gateway.quota.Authorize(authorize_request("k", subject=types_pb2.Subject(api_key="k")))
        assert [each.reason for each in denied.violations] == [types_pb2.REASON_SUBJECT_UNKNOWN]


async def test_a_bound_caller_lists_its_own_organization_alone(world: World) -> None:
    request = directory_pb2.ListOrganizationsRequest()
    for token, expected in (("viewer-token", ["acme"]), ("operator-token", ["acme", "globex"])):
        async with calling(world.address, token) as caller:
            found = await caller.directory.ListOrganizations(request)
            assert [each.name for each in found.organizations] == [f"organizations/{id_}" for id_ in expected]


async def test_the_ledger_says_who_has_changed_a_limit(world: World) -> None:
    async with calling(world.address, "finance-token") as finance:
        for name in ("AdjustBudget", "ReallocateBudget"):
            method = ALL[f"quota.v1.BudgetService/{name}"]
            request = about(method, "acme")
            request.request_id = name
            if name == "ReallocateBudget":
                async with calling(world.address, "admin-token") as admin:
                    await admin.budgets.CreateBudget(
                        budget_pb2.CreateBudgetRequest(
                            parent="organizations/acme", budget_id="acme-1b", budget=BUDGET
                        )
                    )
            entry = (await stub_of(finance, method)(request)).entry
            assert entry.actor == "finance"
        request = about(ALL["quota.v1.BudgetService/AdjustBudget"], "acme")
        request.request_id = "lasting"
        request.until.FromSeconds(int(time.time()) + 86_400)
        assert (await finance.budgets.AdjustBudget(request)).entry.actor == "finance"


async def test_a_page_token_of_another_organization_opens_nothing(world: World) -> None:
    async with calling(world.address, "operator-token") as operator:
        for id_ in ("a", "b"):
            team = directory_pb2.Team(name=f"organizations/globex/teams/{id_}")
            await operator.directory.UpdateTeam(
                directory_pb2.UpdateTeamRequest(team=team, allow_missing=True)
            )
        theirs = await operator.directory.ListTeams(
            directory_pb2.ListTeamsRequest(parent="organizations/globex", page_size=1)
        )
    async with calling(world.address, "viewer-token") as viewer:
        error = await refusal(
            viewer.directory.ListTeams(
                directory_pb2.ListTeamsRequest(
                    parent="organizations/acme", page_size=1, page_token=theirs.next_page_token
                )
            )
        )
        assert answer(error) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_one_request_of_another_organization_keeps_a_whole_batch_from_being_decided(
    world: World,
) -> None:
    own = authorize_request("k", subject=types_pb2.Subject(user="acme-1"))
    theirs = authorize_request("k", subject=types_pb2.Subject(organization="globex", user="globex-1"))
    async with calling(world.address, "gateway-token") as gateway:
        error = await refusal(
            gateway.quota.AuthorizeBatch(quota_pb2.AuthorizeBatchRequest(requests=[own, theirs]))
        )
        assert answer(error) == NOT_THERE
        [only] = (await gateway.quota.AuthorizeBatch(quota_pb2.AuthorizeBatchRequest(requests=[own]))).results
    assert (only.response.replayed, only.response.reservation.subject.organization) == (False, "acme")


async def test_whoever_says_nothing_or_something_wrong_gets_nowhere(world: World) -> None:
    method = ALL["quota.v1.QuotaService/Authorize"]
    async with calling(world.address, "") as nobody:
        for each in ALL.values():
            assert await outcome(nobody, each, about(each, "acme")) == MISSING
        send = stub_of(nobody, method)
        for value in (
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Bearer gateway-tokem",
            "Bearer gateway-token ",
            "Basic gateway-token",
            "gateway-token",
        ):
            error = await refusal(send(about(method, "acme"), metadata=(("authorization", value),)))
            assert answer(error) == INVALID, value
            assert "token" not in (error.details() or "")
        twice = (("authorization", "Bearer gateway-token"), ("authorization", "Bearer gateway-token"))
        assert answer(await refusal(send(about(method, "acme"), metadata=twice))) == INVALID
        scheme = await send(about(method, "acme"), metadata=(("authorization", "bearer gateway-token"),))
        assert scheme.decision == types_pb2.DECISION_ALLOW


async def test_health_checks_need_no_credential(world: World) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(world.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        found = await stub.Check(health_pb2.HealthCheckRequest())
        assert found.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stream_ends_before_it_tells_anything_to_whom_may_not_know_any_more(world: World) -> None:
    name = "organizations/acme/budgets/acme-1"
    async with calling(world.address, "viewer-token") as viewer:
        stream: Any = viewer.budgets.WatchBudgetStatus(budget_pb2.WatchBudgetStatusRequest(name=name))
        assert (await stream.read()).statuses
        written(world.file, {"operator": ("admin", "*")})
        await asyncio.sleep(1.2)
        async with calling(world.address, "operator-token") as operator:
            subject = types_pb2.Subject(organization="acme", user="acme-1")
            await operator.quota.Authorize(authorize_request("k", subject=subject))
        assert answer(await refusal(stream.read())) == INVALID


async def test_a_caller_that_is_taken_out_of_the_file_is_refused_without_a_restart(world: World) -> None:
    request = directory_pb2.ListOrganizationsRequest()
    async with calling(world.address, "viewer-token") as viewer:
        await viewer.directory.ListOrganizations(request)
        world.file.write_text("callers: [")  # changes nothing: nobody is locked out by a slip
        await asyncio.sleep(1.2)
        await viewer.directory.ListOrganizations(request)
        written(world.file, {"operator": ("admin", "*")})
        await asyncio.sleep(1.2)
        assert answer(await refusal(viewer.directory.ListOrganizations(request))) == INVALID
