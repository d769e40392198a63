"""Who calls a model through the gateway and looks at every byte that comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import grpc
import httpx2

from quota.v1 import operations_pb2, report_pb2
from tests.support.behaviour import Behaviour
from tests.support.envoy import entries
from tests.support.model_provider import ModelProvider
from tests.support.service import ACME, Client

T = TypeVar("T")

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
    """What the stand-in says to who asks it without a gateway, at once."""
    at_once = replace(behaviour, delay_ms=0)
    async with Caller(provider.url, "none").listening(at_once) as answer:
        return await answer.rest()


def _chat(behaviour: Behaviour, **more: Any) -> dict[str, Any]:
    turn = {"role": "user", "content": f"How do we spend? {behaviour.block()}"}
    return {"model": "gpt-4o", "max_tokens": 100, "messages": [turn], **more}


async def eventually(
    look: Callable[[], Awaitable[T]], is_there: Callable[[T], bool], within_s: float = SETTLED_S
) -> T:
    """Looks again and again until what is waited for is there."""
    end_s = time.monotonic() + within_s
    while not is_there(found := await look()):
        assert time.monotonic() < end_s, f"after {within_s} s there is still {found}"
        await asyncio.sleep(0.02)
    return found


async def ends(client: Client, count: int = 1) -> list[report_pb2.LedgerEntry]:
    """Waits until the ledger has so many ends of reservations; the oldest first."""
    return await eventually(
        lambda: entries(client, "COMMIT", "RELEASE", "EXPIRE"), lambda found: len(found) >= count
    )


async def holds(client: Client, count: int = 1) -> list[report_pb2.LedgerEntry]:
    """Waits until the ledger has so many holds."""
    return await eventually(lambda: entries(client, "HOLD"), lambda found: len(found) >= count)


def told(entry: report_pb2.LedgerEntry) -> tuple[str, int, int, bool]:
    """Its type, input and output tokens, whether they are an estimate."""
    kind = report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_")
    return kind, entry.usage.input_tokens, entry.usage.output_tokens, entry.usage_estimated


async def all_is_even(client: Client, budget: str = "core") -> int:
    """Waits until nothing is held and Valkey and the ledger say the same of what was spent, in micro-USD,
    which it returns.
    """
    charged, _ = await eventually(
        lambda: _both(client, budget), lambda found: found[1] == f"0 held, {found[0]} spent"
    )
    request = operations_pb2.ReconcileRequest(name=ACME)
    progress = [each async for each in client.operations.Reconcile(request)]
    assert [each.drift for each in progress if each.HasField("drift")] == []
    return charged


async def _both(client: Client, budget: str) -> tuple[int, str]:
    """What the ledger has charged, and where the budget stands in Valkey."""
    charged = sum(entry.charged.cost_micros for entry in await entries(client, "COMMIT"))
    return charged, await _standing(client, budget)


async def _standing(client: Client, budget: str) -> str:
    try:
        [status] = await client.status(budget)
    except grpc.aio.AioRpcError as error:
        return error.code().name  # it does not know yet that the store is back
    return f"{status.held} held, {status.spent} spent"
