"""The real service inside the test's own process, over the run's real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc.aio

from quota.v1 import budget_pb2, directory_pb2, quota_pb2, types_pb2
from quota.v1.alert_pb2_grpc import AlertServiceStub
from quota.v1.audit_pb2_grpc import AuditServiceStub
from quota.v1.budget_pb2_grpc import BudgetServiceStub
from quota.v1.catalog_pb2_grpc import CatalogServiceStub
from quota.v1.directory_pb2_grpc import DirectoryServiceStub
from quota.v1.operations_pb2_grpc import OperationsServiceStub
from quota.v1.quota_pb2_grpc import QuotaServiceStub
from quota.v1.report_pb2_grpc import ReportServiceStub
from quota_service import compose
from quota_service.config import Settings

ACME = "organizations/acme"
PEPPER = "the pepper of these tests is long enough"
PROVIDER, MODEL = "openai", "gpt-4o"  # 2.50 and 10 USD per million input and output tokens


class Client:
    """Every service of one server."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self.address = address
        self.channel = channel
        self.quota = QuotaServiceStub(channel)
        self.budgets = BudgetServiceStub(channel)
        self.directory = DirectoryServiceStub(channel)
        self.catalog = CatalogServiceStub(channel)
        self.reports = ReportServiceStub(channel)
        self.alerts = AlertServiceStub(channel)
        self.audit = AuditServiceStub(channel)
        self.operations = OperationsServiceStub(channel)

    async def found_acme(self, **settings: object) -> None:
        """Organization `acme`: team `engineering` (cost center CC-1), user `ada` in it and her key
        `key-ada`.
        """
        organization = directory_pb2.Organization(**settings)  # type: ignore[arg-type]
        await self.directory.CreateOrganization(
            directory_pb2.CreateOrganizationRequest(organization_id="acme", organization=organization)
        )
        team = directory_pb2.Team(cost_center="CC-1")
        await self.directory.CreateTeam(
            directory_pb2.CreateTeamRequest(parent=ACME, team_id="engineering", team=team)
        )
        user = directory_pb2.User(teams=["engineering"])
        await self.directory.CreateUser(
            directory_pb2.CreateUserRequest(parent=ACME, user_id="ada", user=user)
        )
        key = directory_pb2.ApiKey(name=f"{ACME}/apiKeys/key-ada", user="ada")
        await self.directory.UpdateApiKey(directory_pb2.UpdateApiKeyRequest(api_key=key, allow_missing=True))

    async def budget(self, id_: str, *, limits: types_pb2.Amounts, **fields: object) -> budget_pb2.Budget:
        """A monthly budget of acme, HARD unless said otherwise."""
        fields.setdefault("mode", types_pb2.MODE_HARD)
        fields.setdefault("period", budget_pb2.Period(monthly=budget_pb2.Period.Monthly()))
        budget = budget_pb2.Budget(limits=limits, **fields)  # type: ignore[arg-type]
        return await self.budgets.CreateBudget(
            budget_pb2.CreateBudgetRequest(parent=ACME, budget_id=id_, budget=budget)
        )

    async def status(self, id_: str, each_value: str = "") -> list[types_pb2.BudgetStatus]:
        """One status per limited meter of a budget of acme."""
        request = budget_pb2.GetBudgetStatusRequest(name=f"{ACME}/budgets/{id_}", each_value=each_value)
        return list((await self.budgets.GetBudgetStatus(request)).statuses)


def authorize_request(key: str, **fields: object) -> quota_pb2.AuthorizeRequest:
    """Ada's request for 1,000 input and 500 output tokens: 7,500 micro-USD, 1,500 tokens."""
    fields.setdefault("subject", types_pb2.Subject(organization="acme", user="ada"))
    fields.setdefault("estimate", quota_pb2.Estimate(input_tokens=1_000, max_output_tokens=500))
    fields.setdefault("provider", PROVIDER)
    fields.setdefault("model", MODEL)
    return quota_pb2.AuthorizeRequest(idempotency_key=key, **fields)  # type: ignore[arg-type]


def commit_request(
    name: str, input_tokens: int, output_tokens: int, **fields: object
) -> quota_pb2.CommitRequest:
    usage = types_pb2.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return quota_pb2.CommitRequest(name=name, usage=usage, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def running_service(
    valkey_url: str, postgres_url: str, key_prefix: str, *, patience_ms: int = 5_000, **given: Any
) -> AsyncIterator[Client]:
    """A server of its own over the given stores, and a client of it. `given`: further settings.

    Tests share a busy machine: unless they want it so, a slow answer of Valkey's is no outage.
    """
    settings = Settings(
        dev=True,
        address="127.0.0.1:0",
        valkey_url=valkey_url,
        postgres_url=postgres_url,
        key_prefix=f"{key_prefix}/",
        grace_ms=1_000,
        left_behind_ms=500,
        calls_behind_max=1_000,  # the server shares the tests' event loop, which is often behind
        patience_ms=patience_ms,
        **{"key_pepper": PEPPER, **given},
    )
    async with compose.running(settings) as address, grpc.aio.insecure_channel(address) as channel:
        yield Client(channel, address)


@asynccontextmanager
async def connections(client: Client, count: int) -> AsyncIterator[list[Client]]:
    """So many clients of the same server, each with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(client.address, options))
            for _ in range(count)
        ]
        yield [Client(channel, client.address) for channel in channels]
