"""The organization that is measured, and the requests that are made in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration

from quota.client import Connection
from quota.v1 import budget_pb2, directory_pb2, quota_pb2, types_pb2

AUTHORIZE = "/quota.v1.QuotaService/Authorize"
COMMIT = "/quota.v1.QuotaService/Commit"

ORGANIZATION = "bench"
PARENT = f"organizations/{ORGANIZATION}"
LIMITS = types_pb2.Amounts(cost_micros=10**14, tokens=10**14)  # nothing is ever denied
SCOPES = {
    "organization": budget_pb2.Scope(),
    "team": budget_pb2.Scope(team="engineering"),
    "user": budget_pb2.Scope(user="ada"),
    "key": budget_pb2.Scope(api_key="key-ada"),
}
TTL = Duration(seconds=600)  # longer than a run: no hold expires while others are measured
OUTPUT_TOKENS_HELD, OUTPUT_TOKENS_USED = 500, 300


async def seed(service: Connection) -> None:
    """Founds the organization, with four nested hard budgets on cost and tokens."""
    await _found(service)
    for name, scope in SCOPES.items():
        budget = budget_pb2.Budget(
            scope=scope,
            limits=LIMITS,
            mode=types_pb2.MODE_HARD,
            period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
        )
        await service.budgets.CreateBudget(
            budget_pb2.CreateBudgetRequest(parent=PARENT, budget_id=name, budget=budget)
        )


async def _found(service: Connection) -> None:
    directory = service.directory
    await directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id=ORGANIZATION, organization=directory_pb2.Organization()
        )
    )
    await directory.CreateTeam(
        directory_pb2.CreateTeamRequest(
            parent=PARENT, team_id="engineering", team=directory_pb2.Team(cost_center="CC-1")
        )
    )
    await directory.CreateUser(
        directory_pb2.CreateUserRequest(
            parent=PARENT, user_id="ada", user=directory_pb2.User(teams=["engineering"])
        )
    )
    await directory.CreateApiKey(
        directory_pb2.CreateApiKeyRequest(
            parent=PARENT, api_key_id="key-ada", api_key=directory_pb2.ApiKey(user="ada")
        )
    )


def authorize_requests() -> Iterator[bytes]:
    """Serialized requests without end, each with a key of its own."""
    run = uuid.uuid4()
    request = quota_pb2.AuthorizeRequest(
        subject=types_pb2.Subject(organization=ORGANIZATION, api_key="key-ada"),
        provider="openai",
        model="gpt-4o",
        estimate=quota_pb2.Estimate(input_tokens=1_000, max_output_tokens=OUTPUT_TOKENS_HELD),
        ttl=TTL,
    )
    for number in range(1 << 62):
        request.idempotency_key = f"{run}/{number}"
        yield request.SerializeToString()


def commit_request(reservation: str) -> bytes:
    """A serialized Commit that returns a part of its hold."""
    usage = types_pb2.Usage(input_tokens=1_000, output_tokens=OUTPUT_TOKENS_USED)
    return quota_pb2.CommitRequest(name=reservation, usage=usage).SerializeToString()


class WrongAnswer(Exception):
    """A call was answered, but not as it must be for the measurement to mean anything."""


def granted(answer: bytes) -> str:
    """The reservation of an answer to Authorize. Raises WrongAnswer where nothing was granted."""
    response = quota_pb2.AuthorizeResponse.FromString(answer)
    if response.decision != types_pb2.DECISION_ALLOW or response.replayed:
        raise WrongAnswer(f"Authorize was answered {response.message or 'replayed'!r}")
    if len(response.budgets) != 2 * len(SCOPES):
        raise WrongAnswer(f"Authorize told of {len(response.budgets)} meters of budgets")
    return response.reservation.name


def in_ledger(answer: bytes) -> None:
    """Raises WrongAnswer where a Commit was not answered LEDGER."""
    response = quota_pb2.CommitResponse.FromString(answer)
    if response.durability != types_pb2.DURABILITY_LEDGER or response.replayed or response.late:
        raise WrongAnswer(f"Commit was answered {types_pb2.Durability.Name(response.durability)}")
