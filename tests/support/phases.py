"""Envoy's two filters of one call that Check has let pass, and what the ledger has of it afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from quota.v1 import report_pb2, types_pb2
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.support.envoy import (
    Envoy,
    check_request,
    entries,
    headers_of,
    metadata,
    secret_of,
    status,
    with_key,
)
from tests.support.service import Client

PLENTY = types_pb2.Amounts(cost_micros=100_000_000)
JSON, EVENTS = "application/json", "text/event-stream"


async def founded(client: Client, limits: types_pb2.Amounts = PLENTY, **budget: Any) -> dict[str, str]:
    """Acme with a budget of Ada's team; headers with her key."""
    await client.found_acme()
    await client.budget("engineering", limits=limits, **budget)
    return with_key(await secret_of(client))


async def allowed(client: Client, **call: Any) -> Any:
    """What Check says to a call of Ada's."""
    answer = await Envoy(client).check(check_request(headers=await founded(client), **call))
    assert status(answer) == 200, answer
    return answer


class Phase:
    """A filter's stream of one HTTP request, which observes unless it is said to wait."""

    def __init__(self, envoy: Envoy, answer: Any, *, phase: str = "response", waits: bool = False) -> None:
        self._stream = envoy.process(phase)
        self._told: dict[str, Any] = {"metadata_context": metadata(answer), "observability_mode": not waits}
        self._waits = waits

    async def say(self, **message: Any) -> Any:
        await self._stream.write(pb.ProcessingRequest(**self._told, **message))
        return await self._stream.read() if self._waits else None

    async def request(self, path: str = "/v1/chat/completions") -> Any:
        return await self.say(request_headers=pb.HttpHeaders(headers=headers_of({":path": path})))

    async def headers(self, code: str = "200", kind: str = JSON, **more: str) -> Any:
        return await self.say(
            response_headers=pb.HttpHeaders(
                headers=headers_of(
                    {
                        ":status": code,
                        "content-type": kind,
                        **{k.replace("_", "-"): v for k, v in more.items()},
                    }
                )
            )
        )

    async def body(self, chunk: bytes, *, last: bool = False) -> Any:
        return await self.say(response_body=pb.HttpBody(body=chunk, end_of_stream=last))

    async def closes(self) -> None:
        """Envoy has nothing more to say."""
        await self._stream.done_writing()
        assert await self._stream.read() == grpc.aio.EOF

    async def ended(self) -> None:
        """The service has nothing more to ask."""
        assert await self._stream.read() == grpc.aio.EOF

    def cancel(self) -> None:
        self._stream.cancel()


async def settled(client: Client) -> report_pb2.LedgerEntry:
    """The entry that ends the only reservation."""
    for _ in range(250):
        if found := await entries(client, "COMMIT", "RELEASE", "EXPIRE"):
            [end], [state] = found, await client.status("engineering")
            assert state.held == 0
            return end
        await asyncio.sleep(0.02)
    pytest.fail("nothing was settled within five seconds")


def charged(entry: report_pb2.LedgerEntry) -> tuple[str, int, int, bool]:
    """Its type, input and output tokens, whether they are an estimate."""
    kind = report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_")
    return kind, entry.usage.input_tokens, entry.usage.output_tokens, entry.usage_estimated
