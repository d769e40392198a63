"""BudgetService's budgets and statuses as its contract says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import budget_pb2 as pb
from quota.v1 import directory_pb2, types_pb2
from tests.contract.conftest import ACME, Service
from tests.support.refusals import answer, fields, refusal

DAILY = pb.Period(daily=pb.Period.Daily())
NOTIFY = pb.LadderStep.Notify()
BLOCK = pb.LadderStep.Block()
EACH_USER = pb.Scope(each=pb.Each(dimension=types_pb2.DIMENSION_USER))


def a_budget(**fields_: Any) -> pb.Budget:
    values: dict[str, Any] = {
        "period": DAILY,
        "limits": types_pb2.Amounts(cost_micros=150_000_000),
        "mode": types_pb2.MODE_HARD,
    }
    return pb.Budget(**(values | fields_))


def step(percent: int, **action: Any) -> pb.LadderStep:
    return pb.LadderStep(at_percent=percent, **action)


def an_override(value: str, **limits: int) -> pb.EachOverride:
    return pb.EachOverride(each_value=value, limits=types_pb2.Amounts(**limits))


async def create(service: Service, budget: pb.Budget, id_: str = "b", request_id: str = "") -> pb.Budget:
    request = pb.CreateBudgetRequest(parent=ACME, budget_id=id_, budget=budget, request_id=request_id)
    return await service.budgets.CreateBudget(request)


async def populate(service: Service) -> None:
    """A team `core` of cost center `cc-1` with user `ada`, key `gw-1` and project `search`."""
    directory = service.directory
    team = directory_pb2.Team(cost_center="cc-1")
    user, project = directory_pb2.User(teams=["core"]), directory_pb2.Project()
    await directory.CreateTeam(directory_pb2.CreateTeamRequest(parent=ACME, team_id="core", team=team))
    await directory.CreateUser(directory_pb2.CreateUserRequest(parent=ACME, user_id="ada", user=user))
    await directory.CreateApiKey(
        directory_pb2.CreateApiKeyRequest(
            parent=ACME, api_key_id="gw-1", api_key=directory_pb2.ApiKey(user="ada")
        )
    )
    await directory.CreateProject(
        directory_pb2.CreateProjectRequest(parent=ACME, project_id="search", project=project)
    )


async def test_a_budget_is_created_read_listed_changed_and_deleted(service: Service) -> None:
    await populate(service)
    created = await create(
        service,
        a_budget(
            scope=pb.Scope(
                organization="acme",
                team="core",
                user="ada",
                api_key="gw-1",
                project="search",
                cost_center="cc-1",
                provider="openai",
                model="gpt-4o",
                tags={"feature": "chat"},
            ),
            ladder=[
                step(80, notify=NOTIFY),
                step(100, downgrade=pb.LadderStep.Downgrade(provider="openai", model="gpt-4o-mini")),
                step(120, block=BLOCK),
            ],
        ),
    )
    assert created.period.time_zone == "Europe/Berlin"  # the organization's
    assert created.scope.organization == ""
    name = f"{ACME}/budgets/b"
    assert await service.budgets.GetBudget(pb.GetBudgetRequest(name=name)) == created
    listed = await service.budgets.ListBudgets(pb.ListBudgetsRequest(parent=ACME))
    assert list(listed.budgets) == [created]
    changed = await service.budgets.UpdateBudget(
        pb.UpdateBudgetRequest(
            budget=pb.Budget(name=name, disabled=True, limits=types_pb2.Amounts(tokens=7)),
            update_mask=FieldMask(paths=["disabled", "limits.tokens", "ladder"]),
        )
    )
    assert (changed.disabled, len(changed.ladder)) == (True, 0)
    assert changed.limits == types_pb2.Amounts(cost_micros=150_000_000, tokens=7)
    await service.budgets.DeleteBudget(pb.DeleteBudgetRequest(name=name, etag=changed.etag))
    gone = await refusal(service.budgets.GetBudget(pb.GetBudgetRequest(name=name)))
    assert answer(gone) == ("NOT_FOUND", "BUDGET_NOT_FOUND")
    again = await refusal(service.budgets.DeleteBudget(pb.DeleteBudgetRequest(name=name)))
    assert answer(again) == ("NOT_FOUND", "BUDGET_NOT_FOUND")


async def test_creation_is_idempotent_by_its_request_id(service: Service) -> None:
    budget = a_budget(scope=pb.Scope(tags={"a": "1", "b": "2"}))
    first = await create(service, budget, request_id="r")
    assert await create(service, budget, request_id="r") == first
    other = await refusal(create(service, a_budget(), request_id="r"))
    assert answer(other) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


async def test_the_result_of_an_update_must_be_valid_as_a_whole(service: Service) -> None:
    created = await create(service, a_budget())
    request = pb.UpdateBudgetRequest(
        budget=pb.Budget(name=created.name), update_mask=FieldMask(paths=["limits.cost_micros"])
    )
    error = await refusal(service.budgets.UpdateBudget(request))
    assert list(fields(error)) == ["budget.limits"]
    assert await service.budgets.GetBudget(pb.GetBudgetRequest(name=created.name)) == created


BAD_BUDGETS = (
    (a_budget(limits=None), "budget.limits"),
    (a_budget(limits=types_pb2.Amounts()), "budget.limits"),
    (a_budget(limits=types_pb2.Amounts(cost_micros=-1)), "budget.limits.cost_micros"),
    (a_budget(limits=types_pb2.Amounts(tokens=2**53)), "budget.limits.tokens"),
    (a_budget(limits=types_pb2.Amounts(requests=2**63 - 1)), "budget.limits.requests"),
    (a_budget(mode=types_pb2.MODE_UNSPECIFIED), "budget.mode"),
    (a_budget(mode=9), "budget.mode"),
    (a_budget(period=None), "budget.period"),
    (a_budget(period=pb.Period()), "budget.period.rule"),
    (
        a_budget(period=pb.Period(monthly=pb.Period.Monthly(reset_day=32))),
        "budget.period.monthly.reset_day",
    ),
    (
        a_budget(
            period=pb.Period(
                once=pb.Period.Once(start_time=Timestamp(seconds=5), end_time=Timestamp(seconds=5))
            )
        ),
        "budget.period.once",
    ),
    (a_budget(ladder=[step(80, notify=NOTIFY), step(50, block=BLOCK)]), "budget.ladder"),
    (a_budget(ladder=[step(80, notify=NOTIFY)]), "budget.ladder"),
    (a_budget(ladder=[step(0, block=BLOCK)]), "budget.ladder[0].at_percent"),
    (a_budget(ladder=[step(80, block=BLOCK), step(80, block=BLOCK)]), "budget.ladder[1].at_percent"),
    (a_budget(ladder=[pb.LadderStep(at_percent=5)]), "budget.ladder[0].action"),
    (a_budget(overrides=[an_override("ada", cost_micros=1)]), "budget.overrides"),
    (
        a_budget(scope=EACH_USER, overrides=[an_override("ada", tokens=1)]),
        "budget.overrides[0].limits.tokens",
    ),
    (
        a_budget(
            scope=EACH_USER,
            overrides=[an_override("ada", cost_micros=1), an_override("ada", cost_micros=2)],
        ),
        "budget.overrides",
    ),
    (a_budget(scope=pb.Scope(organization="globex")), "budget.scope.organization"),
    (a_budget(scope=pb.Scope(tags={f"k{n}": "v" for n in range(1000)})), "budget.scope.tags"),
    (
        a_budget(scope=pb.Scope(each=pb.Each(dimension=types_pb2.DIMENSION_TAG, tag="run"))),
        "budget.scope.each",
    ),
    (a_budget(recipients=["finance"]), "budget.recipients[0]"),
    (a_budget(recipients=["slack:finance"]), "budget.recipients[0]"),
    (a_budget(display_name="x" * 10_240), "budget.display_name"),
)


async def test_bad_input_names_its_field_and_changes_nothing(
    service: Service, subtests: pytest.Subtests
) -> None:
    for budget, field in BAD_BUDGETS:
        with subtests.test(field):
            error = await refusal(create(service, budget))
            assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
            assert list(fields(error)) == [field]
            assert not (await service.budgets.ListBudgets(pb.ListBudgetsRequest(parent=ACME))).budgets


UNKNOWN_NAMES = (
    (pb.Scope(team="cor"), "budget.scope.team", "there is no team “cor”; did you mean “core”?"),
    (pb.Scope(user="nobody"), "budget.scope.user", "there is no user “nobody”"),
    (pb.Scope(api_key="gw-2"), "budget.scope.api_key", "did you mean “gw-1”?"),
    (pb.Scope(project="serch"), "budget.scope.project", "did you mean “search”?"),
    (pb.Scope(cost_center="cc-2"), "budget.scope.cost_center", "did you mean “cc-1”?"),
    (pb.Scope(provider="opanai"), "budget.scope.provider", "did you mean “openai”?"),
    (
        pb.Scope(provider="openai", model="gtp-4o"),
        "budget.scope.model",
        "there is no model of provider “openai” in the catalogue “gtp-4o”; did you mean “gpt-4o”?",
    ),
    (pb.Scope(model="claude-sonnet-45"), "budget.scope.model", "did you mean “claude-sonnet-4-5”?"),
    (
        pb.Scope(provider="openai", model="gpt-4o-2024-08-06"),
        "budget.scope.model",
        "is an alias; the catalogue calls it “openai/gpt-4o”",
    ),
)


async def test_an_equality_must_name_what_exists(service: Service, subtests: pytest.Subtests) -> None:
    await populate(service)
    for scope, field, says in UNKNOWN_NAMES:
        with subtests.test(field):
            error = await refusal(create(service, a_budget(scope=scope)))
            assert answer(error) == ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN")
            assert list(fields(error)) == [field]
            assert says in fields(error)[field]


async def test_a_ladder_must_divert_to_a_model_that_exists(service: Service) -> None:
    away = pb.LadderStep.Downgrade(provider="openai", model="gpt-4o-nano")
    error = await refusal(
        create(service, a_budget(ladder=[step(80, downgrade=away), step(100, block=BLOCK)]))
    )
    assert answer(error) == ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN")
    assert list(fields(error)) == ["budget.ladder[0].downgrade.model"]


BAD_PERIODS = (
    (
        pb.Period(daily=pb.Period.Daily(), time_zone="Europe/Berlim"),
        "TIME_ZONE_UNKNOWN",
        "budget.period.time_zone",
    ),
)


async def test_periods_that_cannot_be_are_told_apart(service: Service, subtests: pytest.Subtests) -> None:
    for period, reason, field in BAD_PERIODS:
        with subtests.test(field):
            error = await refusal(create(service, a_budget(period=period)))
            assert answer(error) == ("INVALID_ARGUMENT", reason)
            assert list(fields(error)) == [field]


async def test_many_changes_at_once_do_not_wait_for_each_others_connections(service: Service) -> None:
    """Each of them looks the model up; the pool is smaller than their number."""
    scope = pb.Scope(provider="openai", model="gpt-4o")
    async with asyncio.timeout(30):
        await asyncio.gather(*(create(service, a_budget(scope=scope), f"b{n}") for n in range(16)))
    listed = await service.budgets.ListBudgets(pb.ListBudgetsRequest(parent=ACME))
    assert len(listed.budgets) == 16


async def test_a_new_budget_has_a_status_for_each_limited_meter(service: Service) -> None:
    await populate(service)
    limits = types_pb2.Amounts(cost_micros=5, requests=3)
    await create(
        service, a_budget(limits=limits, scope=EACH_USER, overrides=[an_override("ada", requests=9)])
    )
    await create(service, a_budget(mode=types_pb2.MODE_SOFT), "soft")
    name = f"{ACME}/budgets/b"
    one = await service.budgets.GetBudgetStatus(pb.GetBudgetStatusRequest(name=name, each_value="ada"))
    assert [(status.meter, status.limit, status.remaining, status.ceiling) for status in one.statuses] == [
        (types_pb2.METER_COST, 5, 5, 5),
        (types_pb2.METER_REQUESTS, 9, 9, 9),
    ]
    every = await service.budgets.ListBudgetStatuses(
        pb.ListBudgetStatusesRequest(parent=ACME, subject=types_pb2.Subject(user="ada"))
    )
    assert [(status.source, status.each_value, status.HasField("ceiling")) for status in every.statuses] == [
        (name, "ada", True),
        (name, "ada", True),
        (f"{ACME}/budgets/soft", "", False),
    ]


async def test_a_status_of_a_value_needs_a_budget_with_values(service: Service) -> None:
    await create(service, a_budget())
    name = f"{ACME}/budgets/b"
    error = await refusal(
        service.budgets.GetBudgetStatus(pb.GetBudgetStatusRequest(name=name, each_value="ada"))
    )
    assert (answer(error)[1], list(fields(error))) == ("FIELD_INVALID", ["each_value"])
    missing = await refusal(service.budgets.GetBudgetStatus(pb.GetBudgetStatusRequest(name=name + "x")))
    assert answer(missing) == ("NOT_FOUND", "BUDGET_NOT_FOUND")
