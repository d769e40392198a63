"""The worst-case bill: GetExposure."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2, directory_pb2, exposure_pb2, types_pb2
from tests.support.calls import COST, committed, cost, held, limit, subject, user
from tests.support.refusals import answer, refusal
from tests.support.service import ACME, Client, authorize_request

CEILING = exposure_pb2.Exposure.KIND_HARD_CEILING
UNBOUNDED = exposure_pb2.Exposure.KIND_UNBOUNDED
DEGRADED = exposure_pb2.Exposure.KIND_DEGRADED


async def exposed(client: Client) -> exposure_pb2.Exposure:
    return await client.budgets.GetExposure(exposure_pb2.GetExposureRequest(parent=ACME))


def kinds(found: exposure_pb2.Exposure) -> list[tuple[int, str]]:
    return [(part.kind, part.source.rpartition("/")[2]) for part in found.parts]


async def test_the_outermost_hard_budget_is_the_worst_case(client: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=cost(100_000))
    await client.budget("team", limits=cost(50_000), scope={"team": "engineering"})
    await committed(client, await held(client, "a"))
    await held(client, "b")
    found = await exposed(client)
    assert (found.bounded, found.total_micros) == (True, 100_000)
    assert kinds(found) == [(CEILING, "all"), (DEGRADED, "")]
    [part, outages] = found.parts
    assert (part.amount_micros, part.spent_micros, part.held_micros, part.counters) == (
        100_000,
        4_500,
        COST,
        1,
    )
    assert part.reset_time == found.reset_time
    assert outages.amount_micros == 0
    assert all(each.explanation.endswith(".") for each in found.parts)


async def test_what_is_over_a_lowered_limit_counts_with_what_it_has(client: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=cost(100_000))
    await held(client)
    await limit(client, "all", cost(1_000))
    assert (await exposed(client)).total_micros == COST


async def test_everybody_whom_the_directory_knows_counts_and_whoever_has_spent(client: Client) -> None:
    await client.found_acme()
    await user(client, "bob", "engineering")
    await client.budget("each", limits=cost(10_000), scope={"each": {"dimension": "DIMENSION_USER"}})
    assert (await exposed(client)).total_micros == 30_000  # ada, bob, and requests without a user
    await committed(client, await held(client, subject=subject(user="bob")))
    await client.directory.DeleteUser(directory_pb2.DeleteUserRequest(name=f"{ACME}/users/bob"))
    found = await exposed(client)
    assert (found.total_micros, found.parts[0].counters, found.parts[0].spent_micros) == (30_000, 3, 4_500)


async def test_what_nothing_bounds_is_named(client: Client) -> None:
    await client.found_acme(unbudgeted="UNBUDGETED_POLICY_ALLOW")
    assert kinds(await exposed(client)) == [(UNBOUNDED, ""), (DEGRADED, "")]
    await client.budget("soft", limits=cost(1), mode=types_pb2.MODE_SOFT)
    await client.budget("team", limits=cost(5_000), scope={"team": "engineering"})
    found = await exposed(client)
    assert (found.bounded, found.total_micros) == (False, 5_000)
    assert kinds(found) == [(CEILING, "team"), (UNBOUNDED, "soft"), (DEGRADED, "")]


async def test_what_may_be_granted_in_an_outage_comes_on_top(client: Client) -> None:
    await client.found_acme(outage_policy="OUTAGE_POLICY_ALLOW_DEGRADED", degraded_cost_cap_micros=25_000_000)
    await client.budget("all", limits=cost(100_000))
    found = await exposed(client)
    assert (found.bounded, found.total_micros) == (True, 25_100_000)
    [_, outages] = found.parts
    assert (outages.kind, outages.amount_micros, outages.source) == (DEGRADED, 25_000_000, "")
    assert "Each replica" in outages.explanation


async def test_every_server_tells_it_under_the_configuration_as_it_is(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=cost(100_000))
    assert (await exposed(other)).total_micros == 100_000
    await limit(client, "all", cost(70_000))
    assert (await exposed(other)).total_micros == 70_000
    changed = budget_pb2.Budget(name=f"{ACME}/budgets/all", mode=types_pb2.MODE_SOFT)
    await client.budgets.UpdateBudget(
        budget_pb2.UpdateBudgetRequest(budget=changed, update_mask=FieldMask(paths=["mode"]))
    )
    assert not (await exposed(other)).bounded


async def test_nobody_spends_more_than_it_says(client: Client) -> None:
    await client.found_acme()
    await client.budget("each", limits=cost(20_000), scope={"each": {"dimension": "DIMENSION_USER"}})
    await client.budget("team", limits=cost(33_000), scope={"team": "engineering"})
    before = await exposed(client)
    allowed = 0
    for number in range(12):
        who: Any = [subject(user="ada"), subject(team="engineering"), subject()][number % 3]
        request = authorize_request(f"{number}", subject=who)
        if (await client.quota.Authorize(request)).decision == types_pb2.DECISION_ALLOW:
            allowed += COST
    assert allowed == 4 * COST
    assert allowed <= before.total_micros == 40_000
    assert (await exposed(client)).total_micros == 40_000


async def test_an_unknown_organization_has_none(client: Client) -> None:
    error = await refusal(client.budgets.GetExposure(exposure_pb2.GetExposureRequest(parent=ACME)))
    assert answer(error) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    malformed = exposure_pb2.GetExposureRequest(parent="acme")
    assert answer(await refusal(client.budgets.GetExposure(malformed)))[0] == "INVALID_ARGUMENT"
