"""Budgets of acme that grant less than is asked for."""

from __future__ import annotations

from quota.v1 import budget_pb2, quota_pb2, types_pb2
from tests.support.libraries import Way
from tests.support.service import Client

YEARLY = budget_pb2.Period(yearly=budget_pb2.Period.Yearly())
"""Its end is hardly ever in the middle of a test."""


async def downgrade(client: Client, way: Way) -> None:
    """From now on the cheaper model is granted: of 80 USD a year, 40 are spent."""
    other = budget_pb2.LadderStep.Downgrade(provider=way.provider, model=way.cheaper)
    ladder = [
        budget_pb2.LadderStep(at_percent=50, downgrade=other),
        budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block()),
    ]
    limits = types_pb2.Amounts(cost_micros=80_000_000)
    await client.budget("year", limits=limits, period=YEARLY, ladder=ladder)
    record = quota_pb2.RecordRequest(
        idempotency_key="half",
        subject=types_pb2.Subject(organization="acme", user="ada"),
        provider="openai",
        model="gpt-4o",
        usage=types_pb2.Usage(output_tokens=4_000_000),
    )
    await client.quota.Record(record)


async def leave_tokens(client: Client, tokens: int) -> None:
    """So many for the key of the gateway's tests, from the first call on."""
    scope = budget_pb2.Scope(api_key="key-gateway")
    await client.budget("small", limits=types_pb2.Amounts(tokens=tokens), period=YEARLY, scope=scope)
