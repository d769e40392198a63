"""Who calls a model through the gateway and looks at every byte that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import httpx2

from quota.v1 import operations_pb2, report_pb2
from tests.support.behaviour import Behaviour
from tests.support.envoy import entries
from tests.support.gateway import Gateway
from tests.support.model_provider import ModelProvider
from tests.support.service import ACME, Client

PATH = "/v1/chat/completions"
SETTLED_S = 15.0
NO_TIME = httpx2.Timeout(60)


class Heard(NamedTuple):
    """An answer. `headers`: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Listening:
    """An answer that is under way; `body` grows while it is listened to."""

    status: int
    chunks: AsyncIterator[bytes]
    body: bytes = b""

    async def piece(self) -> None:
        """Waits for some of it."""
        self.body += await anext(self.chunks)

    async def rest(self) -> bytes:
        """All of it. Raises httpx2.RemoteProtocolError where it breaks off."""
        async for chunk in self.chunks:
            self.body += chunk
        return self.body


class Caller:
    """Somebody with a secret, at the gateway or at the stand-in itself."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {secret}"}

    async def ask(self, behaviour: Behaviour | None = None, **body: Any) -> Heard:
        """One chat completion, in one attempt."""
        async with httpx2.AsyncClient(timeout=NO_TIME) as http:
            answer = await http.post(
                self._url + PATH, headers=self._headers, json=_chat(behaviour or Behaviour(), **body)
            )
        return Heard(answer.status_code, dict(answer.headers), answer.content)

    @asynccontextmanager
    async def listening(self, behaviour: Behaviour, **body: Any) -> AsyncIterator[Listening]:
        """One chat completion in pieces. Who leaves the block before its end hangs up."""
        asked = _chat(behaviour, stream=True, stream_options={"include_usage": True}, **body)
        async with (
            httpx2.AsyncClient(timeout=NO_TIME) as http,
            http.stream("POST", self._url + PATH, headers=self._headers, json=asked) as answer,
        ):
            yield Listening(answer.status_code, answer.aiter_raw())


async def undisturbed(provider: ModelProvider, behaviour: Behaviour) -> bytes:
    """What the stand-in says to who asks it without a gateway."""
    async with Caller(provider.url, "none").listening(behaviour) as answer:
        return await answer.rest()


def _chat(behaviour: Behaviour, **more: Any) -> dict[str, Any]:
    turn = {"role": "user", "content": f"How do we spend? {behaviour.block()}"}
    return {"model": "gpt-4o", "max_tokens": 100, "messages": [turn], **more}


async def arrived(gateway: Gateway, count: int = 1) -> None:
    """Waits until so many calls have reached the upstream."""
    async with asyncio.timeout(SETTLED_S):
        while len(gateway.upstream) < count:
            await asyncio.sleep(0.01)


async def ends(client: Client, count: int = 1) -> list[report_pb2.LedgerEntry]:
    """Waits until the ledger has so many ends of reservations; the oldest first."""
    async with asyncio.timeout(SETTLED_S):
        while len(found := await entries(client, "COMMIT", "RELEASE", "EXPIRE")) < count:
            await asyncio.sleep(0.05)
    return found


async def holds(client: Client, count: int = 1) -> list[report_pb2.LedgerEntry]:
    """Waits until the ledger has so many holds."""
    async with asyncio.timeout(SETTLED_S):
        while len(found := await entries(client, "HOLD")) < count:
            await asyncio.sleep(0.02)
    return found


def told(entry: report_pb2.LedgerEntry) -> tuple[str, int, int, bool]:
    """Its type, input and output tokens, whether they are an estimate."""
    kind = report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_")
    return kind, entry.usage.input_tokens, entry.usage.output_tokens, entry.usage_estimated


async def all_is_even(client: Client, budget: str = "core") -> int:
    """Waits until nothing is held and Valkey and the ledger say the same of what was spent, in micro-USD,
    which it returns.
    """
    spent, found = 0, ""
    async with asyncio.timeout(SETTLED_S):
        while found != f"0 held, {spent} spent":
            spent = sum(entry.charged.cost_micros for entry in await entries(client, "COMMIT"))
            found = await _standing(client, budget)
            await asyncio.sleep(0.05)
    request = operations_pb2.ReconcileRequest(name=ACME)
    progress = [each async for each in client.operations.Reconcile(request)]
    assert [each.drift for each in progress if each.HasField("drift")] == []
    return spent


async def _standing(client: Client, budget: str) -> str:
    try:
        [status] = await client.status(budget)
    except grpc.aio.AioRpcError as error:
        return error.code().name  # it does not know yet that the store is back
    return f"{status.held} held, {status.spent} spent"
