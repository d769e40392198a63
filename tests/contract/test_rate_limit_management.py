"""BudgetService's rate limits as its contract says: how they are kept, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2 as pb
from quota.v1 import directory_pb2, types_pb2
from tests.contract.conftest import ACME, Service
from tests.contract.test_budgets import populate
from tests.support.refusals import answer, fields, refusal


def a_limit(**fields_: Any) -> pb.RateLimit:
    values: dict[str, Any] = {"meter": types_pb2.METER_REQUESTS, "limit": 60}
    return pb.RateLimit(**(values | fields_))


async def create(service: Service, limit: pb.RateLimit, id_: str = "r", request_id: str = "") -> pb.RateLimit:
    return await service.budgets.CreateRateLimit(
        pb.CreateRateLimitRequest(parent=ACME, rate_limit_id=id_, rate_limit=limit, request_id=request_id)
    )


async def test_a_rate_limit_is_created_read_listed_changed_and_deleted(service: Service) -> None:
    await populate(service)
    name = f"{ACME}/rateLimits/r"
    scope = pb.Scope(
        organization="acme",
        team="core",
        provider="openai",
        model="gpt-4o",
        each=pb.Each(dimension=types_pb2.DIMENSION_USER),
    )
    created = await create(
        service, a_limit(display_name="R", scope=scope, meter=types_pb2.METER_TOKENS, limit=90_000, burst=10)
    )
    assert (created.name, created.scope.organization) == (name, "")
    assert (created.interval.seconds, created.burst) == (60, 10)
    assert await service.budgets.GetRateLimit(pb.GetRateLimitRequest(name=name)) == created
    listed = await service.budgets.ListRateLimits(pb.ListRateLimitsRequest(parent=ACME))
    assert list(listed.rate_limits) == [created]
    changed = await service.budgets.UpdateRateLimit(
        pb.UpdateRateLimitRequest(
            rate_limit=pb.RateLimit(name=name, disabled=True, limit=70),
            update_mask=FieldMask(paths=["limit", "burst"]),
        )
    )
    assert (changed.disabled, changed.limit, changed.burst, changed.scope) == (False, 70, 0, created.scope)
    await service.budgets.DeleteRateLimit(pb.DeleteRateLimitRequest(name=name, etag=changed.etag))
    gone = await refusal(service.budgets.GetRateLimit(pb.GetRateLimitRequest(name=name)))
    assert answer(gone) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_rate_limits_are_listed_in_pages(service: Service) -> None:
    for id_ in ("c", "a", "b"):
        await create(service, a_limit(), id_)
    first = await service.budgets.ListRateLimits(pb.ListRateLimitsRequest(parent=ACME, page_size=2))
    rest = await service.budgets.ListRateLimits(
        pb.ListRateLimitsRequest(parent=ACME, page_token=first.next_page_token)
    )
    assert [limit.name[-1] for limit in (*first.rate_limits, *rest.rate_limits)] == ["a", "b", "c"]
    assert rest.next_page_token == ""


async def test_creation_is_idempotent_by_its_request_id(service: Service) -> None:
    first = await create(service, a_limit(), request_id="x")
    assert await create(service, a_limit(), request_id="x") == first
    other = await refusal(create(service, a_limit(limit=61), request_id="x"))
    assert answer(other) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    taken = await refusal(create(service, a_limit()))
    assert answer(taken) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")


async def test_a_change_since_it_was_read_is_a_mismatch(service: Service) -> None:
    created = await create(service, a_limit())
    mask = FieldMask(paths=["limit"])
    newer = pb.RateLimit(name=created.name, etag=created.etag, limit=70)
    await service.budgets.UpdateRateLimit(pb.UpdateRateLimitRequest(rate_limit=newer, update_mask=mask))
    again = await refusal(
        service.budgets.UpdateRateLimit(pb.UpdateRateLimitRequest(rate_limit=newer, update_mask=mask))
    )
    assert answer(again) == ("FAILED_PRECONDITION", "ETAG_MISMATCH")
    delete = pb.DeleteRateLimitRequest(name=created.name, etag=created.etag)
    assert answer(await refusal(service.budgets.DeleteRateLimit(delete)))[1] == "ETAG_MISMATCH"


async def test_an_update_may_create_what_is_missing(service: Service) -> None:
    request = pb.UpdateRateLimitRequest(rate_limit=a_limit(name=f"{ACME}/rateLimits/new"))
    missing = await refusal(service.budgets.UpdateRateLimit(request))
    assert answer(missing) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    request.allow_missing = True
    assert (await service.budgets.UpdateRateLimit(request)).limit == 60


EACH_TAG = pb.Each(dimension=types_pb2.DIMENSION_TAG, tag="run")
BAD_LIMITS = (
    (a_limit(limit=0), "rate_limit.limit"),
    (a_limit(limit=-1), "rate_limit.limit"),
    (a_limit(limit=2**53), "rate_limit.limit"),
    (a_limit(limit=5_000_003, interval=Duration(seconds=2_592_000)), "rate_limit.limit"),
    (a_limit(meter=types_pb2.METER_UNSPECIFIED), "rate_limit.meter"),
    (a_limit(meter=types_pb2.METER_COST), "rate_limit.meter"),
    (a_limit(meter=9), "rate_limit.meter"),
    (a_limit(interval=Duration()), "rate_limit.interval"),
    (a_limit(interval=Duration(nanos=1_000_000)), "rate_limit.interval"),
    (a_limit(interval=Duration(seconds=1, nanos=500_000_000)), "rate_limit.interval"),
    (a_limit(interval=Duration(seconds=31 * 86_400 + 1)), "rate_limit.interval"),
    (a_limit(burst=-1), "rate_limit.burst"),
    (a_limit(limit=7, burst=10**9, interval=Duration(seconds=2_592_000)), "rate_limit.burst"),
    (a_limit(scope=pb.Scope(organization="globex")), "rate_limit.scope.organization"),
    (a_limit(scope=pb.Scope(each=EACH_TAG)), "rate_limit.scope.each"),
    (
        a_limit(scope=pb.Scope(each=pb.Each(dimension=types_pb2.DIMENSION_ORGANIZATION))),
        "rate_limit.scope.each.dimension",
    ),
    (a_limit(display_name="x" * 201), "rate_limit.display_name"),
)


async def test_bad_input_names_its_field_and_changes_nothing(
    service: Service, subtests: pytest.Subtests
) -> None:
    for limit, field in BAD_LIMITS:
        with subtests.test(field):
            error = await refusal(create(service, limit))
            assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
            assert list(fields(error)) == [field]
            assert not (
                await service.budgets.ListRateLimits(pb.ListRateLimitsRequest(parent=ACME))
            ).rate_limits


async def test_the_result_of_an_update_must_be_valid_as_a_whole(service: Service) -> None:
    created = await create(service, a_limit())
    request = pb.UpdateRateLimitRequest(
        rate_limit=pb.RateLimit(name=created.name), update_mask=FieldMask(paths=["limit"])
    )
    assert list(fields(await refusal(service.budgets.UpdateRateLimit(request)))) == ["rate_limit.limit"]
    assert await service.budgets.GetRateLimit(pb.GetRateLimitRequest(name=created.name)) == created


async def test_money_is_limited_by_a_budget(service: Service) -> None:
    error = await refusal(create(service, a_limit(meter=types_pb2.METER_COST)))
    assert "limit money with a budget" in fields(error)["rate_limit.meter"]


UNKNOWN_NAMES = (
    (pb.Scope(team="cor"), "rate_limit.scope.team", "did you mean “core”?"),
    (pb.Scope(user="nobody"), "rate_limit.scope.user", "there is no user “nobody”"),
    (pb.Scope(api_key="gw-2"), "rate_limit.scope.api_key", "did you mean “gw-1”?"),
    (pb.Scope(project="serch"), "rate_limit.scope.project", "did you mean “search”?"),
    (pb.Scope(cost_center="cc-2"), "rate_limit.scope.cost_center", "did you mean “cc-1”?"),
    (pb.Scope(provider="opanai"), "rate_limit.scope.provider", "did you mean “openai”?"),
    (pb.Scope(provider="openai", model="gtp-4o"), "rate_limit.scope.model", "did you mean “gpt-4o”?"),
    (
        pb.Scope(provider="openai", model="gpt-4o-2024-08-06"),
        "rate_limit.scope.model",
        "is an alias; the catalogue calls it “openai/gpt-4o”",
    ),
)


async def test_an_equality_must_name_what_exists(service: Service, subtests: pytest.Subtests) -> None:
    await populate(service)
    for scope, field, says in UNKNOWN_NAMES:
        with subtests.test(field):
            error = await refusal(create(service, a_limit(scope=scope)))
            assert answer(error) == ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN")
            assert list(fields(error)) == [field]
            assert says in fields(error)[field]


async def test_what_a_rate_limit_names_cannot_be_deleted(service: Service) -> None:
    await populate(service)
    for id_, scope in (
        ("t", pb.Scope(team="core")),
        ("u", pb.Scope(user="ada")),
        ("k", pb.Scope(api_key="gw-1")),
        ("p", pb.Scope(project="search")),
    ):
        await create(service, a_limit(scope=scope), id_)
    directory = service.directory
    in_use: dict[str, Awaitable[Any]] = {
        "t": directory.DeleteTeam(directory_pb2.DeleteTeamRequest(name=f"{ACME}/teams/core")),
        "u": directory.DeleteUser(directory_pb2.DeleteUserRequest(name=f"{ACME}/users/ada")),
        "k": directory.DeleteApiKey(directory_pb2.DeleteApiKeyRequest(name=f"{ACME}/apiKeys/gw-1")),
        "p": directory.DeleteProject(directory_pb2.DeleteProjectRequest(name=f"{ACME}/projects/search")),
    }
    for id_, call in in_use.items():
        error = await refusal(call)
        assert answer(error) == ("FAILED_PRECONDITION", "RESOURCE_IN_USE")
        assert f"rateLimits/{id_}" in str(error.details())
