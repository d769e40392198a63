"""More stories of `examples/stories`: budgets by tag, and what hours and months bring."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from quota.v1 import money_pb2, report_pb2, types_pb2
from tests.support.calls import warnings
from tests.support.refusals import answer as code_and_reason
from tests.support.refusals import refusal
from tests.support.service import Client
from tests.support.stores import Stores
from tests.support.stories import GPT, LLAMA, MILLION, MINI, Story, by, mid_month, usd

SPENT = "BUDGET_EXHAUSTED"


async def test_a_customer_has_what_the_plan_includes(client: Client) -> None:
    story = await Story.loaded(client, "plans-by-tag")

    def customer(plan: str, name: str) -> dict[str, Any]:
        return {"api_key": "key-backend", "tags": {"plan": plan, "customer": name}}

    await story.spend(MINI, 50_000, **customer("free", "initech"))
    assert await story.refused(MINI, **customer("free", "initech")) == [(SPENT, "plan-free")]
    await story.spend(MINI, 50_000, **customer("free", "hooli"))
    await story.spend(MINI, 10 * MILLION, **customer("pro", "initech"))
    assert await story.refused(MINI, **customer("pro", "initech")) == [(SPENT, "plan-pro")]

    await asyncio.gather(*(story.spend(MINI, **customer("free", "umbrella")) for _ in range(50)))
    answer = await story.ask(MINI, **customer("free", "umbrella"))
    assert [each.meter for each in answer.violations] == [types_pb2.METER_REQUESTS]


async def test_only_so_many_customers_may_have_a_plan_and_nobody_is_without_one(client: Client) -> None:
    story = await Story.loaded(client, "plans-by-tag")

    def enterprise(name: str) -> dict[str, Any]:
        return {"api_key": "key-backend", "tags": {"plan": "enterprise", "customer": name}}

    await story.spend(MINI, 500 * MILLION, **enterprise("globex"))  # $1,000: the override
    assert await story.refused(MINI, 251 * MILLION, **enterprise("initech")) == [(SPENT, "plan-enterprise")]
    await story.spend(MINI, **enterprise("initech"))
    assert await story.refused(MINI, **enterprise("gl0bex")) == [("TOO_MANY_VALUES", "plan-enterprise")]
    assert await story.refused(MINI, api_key="key-backend") == [("NO_BUDGET", "")]


async def test_an_agent_that_calls_itself_stops_when_its_run_has_no_more_money(client: Client) -> None:
    story = await Story.loaded(client, "agent-run")

    async def agent(model: str, run: str, depth: int = 0) -> int:
        """Never thinks it is done. How deep it came."""
        answer = await story.ask(model, 10_000, api_key="key-agent", tags={"run_id": run})
        if answer.decision == types_pb2.DECISION_DENY:
            assert by(answer) == [(SPENT, "run")]
            assert answer.violations[0].each_value == run
            return depth
        await story.settle(answer)
        return await agent(model, run, depth + 1)

    assert await agent(GPT, "run-1") == 20  # at $0.10 a call
    assert await agent(LLAMA, "run-2") == 50  # which costs nothing
    assert await agent(GPT, "run-3") == 20
    assert await story.spent("run", "run-1") == usd(2)
    assert await story.spent("automation-monthly") == usd(4)


async def test_production_goes_on_and_is_reminded_no_faster_than_its_cooldown(
    client: Client, stores: Stores, postgres_url: str
) -> None:
    story, production = await Story.loaded(client, "soft-production"), {"api_key": "key-production"}
    noon = mid_month()
    await story.move_clock(stores, noon)
    await story.spend(GPT, 10 * MILLION, **production)
    steps = ["50 notify", "80 notify", "100 notify"]
    assert await story.alerts("production-monthly", 3) == steps

    for _ in range(2):
        answer = await story.spend(GPT, MILLION, **production)
        assert "SOFT_LIMIT" in warnings(answer)
    [status] = await story.status("production-monthly")
    assert (status.remaining, status.would_have_blocked_requests) == (-usd(20), 2)
    await pass_hours(story, stores, postgres_url, 11, since=noon)
    await story.spend(GPT, MILLION, **production)
    await stores.drained()
    assert await story.alerts("production-monthly", 3) == steps
    await pass_hours(story, stores, postgres_url, 1, since=noon + timedelta(hours=11))
    for _ in range(2):
        await story.spend(GPT, MILLION, **production)
    assert await story.alerts("production-monthly", 4) == [*steps, "100 notify again 1"]


async def pass_hours(story: Story, stores: Stores, postgres_url: str, hours: int, *, since: datetime) -> None:
    """Time passes for decisions, and for alerts that were told."""
    await story.move_clock(stores, since + timedelta(hours=hours))
    connection = await asyncpg.connect(postgres_url)
    age = "UPDATE alerts SET create_time = create_time - $1::interval"
    await connection.execute(age, timedelta(hours=hours))
    await connection.close()


async def test_a_trial_blocks_nothing_and_counts_what_it_would_have(client: Client) -> None:
    story, search = await Story.loaded(client, "soft-production"), {"project": "search"}
    await story.spend(GPT, MILLION, api_key="key-production", **search)
    answer = await story.spend(GPT, MILLION, api_key="key-production", **search)
    assert warnings(answer)[0] == "WOULD_DENY"
    [status] = await story.status("search-trial")
    assert (status.would_have_blocked_requests, status.would_have_blocked) == (1, usd(10))


async def test_money_moves_in_mid_month_and_what_is_left_of_ones_own_into_the_next(
    client: Client, stores: Stores
) -> None:
    story = await Story.loaded(client, "reallocation")
    await story.move_clock(stores, mid_month())
    assert await limits(story) == [usd(100), usd(60)], "research has not used this month's $50: $10 go on"
    await story.spend(GPT, 5_500_000, user="vera")
    assert await story.refused(GPT, MILLION, user="vera") == [(SPENT, "research-monthly")]

    error = await refusal(moved(story, usd(101), "too-much"))
    assert code_and_reason(error) == ("FAILED_PRECONDITION", "HEADROOM_MISSING")
    entry = await moved(story, usd(30), "study-17")
    assert entry.reason == "The study cannot wait"
    assert [each.limit_change.cost_micros for each in entry.windows] == [-usd(30), usd(30)]
    assert await story.ledger(1, type=report_pb2.LedgerEntry.TYPE_REALLOCATE) == [entry]

    await story.spend(GPT, MILLION, user="vera")
    assert await story.refused(GPT, 7_000_001, user="mary") == [(SPENT, "marketing-monthly")]
    await story.spend(GPT, 7 * MILLION, user="mary")
    await story.move_clock(stores, mid_month(2))
    assert await limits(story) == [usd(100), usd(50)], "of $25 left, nothing is research's own"


async def limits(story: Story) -> list[int]:
    """Of marketing's and research's live windows, in micro-USD."""
    return [(await story.status(f"{team}-monthly"))[0].limit for team in ("marketing", "research")]


async def moved(story: Story, micros: int, request_id: str) -> report_pb2.LedgerEntry:
    """Money of marketing that is research's now."""
    request = money_pb2.ReallocateBudgetRequest(
        source=f"{story.parent}/budgets/marketing-monthly",
        destination=f"{story.parent}/budgets/research-monthly",
        amounts=types_pb2.Amounts(cost_micros=micros),
        reason="The study cannot wait",
        request_id=request_id,
    )
    return (await story.client.budgets.ReallocateBudget(request)).entry
