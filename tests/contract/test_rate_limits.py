"""Rate limits: what passes, what waits and how long, and what a hold gives back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import budget_pb2, quota_pb2, types_pb2
from tests.support.calls import (
    TOKENS,
    amount,
    authorized,
    committed,
    cost,
    denied,
    estimate,
    held,
    reasons,
    released,
    seconds,
    subject,
    team,
    user,
)
from tests.support.service import ACME, Client, authorize_request


@pytest.fixture
async def acme(client: Client) -> Client:
    await client.found_acme()
    await client.budget("all", limits=cost(10_000_000_000))
    return client


async def rate_limit(client: Client, id_: str, meter: str, limit: int, **fields: Any) -> None:
    """A rate limit, per minute unless said otherwise."""
    new = budget_pb2.RateLimit(meter=types_pb2.Meter.Value(f"METER_{meter}"), limit=limit, **fields)
    await client.budgets.CreateRateLimit(
        budget_pb2.CreateRateLimitRequest(parent=ACME, rate_limit_id=id_, rate_limit=new)
    )


def waits_ms(answer: quota_pb2.AuthorizeResponse) -> int:
    return answer.retry_after.seconds * 1_000 + answer.retry_after.nanos // 1_000_000


async def test_as_many_pass_at_once_as_the_burst_and_the_next_is_told_how_long_to_wait(acme: Client) -> None:
    await rate_limit(acme, "rpm", "REQUESTS", 60, burst=3, display_name="Slow start")
    for number in range(3):
        await held(acme, f"k{number}")
    answer = await denied(acme, "k3")
    assert reasons(answer) == ["RATE_LIMITED"]
    violation = answer.violations[0]
    assert violation.source == f"{ACME}/rateLimits/rpm"
    assert violation.retryable
    assert violation.meter == types_pb2.METER_REQUESTS
    assert (violation.limit, violation.ceiling, violation.requested) == (60, 3, 1)
    assert 0 < waits_ms(answer) <= 1_000
    assert answer.message.startswith("Rate limit “Slow start” of 60 requests per minute has no room")
    assert "Try again in" in answer.message


async def test_waiting_so_long_and_asking_again_succeeds(acme: Client) -> None:
    await rate_limit(acme, "tps", "TOKENS", 3_000, interval={"seconds": 1}, burst=TOKENS)
    await held(acme, "a")
    for number in range(5):
        answer = await denied(acme, f"k{number}")
        await asyncio.sleep(waits_ms(answer) / 1_000)
        await held(acme, f"k{number}")


async def test_what_a_denial_did_not_get_is_taken_from_no_limit(acme: Client) -> None:
    await rate_limit(acme, "a-rpm", "REQUESTS", 1, interval={"seconds": 86_400}, burst=2)
    await rate_limit(acme, "b-tpm", "TOKENS", 1, interval={"seconds": 86_400}, burst=TOKENS)
    await held(acme, "a")
    for number in range(5):
        assert reasons(await denied(acme, f"k{number}")) == ["RATE_LIMITED"]
    await held(acme, "small", estimate=estimate(0, 0))  # the second request, and no token
    assert reasons(await denied(acme, "third", estimate=estimate(0, 0))) == ["RATE_LIMITED"]


async def test_more_than_the_burst_never_passes(acme: Client) -> None:
    await rate_limit(acme, "tpm", "TOKENS", 1_000, burst=500)
    answer = await denied(acme)
    assert not answer.HasField("retry_after")
    assert not answer.violations[0].retryable
    assert "lets 500 tokens pass at once, and this needs 1,500 tokens" in answer.message


async def test_unused_tokens_return_when_the_call_is_settled(acme: Client) -> None:
    await rate_limit(acme, "tpd", "TOKENS", 1, interval={"seconds": 86_400}, burst=2 * TOKENS)
    name = await held(acme, "a", estimate=estimate(2_000, 1_000))
    assert reasons(await denied(acme, "b")) == ["RATE_LIMITED"]
    await committed(acme, name, 1_000, 500)
    await held(acme, "b")
    assert reasons(await denied(acme, "c")) == ["RATE_LIMITED"]


async def test_a_release_gives_back_requests_and_tokens(acme: Client) -> None:
    await rate_limit(acme, "rpd", "REQUESTS", 1, interval={"seconds": 86_400})
    await rate_limit(acme, "tpd", "TOKENS", 1, interval={"seconds": 86_400}, burst=TOKENS)
    for number in range(3):
        await released(acme, await held(acme, f"k{number}"))


async def test_an_overrun_is_always_taken(acme: Client) -> None:
    await rate_limit(acme, "tpd", "TOKENS", 1, interval={"seconds": 86_400}, burst=3 * TOKENS)
    name = await held(acme, "a")
    await committed(acme, name, 2 * TOKENS, TOKENS)
    assert reasons(await denied(acme, "b", estimate=estimate(1, 0))) == ["RATE_LIMITED"]


async def test_each_value_has_a_limit_of_its_own(acme: Client) -> None:
    await user(acme, "grace")
    each = {"each": {"dimension": "DIMENSION_USER"}}
    await rate_limit(acme, "per-user", "REQUESTS", 1, interval={"seconds": 86_400}, scope=each)
    await held(acme, "a")
    answer = await denied(acme, "b")
    assert answer.violations[0].each_value == "ada"
    await held(acme, "c", subject=subject(user="grace"))


async def test_a_limit_counts_only_what_its_scope_matches(acme: Client) -> None:
    await team(acme, "sales")
    await rate_limit(acme, "mini", "REQUESTS", 1, scope={"provider": "openai", "model": "gpt-4o-mini"})
    await rate_limit(acme, "sales", "REQUESTS", 1, scope={"team": "sales"})
    for number in range(3):
        await held(acme, f"k{number}")
    await held(acme, "m0", model="gpt-4o-mini")
    assert reasons(await denied(acme, "m1", model="gpt-4o-mini")) == ["RATE_LIMITED"]


async def test_a_changed_limit_acts_at_once_on_every_server(acme: Client, other: Client) -> None:
    await rate_limit(acme, "rpd", "REQUESTS", 2, interval={"seconds": 86_400})
    await held(acme, "a")
    await held(other, "b")
    assert reasons(await denied(other, "c")) == ["RATE_LIMITED"]
    changed = budget_pb2.RateLimit(name=f"{ACME}/rateLimits/rpd", disabled=True)
    await acme.budgets.UpdateRateLimit(budget_pb2.UpdateRateLimitRequest(rate_limit=changed))
    await held(other, "c")


async def test_an_extension_needs_room_for_its_tokens(acme: Client) -> None:
    await rate_limit(acme, "tpd", "TOKENS", 1, interval={"seconds": 86_400}, burst=TOKENS + 100)
    name = await held(acme, "a")

    def more(tokens: int, request_id: str) -> quota_pb2.ExtendRequest:
        return quota_pb2.ExtendRequest(name=name, additional_output_tokens=tokens, request_id=request_id)

    answer = await acme.quota.Extend(more(101, "r1"))
    assert reasons(answer) == ["RATE_LIMITED"]
    answer = await acme.quota.Extend(more(100, "r2"))
    assert answer.decision == types_pb2.DECISION_ALLOW
    assert amount(answer.reservation.held).tokens == TOKENS + 100
    await released(acme, name)
    await held(acme, "b", estimate=estimate(1_000, 600))


async def test_two_servers_let_no_more_pass_together_than_the_burst(acme: Client, other: Client) -> None:
    await rate_limit(acme, "rpd", "REQUESTS", 1, interval={"seconds": 86_400}, burst=17)
    answers = await asyncio.gather(
        *((acme, other)[number % 2].quota.Authorize(authorize_request(f"k{number}")) for number in range(60))
    )
    assert sum(answer.decision == types_pb2.DECISION_ALLOW for answer in answers) == 17


async def test_the_longest_wait_of_all_limits_is_told(acme: Client) -> None:
    await rate_limit(acme, "fast", "REQUESTS", 60, burst=1)
    await rate_limit(acme, "slow", "REQUESTS", 2, burst=1)
    await authorized(acme, "a")
    answer = await denied(acme, "b")
    assert [violation.source.rpartition("/")[2] for violation in answer.violations] == ["fast", "slow"]
    assert 29_000 < waits_ms(answer) <= 30_000


async def test_validate_only_takes_nothing(acme: Client) -> None:
    await rate_limit(acme, "rpd", "REQUESTS", 1, interval={"seconds": 86_400})
    for number in range(3):
        answer = await acme.quota.Authorize(authorize_request(f"k{number}", validate_only=True))
        assert answer.decision == types_pb2.DECISION_ALLOW
    await held(acme, "a")
    answer = await acme.quota.Authorize(authorize_request("b", validate_only=True))
    assert reasons(answer) == ["RATE_LIMITED"]


async def test_a_budget_without_room_takes_nothing_from_a_rate_limit(acme: Client) -> None:
    await acme.budget("tiny", limits=cost(1))
    await rate_limit(acme, "rpd", "REQUESTS", 1, interval={"seconds": 86_400})
    assert reasons(await denied(acme, "a")) == ["BUDGET_EXHAUSTED"]
    await acme.budgets.DeleteBudget(budget_pb2.DeleteBudgetRequest(name=f"{ACME}/budgets/tiny"))
    await held(acme, "a")


async def test_no_more_values_of_a_tag_are_in_use_at_a_time_than_the_limit_declares(acme: Client) -> None:
    each = budget_pb2.Each(dimension=types_pb2.DIMENSION_TAG, tag="run", max_values=2)
    await rate_limit(
        acme, "runs", "REQUESTS", 1, interval=seconds(86_400), burst=5, scope=budget_pb2.Scope(each=each)
    )
    names = [await held(acme, run, subject=subject(user="ada", tags={"run": run})) for run in ("1", "2")]
    answer = await denied(acme, "3", subject=subject(user="ada", tags={"run": "3"}))
    assert reasons(answer) == ["TOO_MANY_VALUES"]
    assert answer.violations[0].source == f"{ACME}/rateLimits/runs"
    await released(acme, names[0])
    await held(acme, "3", subject=subject(user="ada", tags={"run": "3"}))
