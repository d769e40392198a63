"""`keep_open`: usage is always the total so far, so repeats and reordering are harmless."""

from __future__ import annotations

from quota.v1 import quota_pb2
from tests.support.calls import (
    COST,
    amount,
    committed,
    cost,
    denied,
    entries,
    expired,
    held,
    reasons,
    released,
    requests,
    seconds,
    stands,
    types,
)
from tests.support.refusals import answer, refusal
from tests.support.service import Client

HELD = quota_pb2.Reservation.STATE_HELD


async def part(client: Client, name: str, output_tokens: int) -> quota_pb2.CommitResponse:
    return await committed(client, name, 1_000, output_tokens, keep_open=True)


async def test_a_part_charges_what_is_new_and_keeps_the_rest_of_the_hold(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    first = await part(client, name, 100)
    assert first.reservation.state == HELD
    assert amount(first.charged) == (3_500, 1_100, 1)
    assert amount(first.returned) == (0, 0, 0)
    assert await stands(client, "engineering") == (3_500, 4_000)
    assert reasons(await denied(client, "b")) == ["BUDGET_EXHAUSTED"]
    second = await part(client, name, 300)
    assert amount(second.charged) == (2_000, 200, 0)
    last = await committed(client, name, 1_000, 400)
    assert amount(last.charged) == (1_000, 100, 0)
    assert amount(last.returned) == (1_000, 100, 0)
    assert amount(last.reservation.committed) == (6_500, 1_400, 1)
    assert await stands(client, "engineering") == (6_500, 0)
    found = await entries(client, 4)
    assert types(found) == ["HOLD", "COMMIT", "COMMIT", "COMMIT"]
    assert sum(amount(each.charged).cost for each in found) == 6_500


async def test_repeated_and_reordered_parts_charge_nothing(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    await part(client, name, 300)
    for output_tokens in (300, 100, 0):
        done = await part(client, name, output_tokens)
        assert (done.replayed, amount(done.charged)) == (True, (0, 0, 0))
    assert await stands(client, "engineering") == (5_500, 2_000)


async def test_a_request_in_parts_is_counted_once(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=requests(5))
    name = await held(client)
    for output_tokens in (10, 20, 30):
        await part(client, name, output_tokens)
    await committed(client, name, 1_000, 40)
    assert await stands(client, "engineering") == (1, 0)


async def test_a_part_above_the_hold_is_an_overrun_as_far_as_it_is_new(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    overruns = [(await part(client, name, tokens)).overrun.cost_micros for tokens in (400, 600, 700)]
    assert overruns == [0, 1_000, 1_000]
    assert (await committed(client, name, 1_000, 700)).overrun.cost_micros == 0
    [status] = await client.status("engineering")
    assert (status.spent, status.held, status.overrun) == (9_500, 0, 2_000)


async def test_a_final_commit_below_the_parts_charges_nothing_more(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    await part(client, name, 300)
    done = await committed(client, name, 1_000, 100)
    assert amount(done.charged) == (0, 0, 0)
    assert done.returned.cost_micros == 2_000
    assert done.reservation.state == quota_pb2.Reservation.STATE_COMMITTED
    assert await stands(client, "engineering") == (5_500, 0)


async def test_a_part_after_the_final_commit_charges_nothing_and_returns_it(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    last = await committed(client, name)
    done = await part(client, name, 500)
    assert done.replayed
    assert done.reservation == last.reservation
    assert await stands(client, "engineering") == (4_500, 0)


async def test_the_rest_of_a_partly_charged_hold_returns_on_release_and_expiry(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(2 * COST))
    name = await held(client, "a")
    await part(client, name, 100)
    assert (await released(client, name)).returned.cost_micros == 4_000
    assert await stands(client, "engineering") == (3_500, 0)
    name = await held(client, "b", ttl=seconds(1))
    await part(client, name, 100)
    assert await stands(client, "engineering") == (7_000, 4_000)
    await expired(client, "c", estimate=quota_pb2.Estimate(max_output_tokens=0))
    assert await stands(client, "engineering") == (7_000, 0)


async def test_a_conflicting_final_commit_after_parts_changes_nothing(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(COST))
    name = await held(client)
    await part(client, name, 100)
    await committed(client, name, 1_000, 200)
    error = await refusal(committed(client, name, 1_000, 300))
    assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert await stands(client, "engineering") == (4_500, 0)
