"""The audit trail: every change is told, in the transaction of the change, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import audit_pb2, budget_pb2, directory_pb2, money_pb2, types_pb2
from tests.contract.test_callers import ALL, outcome
from tests.support.callers import about, calling, stub_of, written
from tests.support.refusals import answer
from tests.support.service import ACME, Client, authorize_request, running_service
from tests.support.stores import Stores

LOOKING = ("Get", "List", "Watch", "Verify", "Resolve", "Diagnose")
CHANGING = ("Create", "Update", "Upsert", "Adjust", "Reallocate", "Rotate", "Revoke", "Delete")
"""In an order in which all of them can be called, one after the other."""

OTHERWISE = ("Reconcile", "ReplayDeadLetters")  # below: where nothing is wrong they change nothing


def of_kind(*verbs: str) -> list[str]:
    """Methods of the contract, by what their names begin with."""
    return [name for verb in verbs for name in ALL if name.rpartition("/")[2].startswith(verb)]


SPENDING = [name for name in ALL if name.startswith("quota.v1.QuotaService/")]
LIMIT = types_pb2.Amounts(cost_micros=1_000_000)


@pytest.fixture
async def admin(valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[Client]:
    """An operator named `root`, of a service that asks who calls."""
    file = written(tmp_path / "callers.yaml", {"root": ("admin", "*")})
    async with (
        running_service(valkey_url, postgres_url, key_prefix, callers=str(file)) as client,
        calling(client.address, "root-token") as admin,
    ):
        yield admin


async def events(client: Client, **filters: Any) -> list[audit_pb2.AuditEvent]:
    """Newest first."""
    request = audit_pb2.ListAuditEventsRequest(parent=ACME, page_size=1_000, **filters)
    return list((await client.audit.ListAuditEvents(request)).audit_events)


async def verify(client: Client, **fields: Any) -> audit_pb2.VerifyAuditTrailResponse:
    return await client.audit.VerifyAuditTrail(audit_pb2.VerifyAuditTrailRequest(parent=ACME, **fields))


async def test_a_change_is_told_with_who_made_it_how_what_it_was_what_it_is_and_why(admin: Client) -> None:
    await admin.found_acme()
    before = await admin.budget("b", limits=LIMIT)
    before.limits.cost_micros = 2_000_000
    await admin.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=before),
        metadata=(("x-request-id", "r-1"), ("x-reason", "Q4 plan, %C3%BCberarbeitet")),
    )

    event = (await events(admin))[0]

    assert (event.actor, event.method) == ("root", "quota.v1.BudgetService/UpdateBudget")
    assert (event.resource, event.request_id) == (f"{ACME}/budgets/b", "r-1")
    assert event.reason == "Q4 plan, überarbeitet"
    assert event.before.budget.limits.cost_micros == 1_000_000
    assert event.after.budget.limits.cost_micros == 2_000_000
    assert event.after.budget.name == event.resource
    assert not event.after.budget.HasField("create_time")
    assert [each.name for each in await events(admin, resource=event.resource, method="CreateBudget")] == [
        f"{ACME}/auditEvents/{int(event.name.rpartition('/')[2]) - 1}"
    ]


async def test_every_method_that_changes_something_is_told_and_no_other(admin: Client) -> None:
    """Walks the whole contract: a method that is added must tell of what it changes."""
    assert {*of_kind(*LOOKING, *CHANGING, *OTHERWISE), *SPENDING} == ALL.keys()
    await admin.found_acme()
    for id_ in ("acme-1", "acme-1b"):
        await admin.budget(id_, limits=LIMIT)
    for name in of_kind(*CHANGING):
        method = ALL[name]
        request: Any = about(method, "acme")
        if name.endswith(("/CreateOrganization", "/DeleteOrganization")):
            continue  # in a test of their own
        if "allow_missing" in method.input_type.fields_by_name:
            request.allow_missing = True
        _make_valid(method.name, request)
        known = len(await events(admin))
        await stub_of(admin, method)(request, metadata=(("x-request-id", name),))
        new = (await events(admin))[: len(await events(admin)) - known]
        assert [(each.actor, each.method) for each in new] == [("root", name)], name
        if not name.endswith(("/AdjustBudget", "/ReallocateBudget")):
            assert new[0].request_id == name
    known = len(await events(admin))
    for name in {*of_kind(*LOOKING), *SPENDING}:
        assert (await outcome(admin, ALL[name], about(ALL[name], "acme")))[0] != "INTERNAL", name
    assert len(await events(admin)) == known
    assert not (await verify(admin)).findings


def _make_valid(method: str, request: Any) -> None:
    """What `about` leaves to chance, for calls that must succeed."""
    noun = method.removeprefix("Create").removeprefix("Update")
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        request.request_id = method
    if method == "DeleteModel":
        request.provider, request.model = "own", "m"
    if noun == "ApiKey":
        request.api_key.user = "ada"
    if noun == "RateLimit":
        request.rate_limit.meter, request.rate_limit.limit = types_pb2.METER_REQUESTS, 10
        request.rate_limit.interval.seconds = 60
    if noun == "ModelPolicy":
        request.model_policy.allowed_tiers.append(3)
        request.model_policy.team = "engineering" if method.startswith("Update") else ""
    if method == "UpdateBudget":
        request.budget.limits.cost_micros = 3_000_000
    if method == "UpdateOrganization":
        request.organization.help_url = "https://help.example"
    if method in ("UpdateTeam", "UpdateUser", "UpdateProject"):
        getattr(request, noun.lower()).display_name = "x"


async def test_adjustments_and_reallocations_tell_how_the_windows_limits_stand(admin: Client) -> None:
    await admin.found_acme()
    for id_ in ("a", "b"):
        await admin.budget(id_, limits=LIMIT)
    for micros, id_ in ((500, "one"), (-200, "two")):
        await admin.budgets.AdjustBudget(
            money_pb2.AdjustBudgetRequest(
                name=f"{ACME}/budgets/a",
                amounts=types_pb2.Amounts(cost_micros=micros),
                reason=f"why {id_}",
                request_id=id_,
            )
        )
    await admin.budgets.ReallocateBudget(
        money_pb2.ReallocateBudgetRequest(
            source=f"{ACME}/budgets/a",
            destination=f"{ACME}/budgets/b",
            amounts=types_pb2.Amounts(cost_micros=100),
            reason="to b",
            request_id="three",
        )
    )

    moved, cut, raised = (await events(admin))[:3]

    told = [(each.request_id, each.reason, each.actor) for each in (raised, cut, moved)]
    assert told == [("one", "why one", "root"), ("two", "why two", "root"), ("three", "to b", "root")]
    changes = [
        [
            [window.change.cost_micros for window in state.window_limits.windows]
            for state in (each.before, each.after)
        ]
        for each in (raised, cut, moved)
    ]
    assert changes == [[[0], [500]], [[500], [300]], [[300, 0], [200, 100]]]
    assert [window.source for window in moved.after.window_limits.windows] == [
        f"{ACME}/budgets/a",
        f"{ACME}/budgets/b",
    ]


async def test_an_adjustment_until_a_date_tells_what_the_budget_becomes_and_why(admin: Client) -> None:
    await admin.found_acme()
    await admin.budget("b", limits=LIMIT)
    request = money_pb2.AdjustBudgetRequest(
        name=f"{ACME}/budgets/b",
        amounts=types_pb2.Amounts(cost_micros=500),
        reason="until the launch",
        request_id="one",
    )
    request.until.FromSeconds(4_000_000_000)
    await admin.budgets.AdjustBudget(request, metadata=(("x-reason", "another"), ("x-request-id", "other")))
    event = (await events(admin))[0]
    assert (event.method, event.reason) == ("quota.v1.BudgetService/AdjustBudget", "until the launch")
    assert (event.request_id, event.resource) == ("one", f"{ACME}/budgets/b")
    assert not event.before.adjustments
    [adjustment] = event.after.adjustments
    assert (adjustment.change.cost_micros, adjustment.reason) == (500, "until the launch")
    assert adjustment.until == request.until


async def test_an_organization_s_trail_begins_with_its_creation_and_outlives_it(admin: Client) -> None:
    organization = directory_pb2.Organization(display_name="Acme")
    create = directory_pb2.CreateOrganizationRequest(organization_id="acme", organization=organization)
    await admin.directory.CreateOrganization(create)
    await admin.directory.DeleteOrganization(directory_pb2.DeleteOrganizationRequest(name=ACME))
    gone = await events(admin)
    await admin.directory.CreateOrganization(create)

    assert [each.method.rpartition("/")[2] for each in await events(admin)] == [
        "CreateOrganization",
        "DeleteOrganization",
        "CreateOrganization",
    ]
    assert [each.before.organization.display_name for each in gone] == ["Acme", ""]
    assert {each.resource for each in gone} == {ACME}
    assert not (await verify(admin)).findings


async def test_what_an_authorize_registers_is_told_as_its_caller_s(admin: Client) -> None:
    await admin.found_acme(unknown_subject=directory_pb2.UNKNOWN_SUBJECT_POLICY_CREATE)
    await admin.budget("b", limits=LIMIT)
    await admin.quota.Authorize(
        authorize_request("k", subject=types_pb2.Subject(organization="acme", user="grace"))
    )
    event = (await events(admin))[0]
    assert (event.actor, event.method) == ("root", "quota.v1.QuotaService/Authorize")
    assert (event.resource, event.HasField("before")) == (f"{ACME}/users/grace", False)


async def test_a_change_that_cannot_be_told_is_not_made(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("b", limits=LIMIT)
    await stores.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    name = f"{ACME}/budgets/b"
    changed = budget_pb2.Budget(name=name, limits=types_pb2.Amounts(cost_micros=5))
    mask = FieldMask(paths=["limits"])
    with pytest.raises(grpc.aio.AioRpcError):
        await client.budgets.UpdateBudget(budget_pb2.UpdateBudgetRequest(budget=changed, update_mask=mask))
    after = await client.budgets.GetBudget(budget_pb2.GetBudgetRequest(name=name))
    assert after.limits.cost_micros == LIMIT.cost_micros


async def test_changes_of_many_at_once_on_two_servers_make_one_chain(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=LIMIT)

    async def one(number: int) -> None:
        at = client if number % 2 else other
        if number % 3:
            await at.budgets.AdjustBudget(
                money_pb2.AdjustBudgetRequest(
                    name=f"{ACME}/budgets/b",
                    amounts=types_pb2.Amounts(cost_micros=1),
                    reason="more",
                    request_id=f"r{number}",
                )
            )
        else:
            await at.directory.CreateProject(
                directory_pb2.CreateProjectRequest(
                    parent=ACME, project_id=f"p{number}", project=directory_pb2.Project()
                )
            )

    await asyncio.gather(*map(one, range(60)))

    found = await verify(client)
    assert (found.verified_events, list(found.findings), found.next_page_token) == (65, [], "")


async def test_no_secret_and_no_digest_of_one_is_in_the_trail(client: Client, stores: Stores) -> None:
    await client.found_acme()
    key = await client.directory.CreateApiKey(
        directory_pb2.CreateApiKeyRequest(
            parent=ACME, api_key_id="k", api_key=directory_pb2.ApiKey(user="ada")
        )
    )
    event = (await events(client))[0]
    assert event.after.api_key.secrets[0].start == key.secret[:11]
    assert event.after.api_key.secret == ""
    [row] = await stores.fetch("SELECT document ->> 'secrets' AS secrets FROM resources WHERE id = 'k'")
    digest = row["secrets"].partition('"digest": "')[2][:64]
    assert len(digest) == 64
    told = await stores.fetch("SELECT string_agg(a::text, '') AS text FROM audit_events a")
    assert digest not in told[0]["text"]
    assert key.secret not in told[0]["text"]


async def test_events_are_listed_page_by_page_and_by_every_filter(client: Client) -> None:
    await client.found_acme()
    every = await events(client)
    request = audit_pb2.ListAuditEventsRequest(parent=ACME, page_size=3)
    first = await client.audit.ListAuditEvents(request)
    request.page_token = first.next_page_token
    second = await client.audit.ListAuditEvents(request)
    assert [*first.audit_events, *second.audit_events] == every
    assert not second.next_page_token
    assert await events(client, resource=f"{ACME}/users/ada") == [every[1]]
    assert await events(client, resource=ACME) == [every[3]]
    assert await events(client, actor="nobody") == []
    assert await events(client, start_time=every[0].create_time) == [
        each for each in every if each.create_time.ToDatetime() >= every[0].create_time.ToDatetime()
    ]
    for wrong in ({"resource": "organizations/globex"}, {"page_token": "x"}):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await events(client, **wrong)
        assert answer(refused.value)[0] == "INVALID_ARGUMENT"
