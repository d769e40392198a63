"""A line of the log for every call, where that is wanted: who, what, for whom; never what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from quota.v1 import quota_pb2, types_pb2
from tests.support.callers import BUDGET, calling, written
from tests.support.refusals import refusal
from tests.support.service import Client, authorize_request, running_service


@pytest.fixture
async def server(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[Client]:
    callers = written(tmp_path / "callers.yaml", {"ops": ("admin", "*"), "gateway": ("gateway", "acme")})
    async with running_service(
        valkey_url, postgres_url, key_prefix, callers=str(callers), log_calls=True
    ) as client:
        async with calling(client.address, "ops-token") as operator:
            await operator.found_acme()
            await operator.budget("engineering", limits=BUDGET.limits)
        yield client


async def told(logs: Sequence[MutableMapping[str, Any]], count: int) -> list[MutableMapping[str, Any]]:
    """The lines of so many calls, each of which comes a moment after the answer."""
    for _ in range(500):
        found = [line for line in logs if line["event"] == "call"]
        if len(found) == count:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(logs)


async def test_a_call_is_told_with_its_caller_subject_decision_and_request_id(server: Client) -> None:
    request = authorize_request(
        "idem-secret", subject=types_pb2.Subject(user="ada", tags={"t": "tag-secret"})
    )
    async with calling(server.address, "gateway-token") as gateway:
        with capture_logs() as logs:
            await gateway.quota.Authorize(request, metadata=(("x-request-id", "r-1"),))
            await refusal(
                gateway.quota.Commit(quota_pb2.CommitRequest(name="organizations/x/reservations/y"))
            )
            allowed, refused = await told(logs, 2)
    assert allowed.pop("ms") > 0
    assert allowed == {
        "event": "call",
        "log_level": "info",
        "method": "quota.v1.QuotaService/Authorize",
        "code": "OK",
        "request_id": "r-1",
        "caller": "gateway",
        "subject": {"organization": "acme", "team": "engineering", "user": "ada"},
        "decision": "ALLOW",
    }
    assert refused["code"] in ("NOT_FOUND", "INVALID_ARGUMENT")
    assert refused["request_id"]
    assert not [word for word in ("secret", "token") if word in json.dumps(logs)]


async def test_whoever_is_not_known_is_told_as_nobody(server: Client) -> None:
    async with calling(server.address, "wrong-token") as nobody:
        with capture_logs() as logs:
            await refusal(nobody.quota.Authorize(authorize_request("k")))
            [line] = await told(logs, 1)
    assert line["code"] == "UNAUTHENTICATED"
    assert "caller" not in line
    assert "wrong" not in json.dumps(logs)
