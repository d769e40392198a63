"""Who spends: the subject completed from the directory, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from quota.v1 import directory_pb2, types_pb2
from tests.support.calls import (
    COST,
    api_key,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    model,
    project,
    reasons,
    stands,
    subject,
    team,
    user,
)
from tests.support.refusals import answer, refusal
from tests.support.service import ACME, Client, authorize_request

CREATE = {"unknown_subject": "UNKNOWN_SUBJECT_POLICY_CREATE"}


async def found(client: Client, **settings: object) -> None:
    """Acme with a second team, a second user and keys of both kinds."""
    await client.found_acme(**settings)
    await team(client, "support", cost_center="CC-2")
    await user(client, "bob", "support", "engineering")
    await user(client, "eve")
    await api_key(client, "robot", team="support")
    await project(client, "apollo")
    await client.budget("all", limits=cost(1_000_000))


@pytest.mark.parametrize(
    ("sent", "completed"),
    [
        ({"user": "ada"}, {"user": "ada", "team": "engineering"}),
        ({"user": "bob"}, {"user": "bob", "team": "support"}),
        ({"user": "bob", "team": "engineering"}, {"user": "bob", "team": "engineering"}),
        ({"user": "eve"}, {"user": "eve"}),
        ({"api_key": "key-ada"}, {"api_key": "key-ada", "user": "ada", "team": "engineering"}),
        ({"api_key": "robot"}, {"api_key": "robot", "team": "support"}),
        ({"api_key": "robot", "user": "bob"}, {"api_key": "robot", "user": "bob", "team": "support"}),
        ({"team": "support", "project": "apollo"}, {"team": "support", "project": "apollo"}),
        ({}, {}),
    ],
    ids=str,
)
async def test_the_directory_completes_what_was_sent(
    client: Client, sent: dict[str, Any], completed: dict[str, Any]
) -> None:
    await found(client)
    answer = await authorized(client, subject=subject(**sent))
    assert answer.reservation.subject == subject(**completed)


@pytest.mark.parametrize(
    ("sent", "reason", "source"),
    [
        ({"user": "zoe"}, "SUBJECT_UNKNOWN", "users/zoe"),
        ({"team": "sales"}, "SUBJECT_UNKNOWN", "teams/sales"),
        ({"project": "x"}, "SUBJECT_UNKNOWN", "projects/x"),
        ({"api_key": "x"}, "SUBJECT_UNKNOWN", "apiKeys/x"),
        ({"user": "ADA"}, "SUBJECT_UNKNOWN", "users/ADA"),
        ({"user": "ada", "team": "support"}, "SUBJECT_CONTRADICTORY", "users/ada"),
        ({"user": "bob", "api_key": "key-ada"}, "SUBJECT_CONTRADICTORY", "apiKeys/key-ada"),
        ({"team": "engineering", "api_key": "robot"}, "SUBJECT_CONTRADICTORY", "apiKeys/robot"),
    ],
    ids=str,
)
async def test_unknown_and_contradictory_subjects_are_denied(
    client: Client, sent: dict[str, Any], reason: str, source: str
) -> None:
    await found(client)
    answer = await denied(client, subject=subject(**sent))
    assert (reason, f"{ACME}/{source}") in [
        (name, each.source) for name, each in zip(reasons(answer), answer.violations, strict=True)
    ]
    assert await stands(client, "all") == (0, 0)


async def test_every_fault_of_a_subject_is_told(client: Client) -> None:
    await found(client)
    answer = await denied(client, subject=subject(user="zoe", project="x"), model="gpt-unheard-of")
    assert sorted(reasons(answer)) == ["MODEL_UNKNOWN", "SUBJECT_UNKNOWN", "SUBJECT_UNKNOWN"]


async def test_a_disabled_part_of_the_subject_denies(client: Client) -> None:
    await found(client)
    await team(client, "frozen", disabled=True)
    await user(client, "mallory", "engineering", disabled=True)
    await user(client, "carl", "frozen")
    await api_key(client, "old", user="ada", disabled=True)
    await project(client, "gone", disabled=True)
    for sent in (
        subject(team="frozen"),
        subject(user="mallory"),
        subject(user="carl"),
        subject(api_key="old"),
        subject(user="ada", project="gone"),
    ):
        assert reasons(await denied(client, subject=sent)) == ["SUBJECT_DISABLED"]


async def test_what_a_disabled_user_holds_can_still_be_committed(client: Client) -> None:
    await found(client)
    name = (await authorized(client)).reservation.name
    frozen = directory_pb2.User(name=f"{ACME}/users/ada", disabled=True)
    await client.directory.UpdateUser(directory_pb2.UpdateUserRequest(user=frozen))
    assert (await committed(client, name)).charged.cost_micros == 4_500


async def test_an_unknown_organization_is_not_found(client: Client) -> None:
    await client.found_acme()
    nowhere = types_pb2.Subject(organization="nowhere", user="ada")
    error = await refusal(client.quota.Authorize(authorize_request("k", subject=nowhere)))
    assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    stranger = types_pb2.Subject(api_key="stranger")
    error = await refusal(client.quota.Authorize(authorize_request("k", subject=stranger)))
    assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")


async def test_a_key_of_another_organization_is_unknown_here(client: Client) -> None:
    await found(client)
    await client.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id="other", organization=directory_pb2.Organization()
        )
    )
    sent = types_pb2.Subject(organization="other", api_key="key-ada")
    assert reasons(await denied(client, subject=sent)) == ["SUBJECT_UNKNOWN"]


@pytest.mark.parametrize(
    ("dimension", "without", "with_it"),
    [
        ("TEAM", {"user": "eve"}, {"user": "ada"}),
        ("USER", {"team": "support"}, {"user": "ada"}),
        ("API_KEY", {"user": "ada"}, {"api_key": "robot"}),
        ("PROJECT", {"user": "ada"}, {"user": "ada", "project": "apollo"}),
        ("COST_CENTER", {"user": "eve"}, {"user": "bob"}),
    ],
)
async def test_a_required_dimension_must_be_there_after_completion(
    client: Client, dimension: str, without: dict[str, Any], with_it: dict[str, Any]
) -> None:
    await found(client, required_dimensions=[f"DIMENSION_{dimension}"])
    assert reasons(await denied(client, subject=subject(**without))) == ["DIMENSION_REQUIRED"]
    await authorized(client, subject=subject(**with_it))


async def test_a_tier_is_a_dimension_of_the_model_that_may_be_required(client: Client) -> None:
    required = ["DIMENSION_TIER", "DIMENSION_PROVIDER", "DIMENSION_MODEL", "DIMENSION_ORGANIZATION"]
    await found(client, required_dimensions=required)
    await model(client, "plain")
    await model(client, "tiered", tier=2)
    asked = {"provider": "house", "estimate": estimate(1, 1)}
    assert reasons(await denied(client, "a", model="plain", **asked)) == ["DIMENSION_REQUIRED"]
    await authorized(client, "b", model="tiered", **asked)


async def test_unknown_subjects_are_registered_where_the_organization_says_so(client: Client) -> None:
    await found(client, **CREATE)
    sent = subject(user="zoe", team="sales", project="gemini", api_key="key-zoe")
    assert (await authorized(client, subject=sent)).reservation.subject == sent
    created = await client.directory.GetUser(directory_pb2.GetUserRequest(name=f"{ACME}/users/zoe"))
    assert list(created.teams) == ["sales"]
    key = await client.directory.GetApiKey(directory_pb2.GetApiKeyRequest(name=f"{ACME}/apiKeys/key-zoe"))
    assert key.user == "zoe"
    await client.directory.GetTeam(directory_pb2.GetTeamRequest(name=f"{ACME}/teams/sales"))
    await client.directory.GetProject(directory_pb2.GetProjectRequest(name=f"{ACME}/projects/gemini"))
    alone = (await authorized(client, "b", subject=subject(user="zoe"))).reservation.subject
    assert alone == subject(user="zoe", team="sales")


async def test_registering_does_not_bend_what_is_known(client: Client) -> None:
    await found(client, **CREATE)
    for sent, reason in (
        (subject(user="ada", team="sales"), "SUBJECT_CONTRADICTORY"),
        (subject(user="zoe", api_key="key-ada"), "SUBJECT_CONTRADICTORY"),
        (subject(api_key="nobodys"), "SUBJECT_UNKNOWN"),
    ):
        assert reason in reasons(await denied(client, subject=sent))
    teams = await client.directory.ListTeams(directory_pb2.ListTeamsRequest(parent=ACME))
    assert [each.name.rpartition("/")[2] for each in teams.teams] == ["engineering", "support"]
    users = await client.directory.ListUsers(directory_pb2.ListUsersRequest(parent=ACME))
    assert [each.name.rpartition("/")[2] for each in users.users] == ["ada", "bob", "eve"]


async def test_a_key_of_another_organization_is_not_registered_but_unknown(client: Client) -> None:
    await found(client)
    settings: dict[str, Any] = {**CREATE, "unbudgeted": "UNBUDGETED_POLICY_ALLOW"}
    await client.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id="other", organization=directory_pb2.Organization(**settings)
        )
    )
    sent = types_pb2.Subject(organization="other", user="zoe", api_key="key-ada")
    assert reasons(await denied(client, subject=sent)) == ["SUBJECT_UNKNOWN"] * 2


@pytest.mark.parametrize(
    "refused",
    [{"validate_only": True}, {"model": "gpt-unheard-of"}, {"estimate": estimate(1, 1, cost_micros=1)}],
    ids=lambda refused: next(iter(refused)),
)
async def test_a_request_that_is_refused_anyway_registers_nobody(
    client: Client, refused: dict[str, Any]
) -> None:
    await found(client, **CREATE)
    request = authorize_request("k", subject=subject(user="zoe"), **refused)
    if "estimate" in refused:
        assert answer(await refusal(client.quota.Authorize(request)))[1] == "PRICE_NOT_ALLOWED"
    else:
        await client.quota.Authorize(request)
    error = await refusal(client.directory.GetUser(directory_pb2.GetUserRequest(name=f"{ACME}/users/zoe")))
    assert answer(error)[0] == "NOT_FOUND"


async def test_validate_only_answers_as_if_the_unknown_were_registered(client: Client) -> None:
    await found(client, **CREATE)
    answer = await authorized(client, subject=subject(user="zoe"), validate_only=True)
    assert [each.held for each in answer.budgets] == [COST]
