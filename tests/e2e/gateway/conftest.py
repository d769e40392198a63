"""A gateway for a test: a real service, a real Envoy before it, and the providers' own libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anthropic
import openai
import pytest
from google import genai
from structlog.testing import capture_logs

from quota.v1 import directory_pb2, report_pb2, types_pb2
from quota_service.edge.dialects import tokens
from quota_service.stores.prices import GenaiAliases
from tests.support.gateway import Change, Gateway, file_as_json, gateway
from tests.support.metered import Metered
from tests.support.model_provider import ModelProvider, providing
from tests.support.service import ACME, Client

Gateways = Callable[..., Awaitable[Gateway]]
SETTLED_S = 10.0


@pytest.fixture(scope="session", autouse=True)
def warmed() -> None:
    """What a process loads once stops everything in it for a second: a service that has just started would
    take its stores for lost.
    """
    GenaiAliases().warm()
    tokens.load()
    file_as_json()


@pytest.fixture
async def provider() -> AsyncIterator[ModelProvider]:
    """The stand-in for all model providers."""
    async with providing() as provider:
        yield provider


@pytest.fixture
async def gateways(client: Client, provider: ModelProvider, tmp_path: Path) -> AsyncIterator[Gateways]:
    """Starts an Envoy with these changes, before the service of `client` and the stand-in."""
    async with AsyncExitStack() as stack:

        async def start(*changes: Change, service: str = client.address) -> Gateway:
            return await stack.enter_async_context(gateway(tmp_path, service, provider, changes))

        yield start


@pytest.fixture
async def envoy(gateways: Gateways) -> Gateway:
    """The gateway that deploy/envoy/envoy.yaml makes."""
    return await gateways()


@pytest.fixture
async def secret(client: Client) -> str:
    """The secret of a key of Ada's, in organization acme, which has a budget of 100 USD a month."""
    await client.found_acme()
    await client.budget("core", limits=types_pb2.Amounts(cost_micros=100_000_000))
    key = directory_pb2.CreateApiKeyRequest(
        parent=ACME, api_key_id="key-gateway", api_key=directory_pb2.ApiKey(user="ada")
    )
    return (await client.directory.CreateApiKey(key)).secret


@pytest.fixture
async def chat(envoy: Gateway, secret: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's library, which has nothing but the gateway's address and Ada's key."""
    async with openai.AsyncOpenAI(base_url=f"{envoy.url}/v1", api_key=secret) as library:
        yield library


@pytest.fixture
async def claude(envoy: Gateway, secret: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's library, likewise."""
    async with anthropic.AsyncAnthropic(base_url=envoy.url, api_key=secret) as library:
        yield library


@pytest.fixture
async def gemini(envoy: Gateway, secret: str) -> AsyncIterator[genai.client.AsyncClient]:
    """Google's library, likewise."""
    options = genai.types.HttpOptions(base_url=envoy.url)
    async with genai.Client(api_key=secret, http_options=options).aio as library:
        yield library


@pytest.fixture
def settled(client: Client) -> Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]:
    """Waits until the ledger has so many COMMIT, RELEASE or RECORD entries; the oldest first."""
    ends = (report_pb2.LedgerEntry.TYPE_COMMIT, report_pb2.LedgerEntry.TYPE_RELEASE)

    async def wait(count: int = 1) -> list[report_pb2.LedgerEntry]:
        found: list[report_pb2.LedgerEntry] = []
        async with asyncio.timeout(SETTLED_S):
            while len(found) < count:
                page = await client.reports.ListLedgerEntries(
                    report_pb2.ListLedgerEntriesRequest(parent=ACME)
                )
                found = [entry for entry in page.ledger_entries if entry.type in ends]
                await asyncio.sleep(0.05)
        return sorted(found, key=lambda entry: entry.create_time.ToNanoseconds())

    return wait


@pytest.fixture
async def metered(client: Client, envoy: Gateway) -> AsyncIterator[Metered]:
    """Calls through the gateway, each by a key of its own. The service must have nothing to complain of."""
    metered = Metered(client, envoy)
    await metered.found()
    with capture_logs() as logs:
        yield metered
    assert [log for log in logs if log["log_level"] == "error" or log["event"] == "not settled"] == []
