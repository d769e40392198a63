"""Moves the store's clock, by which every decision is made."""

from __future__ import annotations

import time

from quota.v1 import budget_pb2
from tests.support.service import ACME, Client
from tests.support.stores import Stores

DAY_MS = 86_400_000
NOON_MS = (time.time_ns() // 1_000_000 // DAY_MS + 10) * DAY_MS + DAY_MS // 2
"""Noon of a day that is far enough ahead: the store's clock never goes back, so it stands still there."""


async def move_clock(stores: Stores, now_ms: int, *clients: Client) -> None:
    """Lets the store's clock for acme stand at an instant ahead, and servers hear of it."""
    [meta] = await stores.keys("{acme}/meta")
    await stores.valkey.hset(meta, "time", now_ms)
    for client in clients:
        await client.budgets.ListBudgetStatuses(budget_pb2.ListBudgetStatusesRequest(parent=ACME))
