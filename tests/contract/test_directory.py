"""DirectoryService as its contract says."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from quota.v1 import budget_pb2, types_pb2
from quota.v1 import directory_pb2 as pb
from tests.contract.conftest import ACME, Service
from tests.support.refusals import answer, fields, refusal

ALLOW_DEGRADED = pb.OUTAGE_POLICY_ALLOW_DEGRADED
ALLOWS = pb.Organization(outage_policy=ALLOW_DEGRADED, degraded_cost_cap_micros=25_000_000)
NO_CAP = (
    "is required with OUTAGE_POLICY_ALLOW_DEGRADED: say how much each replica may grant in one outage, in "
    "micro-USD"
)


async def create_team(
    service: Service, id_: str, team: pb.Team | None = None, request_id: str = ""
) -> pb.Team:
    request = pb.CreateTeamRequest(parent=ACME, team_id=id_, team=team or pb.Team(), request_id=request_id)
    return await service.directory.CreateTeam(request)


async def create_user(service: Service, id_: str, *teams: str) -> pb.User:
    return await service.directory.CreateUser(
        pb.CreateUserRequest(parent=ACME, user_id=id_, user=pb.User(teams=teams))
    )


async def create_key(service: Service, id_: str, key: pb.ApiKey) -> pb.ApiKey:
    return await service.directory.CreateApiKey(
        pb.CreateApiKeyRequest(parent=ACME, api_key_id=id_, api_key=key)
    )


async def test_what_is_created_can_be_read_and_has_an_etag_and_times(service: Service) -> None:
    created = await create_team(service, "core", pb.Team(cost_center="cc-1", leads=["nobody-yet"]))
    assert created.name == f"{ACME}/teams/core"
    assert created.etag
    assert created.create_time.seconds > 1_700_000_000
    assert await service.directory.GetTeam(pb.GetTeamRequest(name=created.name)) == created


async def test_a_second_creation_is_refused_unless_it_repeats_the_first(service: Service) -> None:
    team = pb.Team(display_name="Core")
    first = await create_team(service, "core", team, request_id="r1")
    assert await create_team(service, "core", team, request_id="r1") == first
    for other in (
        create_team(service, "core", pb.Team(display_name="Other"), request_id="r1"),
        create_team(service, "data", team, request_id="r1"),
    ):
        assert answer(await refusal(other)) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert answer(await refusal(create_team(service, "core", team))) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")


async def test_concurrent_creations_under_one_request_id_create_once(service: Service) -> None:
    team = pb.Team(display_name="Core")
    teams = await asyncio.gather(*(create_team(service, "core", team, request_id="r1") for _ in range(8)))
    assert {each.etag for each in teams} == {teams[0].etag}


async def test_lists_are_paged_in_order_and_end(service: Service) -> None:
    for id_ in ("c", "a", "b", "e", "d"):
        await create_team(service, id_)
    listed: list[str] = []
    token = ""
    for _ in range(3):
        request = pb.ListTeamsRequest(parent=ACME, page_size=2, page_token=token)
        page = await service.directory.ListTeams(request)
        listed += [team.name.rsplit("/", 1)[1] for team in page.teams]
        token = page.next_page_token
    assert (listed, token) == (["a", "b", "c", "d", "e"], "")


async def test_a_token_of_another_list_is_refused(service: Service) -> None:
    for id_ in ("a", "b"):
        await create_team(service, id_)
    page = await service.directory.ListTeams(pb.ListTeamsRequest(parent=ACME, page_size=1))
    call = service.directory.ListUsers(pb.ListUsersRequest(parent=ACME, page_token=page.next_page_token))
    assert answer(await refusal(call)) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_an_update_changes_what_its_mask_names(service: Service) -> None:
    created = await create_team(service, "core", pb.Team(display_name="Core", cost_center="cc-1"))
    request = pb.UpdateTeamRequest(
        team=pb.Team(name=created.name, disabled=True, display_name="ignored", etag=created.etag),
        update_mask=FieldMask(paths=["disabled", "cost_center"]),
    )
    updated = await service.directory.UpdateTeam(request)
    assert (updated.display_name, updated.cost_center, updated.disabled) == ("Core", "", True)
    assert updated.etag != created.etag
    assert updated.create_time == created.create_time
    assert answer(await refusal(service.directory.UpdateTeam(request))) == (
        "FAILED_PRECONDITION",
        "ETAG_MISMATCH",
    )


async def test_an_update_that_changes_nothing_keeps_the_etag(service: Service) -> None:
    created = await create_team(service, "core", pb.Team(display_name="Core"))
    assert await service.directory.UpdateTeam(pb.UpdateTeamRequest(team=created)) == created


async def test_an_update_of_what_is_missing_creates_it_where_that_is_allowed(service: Service) -> None:
    team = pb.Team(name=f"{ACME}/teams/core", display_name="Core")
    missing = await refusal(service.directory.UpdateTeam(pb.UpdateTeamRequest(team=team)))
    assert answer(missing) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    created = await service.directory.UpdateTeam(pb.UpdateTeamRequest(team=team, allow_missing=True))
    assert created.display_name == "Core"


async def test_an_unknown_path_is_refused_with_a_suggestion(service: Service) -> None:
    team = pb.Team(name=f"{ACME}/teams/core")
    mask = FieldMask(paths=["disbled"])
    error = await refusal(service.directory.UpdateTeam(pb.UpdateTeamRequest(team=team, update_mask=mask)))
    assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "did you mean “disabled”?" in fields(error)["update_mask"]


async def test_references_must_exist_and_a_mistyped_one_gets_a_suggestion(service: Service) -> None:
    await create_team(service, "platform")
    error = await refusal(create_user(service, "ada", "platform", "platfrom"))
    assert answer(error) == ("INVALID_ARGUMENT", "REFERENCE_UNKNOWN")
    assert fields(error) == {"user.teams[1]": "there is no team “platfrom”; did you mean “platform”?"}
    error = await refusal(create_key(service, "k", pb.ApiKey(user="nobody")))
    assert fields(error) == {"api_key.user": "there is no user “nobody”"}


async def test_a_key_needs_an_owner_and_its_id_is_unique_everywhere(service: Service) -> None:
    error = await refusal(create_key(service, "k", pb.ApiKey()))
    assert (answer(error), list(fields(error))) == (("INVALID_ARGUMENT", "FIELD_INVALID"), ["api_key.owner"])
    await create_team(service, "core")
    await create_key(service, "k", pb.ApiKey(team="core"))
    await service.directory.CreateOrganization(
        pb.CreateOrganizationRequest(organization_id="globex", organization=pb.Organization())
    )
    globex = "organizations/globex"
    await service.directory.CreateTeam(pb.CreateTeamRequest(parent=globex, team_id="core", team=pb.Team()))
    call = service.directory.CreateApiKey(
        pb.CreateApiKeyRequest(parent=globex, api_key_id="k", api_key=pb.ApiKey(team="core"))
    )
    assert answer(await refusal(call)) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")


async def test_what_others_refer_to_cannot_be_deleted(service: Service) -> None:
    await create_team(service, "core")
    await create_user(service, "ada", "core")
    await create_key(service, "k", pb.ApiKey(user="ada"))
    budget = budget_pb2.Budget(
        scope=budget_pb2.Scope(api_key="k", team="core"),
        period=budget_pb2.Period(daily=budget_pb2.Period.Daily()),
        limits=types_pb2.Amounts(requests=1),
        mode=types_pb2.MODE_HARD,
    )
    await service.budgets.CreateBudget(
        budget_pb2.CreateBudgetRequest(parent=ACME, budget_id="b", budget=budget)
    )
    team = pb.DeleteTeamRequest(name=f"{ACME}/teams/core")
    user = pb.DeleteUserRequest(name=f"{ACME}/users/ada")
    key = pb.DeleteApiKeyRequest(name=f"{ACME}/apiKeys/k")
    for call, referrers in (
        (service.directory.DeleteTeam(team), "users/ada, budgets/b"),
        (service.directory.DeleteUser(user), "apiKeys/k"),
        (service.directory.DeleteApiKey(key), "budgets/b"),
        (
            service.directory.DeleteOrganization(pb.DeleteOrganizationRequest(name=ACME)),
            "",
        ),
    ):
        error = await refusal(call)
        assert answer(error) == ("FAILED_PRECONDITION", "RESOURCE_IN_USE")
        assert referrers in (error.details() or "")
    await service.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/b"))
    await service.directory.DeleteApiKey(key)
    await service.directory.DeleteUser(user)
    await service.directory.DeleteTeam(team)
    assert answer(await refusal(service.directory.DeleteTeam(team))) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
    await service.directory.DeleteOrganization(pb.DeleteOrganizationRequest(name=ACME))
    gone = await refusal(service.directory.GetOrganization(pb.GetOrganizationRequest(name=ACME)))
    assert answer(gone) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")


async def test_an_organization_is_created_once_listed_and_changed(service: Service) -> None:
    again = pb.CreateOrganizationRequest(organization_id="acme", organization=pb.Organization())
    call = service.directory.CreateOrganization(again)
    assert answer(await refusal(call)) == ("ALREADY_EXISTS", "RESOURCE_EXISTS")
    updated = await service.directory.UpdateOrganization(
        pb.UpdateOrganizationRequest(
            organization=pb.Organization(name=ACME, unbudgeted=pb.UNBUDGETED_POLICY_ALLOW)
        )
    )
    assert (updated.unbudgeted, updated.time_zone) == (pb.UNBUDGETED_POLICY_ALLOW, "Europe/Berlin")
    listed = await service.directory.ListOrganizations(pb.ListOrganizationsRequest())
    assert list(listed.organizations) == [updated]


async def changed(service: Service, organization: pb.Organization, *paths: str) -> pb.Organization:
    named = pb.Organization(name=ACME)
    named.MergeFrom(organization)
    request = pb.UpdateOrganizationRequest(organization=named, update_mask=FieldMask(paths=paths))
    return await service.directory.UpdateOrganization(request)


async def test_an_organization_denies_during_outages_unless_it_says_how_much_may_be_granted(
    service: Service,
) -> None:
    found = await service.directory.GetOrganization(pb.GetOrganizationRequest(name=ACME))
    assert found.outage_policy == pb.OUTAGE_POLICY_DENY
    assert not found.HasField("degraded_cost_cap_micros")
    request = pb.CreateOrganizationRequest(organization_id="globex", organization=ALLOWS)
    created = await service.directory.CreateOrganization(request)
    assert (created.outage_policy, created.degraded_cost_cap_micros) == (ALLOW_DEGRADED, 25_000_000)
    assert await service.directory.GetOrganization(pb.GetOrganizationRequest(name=created.name)) == created


async def test_the_outage_policy_and_its_cap_are_changed_one_by_one(service: Service) -> None:
    kept = await changed(service, ALLOWS, "degraded_cost_cap_micros")
    assert (kept.outage_policy, kept.degraded_cost_cap_micros) == (pb.OUTAGE_POLICY_DENY, 25_000_000)
    allows = await changed(service, pb.Organization(outage_policy=ALLOW_DEGRADED), "outage_policy")
    assert (allows.outage_policy, allows.degraded_cost_cap_micros) == (ALLOW_DEGRADED, 25_000_000)
    free = await changed(service, pb.Organization(degraded_cost_cap_micros=0))
    assert (free.outage_policy, free.HasField("degraded_cost_cap_micros")) == (ALLOW_DEGRADED, True)
    assert free.degraded_cost_cap_micros == 0

    error = await refusal(changed(service, pb.Organization(), "degraded_cost_cap_micros"))
    assert fields(error) == {"organization.degraded_cost_cap_micros": NO_CAP}

    denies = await changed(service, pb.Organization(), "outage_policy", "degraded_cost_cap_micros")
    assert (denies.outage_policy, denies.HasField("degraded_cost_cap_micros")) == (
        pb.OUTAGE_POLICY_DENY,
        False,
    )
    assert denies.time_zone == "Europe/Berlin"


async def test_a_change_that_could_not_be_published_is_not_answered_and_its_repeat_publishes(
    service: Service,
) -> None:
    service.publisher.fails = True
    error = await refusal(create_team(service, "core", request_id="r1"))
    assert answer(error) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    service.publisher.fails = False
    before = len(service.publisher.published)
    await create_team(service, "core", request_id="r1")
    assert len(service.publisher.published) == before + 1


BAD_TEAMS = (
    (pb.CreateTeamRequest(parent=ACME, team_id="", team=pb.Team()), "team_id"),
    (pb.CreateTeamRequest(parent=ACME, team_id="a b", team=pb.Team()), "team_id"),
    (pb.CreateTeamRequest(parent=ACME, team_id="é", team=pb.Team()), "team_id"),
    (pb.CreateTeamRequest(parent=ACME, team_id="t" * 10_240, team=pb.Team()), "team_id"),
    (pb.CreateTeamRequest(parent=ACME, team_id="t\n", team=pb.Team()), "team_id"),
    (pb.CreateTeamRequest(parent=ACME, team_id="t"), "team"),
    (
        pb.CreateTeamRequest(parent=ACME, team_id="t", team=pb.Team(display_name="n" * 201)),
        "team.display_name",
    ),
    (pb.CreateTeamRequest(parent=ACME, team_id="t", team=pb.Team(cost_center="a/b")), "team.cost_center"),
    (pb.CreateTeamRequest(parent=ACME, team_id="t", team=pb.Team(leads=["a", "a"])), "team.leads"),
    (
        pb.CreateTeamRequest(parent=ACME, team_id="t", team=pb.Team(), request_id="r" * 10_240),
        "request_id",
    ),
    (pb.CreateTeamRequest(parent="acme", team_id="t", team=pb.Team()), "parent"),
    (pb.CreateTeamRequest(parent=f"{ACME}/teams/x", team_id="t", team=pb.Team()), "parent"),
)


async def test_bad_input_names_its_field_and_changes_nothing(
    service: Service, subtests: pytest.Subtests
) -> None:
    for request, field in BAD_TEAMS:
        with subtests.test(field):
            error = await refusal(service.directory.CreateTeam(request))
            expected = "NAME_MALFORMED" if field == "parent" else "FIELD_INVALID"
            assert answer(error) == ("INVALID_ARGUMENT", expected)
            assert list(fields(error)) == [field]
            assert not (await service.directory.ListTeams(pb.ListTeamsRequest(parent=ACME))).teams


BAD_SETTINGS = (
    (
        pb.Organization(outage_policy=ALLOW_DEGRADED),
        "FIELD_INVALID",
        "organization.degraded_cost_cap_micros",
    ),
    (
        pb.Organization(outage_policy=ALLOW_DEGRADED, degraded_cost_cap_micros=-1),
        "FIELD_INVALID",
        "organization.degraded_cost_cap_micros",
    ),
    (
        pb.Organization(degraded_cost_cap_micros=900_000_000_000_001),
        "FIELD_INVALID",
        "organization.degraded_cost_cap_micros",
    ),
    (pb.Organization(outage_policy=7), "FIELD_INVALID", "organization.outage_policy"),  # type: ignore[arg-type]
    (pb.Organization(time_zone="Europe/Berlim"), "TIME_ZONE_UNKNOWN", "organization.time_zone"),
    (pb.Organization(help_url="javascript:alert(1)"), "FIELD_INVALID", "organization.help_url"),
    (
        pb.Organization(required_dimensions=[types_pb2.DIMENSION_TAG]),
        "FIELD_INVALID",
        "organization.required_dimensions[0]",
    ),
)


async def test_bad_settings_are_refused(service: Service, subtests: pytest.Subtests) -> None:
    for organization, reason, field in BAD_SETTINGS:
        with subtests.test(field):
            request = pb.CreateOrganizationRequest(organization_id="new", organization=organization)
            error = await refusal(service.directory.CreateOrganization(request))
            assert answer(error) == ("INVALID_ARGUMENT", reason)
            assert list(fields(error)) == [field]


async def test_every_method_of_an_unknown_organization_is_not_found(service: Service) -> None:
    nowhere = "organizations/nowhere"
    calls: list[tuple[str, Message]] = [
        ("CreateTeam", pb.CreateTeamRequest(parent=nowhere, team_id="t", team=pb.Team())),
        ("CreateProject", pb.CreateProjectRequest(parent=nowhere, project_id="p", project=pb.Project())),
        ("ListUsers", pb.ListUsersRequest(parent=nowhere)),
        ("GetOrganization", pb.GetOrganizationRequest(name=nowhere)),
        ("UpdateTeam", pb.UpdateTeamRequest(team=pb.Team(name=f"{nowhere}/teams/t"), allow_missing=True)),
        ("DeleteProject", pb.DeleteProjectRequest(name=f"{nowhere}/projects/p")),
        ("DeleteOrganization", pb.DeleteOrganizationRequest(name=nowhere)),
    ]
    for method, request in calls:
        error = await refusal(getattr(service.directory, method)(request))
        assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND"), method
