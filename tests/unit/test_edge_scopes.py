"""Which organizations a request is about, wherever it names them."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from quota.v1 import budget_pb2, directory_pb2, money_pb2, operations_pb2, quota_pb2, types_pb2
from quota_service.edge.access.scopes import name_organization, organizations

SUBJECT = types_pb2.Subject(organization="globex")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (quota_pb2.AuthorizeRequest(subject=SUBJECT), ["globex"]),
        (quota_pb2.AuthorizeRequest(), []),
        (
            quota_pb2.CommitRequest(name="organizations/acme/reservations/1", subject=SUBJECT),
            ["acme", "globex"],
        ),
        (
            money_pb2.ReallocateBudgetRequest(
                source="organizations/acme/budgets/a", destination="organizations/globex/budgets/b"
            ),
            ["acme", "globex"],
        ),
        (
            budget_pb2.UpdateBudgetRequest(budget=budget_pb2.Budget(name="organizations/acme/budgets/a")),
            ["acme"],
        ),
        (
            operations_pb2.ReplayDeadLettersRequest(
                parent="organizations/acme", names=["organizations/globex/deadLetters/1"]
            ),
            ["acme", "globex"],
        ),
        (directory_pb2.CreateOrganizationRequest(organization_id="acme"), ["acme"]),
        (directory_pb2.GetTeamRequest(name="teams/x"), ["teams/x"]),
    ],
)
def test_every_organization_that_a_request_names_is_found(request_: Message, expected: list[str]) -> None:
    assert organizations(request_) == expected


def test_a_name_inside_of_what_is_created_means_nothing() -> None:
    copied = directory_pb2.Team(name="organizations/globex/teams/x")
    request = directory_pb2.CreateTeamRequest(parent="organizations/acme", team=copied)
    assert organizations(request) == ["acme"]


def test_a_request_without_an_organization_is_told_its_caller_s() -> None:
    request = quota_pb2.AuthorizeRequest(subject=types_pb2.Subject(user="ada"))
    name_organization(request, "acme")
    assert request.subject == types_pb2.Subject(organization="acme", user="ada")
