"""What tests ask of QuotaService, with defaults that fit together.

Ada asks for 1,000 input and 500 output tokens of gpt-4o: 2,500 + 5,000 = 7,500 micro-USD and 1,500 tokens.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, quota_pb2, report_pb2, types_pb2
from tests.support.service import ACME, Client, authorize_request, commit_request

COST, TOKENS = 7_500, 1_500
"""What the default request holds."""

NOWHERE = f"{ACME}/reservations/01890000-0000-7000-8000-000000000000"
"""A well-formed name that no store knows."""


class Amount(NamedTuple):
    """Amounts of a message, as a tuple that tests can compare."""

    cost: int = 0
    tokens: int = 0
    requests: int = 0


def amount(message: types_pb2.Amounts) -> Amount:
    return Amount(message.cost_micros, message.tokens, message.requests)


def cost(micros: int) -> types_pb2.Amounts:
    return types_pb2.Amounts(cost_micros=micros)


def requests(number: int) -> types_pb2.Amounts:
    return types_pb2.Amounts(requests=number)


def subject(**parts: Any) -> types_pb2.Subject:
    return types_pb2.Subject(**{"organization": "acme", **parts})


def estimate(input_tokens: int, output_tokens: int | None = None, **fields: Any) -> quota_pb2.Estimate:
    return quota_pb2.Estimate(input_tokens=input_tokens, max_output_tokens=output_tokens, **fields)


def seconds(number: float) -> Duration:
    return Duration(seconds=int(number), nanos=round(number % 1 * 1_000_000_000))


async def authorized(client: Client, key: str = "k", **fields: object) -> quota_pb2.AuthorizeResponse:
    """The answer to a request that must be allowed."""
    answer = await client.quota.Authorize(authorize_request(key, **fields))
    assert answer.decision == types_pb2.DECISION_ALLOW, answer
    assert not answer.violations
    return answer


async def held(client: Client, key: str = "k", **fields: object) -> str:
    """The name of a new reservation."""
    return (await authorized(client, key, **fields)).reservation.name


async def denied(client: Client, key: str = "k", **fields: object) -> quota_pb2.AuthorizeResponse:
    """The answer to a request that must be denied."""
    answer = await client.quota.Authorize(authorize_request(key, **fields))
    assert answer.decision == types_pb2.DECISION_DENY, answer
    assert answer.violations
    assert answer.message
    assert not answer.HasField("reservation")
    return answer


def reasons(answer: quota_pb2.AuthorizeResponse | quota_pb2.ExtendResponse) -> list[str]:
    """Why it was denied, without the enum's prefix."""
    return [types_pb2.Reason.Name(each.reason).removeprefix("REASON_") for each in answer.violations]


def warnings(answer: quota_pb2.AuthorizeResponse) -> list[str]:
    return [types_pb2.Reason.Name(each.reason).removeprefix("REASON_") for each in answer.warnings]


async def committed(
    client: Client, name: str, input_tokens: int = 1_000, output_tokens: int = 200, **fields: object
) -> quota_pb2.CommitResponse:
    """The answer to a Commit, of 4,500 micro-USD and 1,200 tokens unless said otherwise."""
    return await client.quota.Commit(commit_request(name, input_tokens, output_tokens, **fields))


async def released(client: Client, name: str, reason: str = "") -> quota_pb2.ReleaseResponse:
    return await client.quota.Release(quota_pb2.ReleaseRequest(name=name, reason=reason))


def record_request(key: str, **fields: Any) -> quota_pb2.RecordRequest:
    """Ada has used 1,000 input and 500 output tokens without asking."""
    asked = authorize_request(key)
    fields.setdefault("subject", asked.subject)
    fields.setdefault("usage", types_pb2.Usage(input_tokens=1_000, output_tokens=500))
    fields.setdefault("provider", asked.provider)
    fields.setdefault("model", asked.model)
    return quota_pb2.RecordRequest(idempotency_key=key, **fields)


async def stands(client: Client, budget: str, each_value: str = "") -> tuple[int, int]:
    """Spent and held of a budget with one limited meter."""
    [status] = await client.status(budget, each_value)
    return status.spent, status.held


async def reservation(client: Client, name: str) -> quota_pb2.Reservation:
    return await client.quota.GetReservation(quota_pb2.GetReservationRequest(name=name))


async def expired(client: Client, key: str = "k", **fields: object) -> str:
    """The name of a reservation whose second is over."""
    name = await held(client, key, ttl=seconds(1), **fields)
    await asyncio.sleep(1.02)
    return name


async def limit(client: Client, budget: str, limits: types_pb2.Amounts) -> None:
    """Changes a budget's limits."""
    changed = budget_pb2.Budget(name=f"{ACME}/budgets/{budget}", limits=limits)
    await client.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=changed, update_mask=FieldMask(paths=["limits"]))
    )


async def team(client: Client, id_: str, **fields: Any) -> None:
    request = directory_pb2.CreateTeamRequest(parent=ACME, team_id=id_, team=directory_pb2.Team(**fields))
    await client.directory.CreateTeam(request)


async def user(client: Client, id_: str, *teams: str, disabled: bool = False) -> None:
    new = directory_pb2.User(teams=teams, disabled=disabled)
    await client.directory.CreateUser(directory_pb2.CreateUserRequest(parent=ACME, user_id=id_, user=new))


async def api_key(client: Client, id_: str, **fields: Any) -> None:
    key = directory_pb2.ApiKey(name=f"{ACME}/apiKeys/{id_}", **fields)
    await client.directory.UpdateApiKey(directory_pb2.UpdateApiKeyRequest(api_key=key, allow_missing=True))


async def project(client: Client, id_: str, **fields: Any) -> None:
    request = directory_pb2.CreateProjectRequest(
        parent=ACME, project_id=id_, project=directory_pb2.Project(**fields)
    )
    await client.directory.CreateProject(request)


async def model(
    client: Client, name: str, input_pico: int = 1_000_000, output_pico: int = 1_000_000, **fields: Any
) -> None:
    """A model of acme's own, of provider `house`; a micro-USD per token unless said otherwise."""
    price = catalog_pb2.ModelPrice(input_pico_usd_per_token=input_pico, output_pico_usd_per_token=output_pico)
    fields.setdefault("prices", [] if fields.pop("unpriced", False) else [price])
    fields.setdefault("provider", "house")
    new = catalog_pb2.Model(model=name, **fields)
    await client.catalog.UpsertModel(catalog_pb2.UpsertModelRequest(organization="acme", model=new))


async def entries(client: Client, count: int, **filters: Any) -> list[report_pb2.LedgerEntry]:
    """The ledger's entries, oldest first, once there are as many: those of holds and releases come a moment
    later. There must not be more.
    """
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_size=1_000, **filters)
    async with asyncio.timeout(10):
        while True:
            found = (await client.reports.ListLedgerEntries(request)).ledger_entries
            if len(found) >= count:
                break
            await asyncio.sleep(0.01)
    assert len(found) == count, found
    return list(reversed(found))


def types(found: list[report_pb2.LedgerEntry]) -> list[str]:
    return [report_pb2.LedgerEntry.Type.Name(each.type).removeprefix("TYPE_") for each in found]
