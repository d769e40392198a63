"""Streams of a real server process."""

from __future__ import annotations

import asyncio

import grpc.aio

from quota.v1 import budget_pb2
from quota_service.edge.calls import CallSettings
from tests.e2e.conftest import Server
from tests.support.service import ACME, Client


async def test_as_many_streams_as_a_server_has_leave_their_connection_room_for_calls(server: Server) -> None:
    request = budget_pb2.WatchBudgetStatusRequest(name=f"{ACME}/budgets/acme-monthly")
    async with grpc.aio.insecure_channel(server.address) as channel, asyncio.timeout(30):
        client = Client(channel, server.address)
        streams = [client.budgets.WatchBudgetStatus(request) for _ in range(CallSettings().streams_max)]
        for stream in streams:
            assert await stream.read() is not grpc.aio.EOF

        await client.budgets.ListBudgetStatuses(budget_pb2.ListBudgetStatusesRequest(parent=ACME), timeout=5)
