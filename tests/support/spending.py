"""Callers who hold and settle as long as they are told to, and what they were answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc.aio

from quota.v1 import report_pb2, types_pb2
from tests.support.service import ACME, Client, authorize_request, commit_request

RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "loadBalancingConfig": [{"round_robin": {}}],
}


@dataclass
class Journal:
    """What callers were told."""

    charged: list[str] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


def channel(target: str, config: dict[str, Any]) -> grpc.aio.Channel:
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 100),
    ]
    return grpc.aio.insecure_channel(target, options)


async def by_grpc(call: Callable[[], Awaitable[Any]], journal: Journal) -> Any:
    """Leaves trying again to gRPC."""
    return await call()


async def spend(
    client: Client, retried: Any, journal: Journal, names: count[int], stopping: asyncio.Event
) -> None:
    """Holds and settles until the load stops."""
    while not stopping.is_set():
        request = authorize_request(f"call-{next(names)}")
        try:
            answer = await retried(lambda r=request: client.quota.Authorize(r, timeout=10), journal)
            if answer.decision != types_pb2.DECISION_ALLOW:
                # On a busy machine Valkey may not answer in time. It held nothing.
                assert all(violation.retryable for violation in answer.violations), answer
                journal.seen["denied"] += 1
                await asyncio.sleep(0.05)
                continue
            commit = commit_request(answer.reservation.name, 1_000, 200)
            charged = await retried(lambda c=commit: client.quota.Commit(c, timeout=10), journal)
            journal.seen[types_pb2.Durability.Name(charged.durability)] += 1
            if charged.durability == types_pb2.DURABILITY_LEDGER:
                journal.charged.append(answer.reservation.name)
        except grpc.aio.AioRpcError as error:
            journal.failed[f"{error.code().name}: {error.details()}"] += 1


async def ends(client: Client) -> Counter[str]:
    """How many times the ledger has each reservation's Commit."""
    found: Counter[str] = Counter()
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_size=1_000)
    while True:
        page = await client.reports.ListLedgerEntries(request)
        found.update(
            entry.reservation
            for entry in page.ledger_entries
            if entry.type == report_pb2.LedgerEntry.TYPE_COMMIT
        )
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
