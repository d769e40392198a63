"""What tests ask of AdjustBudget and ReallocateBudget, with defaults that fit together."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import money_pb2, report_pb2, types_pb2
from tests.support.calls import Amount, amount
from tests.support.service import ACME, Client


def adjust_request(
    budget: str,
    amounts: types_pb2.Amounts,
    request_id: str = "r",
    *,
    each_value: str = "",
    until_s: int | None = None,
    **fields: Any,
) -> money_pb2.AdjustBudgetRequest:
    """A change of a budget of acme; of its live window unless said otherwise."""
    fields.setdefault("reason", "the fair")
    fields.setdefault("name", f"{ACME}/budgets/{budget}")
    return money_pb2.AdjustBudgetRequest(
        amounts=amounts,
        each_value=each_value,
        request_id=request_id,
        until=None if until_s is None else Timestamp(seconds=until_s),
        **fields,
    )


def reallocate_request(
    giver: str, taker: str, amounts: types_pb2.Amounts, request_id: str = "r", **fields: Any
) -> money_pb2.ReallocateBudgetRequest:
    """A move between two budgets of acme."""
    fields.setdefault("reason", "the fair")
    fields.setdefault("source", f"{ACME}/budgets/{giver}")
    fields.setdefault("destination", f"{ACME}/budgets/{taker}")
    return money_pb2.ReallocateBudgetRequest(amounts=amounts, request_id=request_id, **fields)


async def adjusted(client: Client, *arguments: Any, **fields: Any) -> money_pb2.AdjustBudgetResponse:
    return await client.budgets.AdjustBudget(adjust_request(*arguments, **fields))


async def reallocated(client: Client, *arguments: Any, **fields: Any) -> money_pb2.ReallocateBudgetResponse:
    return await client.budgets.ReallocateBudget(reallocate_request(*arguments, **fields))


async def limits(client: Client, budget: str, each_value: str = "") -> list[int]:
    """The limits of the live window, meter by meter."""
    return [status.limit for status in await client.status(budget, each_value)]


def limit_changes(entry: report_pb2.LedgerEntry) -> list[tuple[str, str, Amount]]:
    """Budget, value and amounts of every window that an entry changed."""
    return [
        (window.source.rpartition("/")[2], window.each_value, amount(window.limit_change))
        for window in entry.windows
    ]
