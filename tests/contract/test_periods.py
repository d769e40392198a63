"""Periods of budgets: the windows they make, and what a change of a live budget's period or zone does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import budget_pb2 as pb
from quota_service.domain.period import (
    Daily,
    Fixed,
    Monthly,
    Once,
    Period,
    Quarterly,
    Weekly,
    Yearly,
    window_at,
)
from tests.support.calls import COST, authorized, committed, cost, denied, held, stands
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client

LIMIT = cost(100_000)
TOKYO = "Asia/Tokyo"

PERIODS: tuple[tuple[str, dict[str, Any], str, Period], ...] = (
    ("daily", {"daily": {}}, "Asia/Kathmandu", Daily()),
    ("weekly", {"weekly": {"start": 7}}, "America/Sao_Paulo", Weekly(start_day=7)),
    ("monthly", {"monthly": {"reset_day": 31}}, "Asia/Beirut", Monthly(reset_day=31)),
    ("quarterly", {"quarterly": {}}, "UTC", Quarterly()),
    ("fiscal", {"quarterly": {"first_month": 2}}, "Africa/Cairo", Quarterly(first_month=2)),
    ("yearly", {"yearly": {}}, "Pacific/Chatham", Yearly()),
    ("tax", {"yearly": {"month": 4, "day": 6}}, "Europe/London", Yearly(month=4, day=6)),
    ("leap", {"yearly": {"month": 2, "day": 29}}, "Pacific/Apia", Yearly(month=2, day=29)),
    ("hours", {"fixed": {"length": {"seconds": 18_000}}}, TOKYO, Fixed(length_ms=18_000_000)),
    (
        "fortnight",
        {"fixed": {"length": {"seconds": 1_209_600}, "anchor": {"seconds": 1_767_603_600}}},
        "Asia/Kolkata",
        Fixed(length_ms=1_209_600_000, anchor_ms=1_767_603_600_000),
    ),
    ("until", {"once": {"end_time": {"seconds": 4_000_000_000}}}, "UTC", Once(end_ms=4_000_000_000_000)),
)


def a_period(**fields: Any) -> pb.Period:
    """A period as its JSON would be written, in Python's names."""
    return pb.Period(**fields)


async def window(client: Client, budget: str) -> tuple[int, int]:
    """Where a budget's window begins and ends, in seconds; 0 for an end that never comes."""
    [status] = await client.status(budget)
    return status.window_start.seconds, status.reset_time.seconds


async def change(client: Client, budget: str, **period: Any) -> pb.Budget:
    changed = pb.Budget(name=f"{ACME}/budgets/{budget}", period=a_period(**period))
    return await client.budgets.UpdateBudget(
        pb.UpdateBudgetRequest(budget=changed, update_mask=FieldMask(paths=["period"]))
    )


@pytest.mark.parametrize(("id_", "rule", "zone", "period"), PERIODS, ids=[each[0] for each in PERIODS])
async def test_a_budgets_window_is_that_of_its_period_and_zone(
    client: Client, id_: str, rule: dict[str, Any], zone: str, period: Period
) -> None:
    await client.found_acme()
    asked = a_period(**rule, time_zone=zone)
    created = await client.budget(id_, limits=LIMIT, period=asked)
    assert created.period.WhichOneof("rule") == asked.WhichOneof("rule")
    assert created.period.time_zone == zone
    await held(client, "k")
    start, end = await window(client, id_)
    assert start <= time.time() < end
    assert window_at(period, ZoneInfo(zone), start * 1000) == (start * 1000, end * 1000)
    assert await stands(client, id_) == (0, COST)


async def test_a_quarter_begins_on_the_first_of_its_month(client: Client) -> None:
    await client.found_acme()
    month = datetime.now(UTC).month
    period = pb.Period(quarterly=pb.Period.Quarterly(first_month=month), time_zone="UTC")
    await client.budget("b", limits=LIMIT, period=period)
    start, end = (datetime.fromtimestamp(border, UTC) for border in await window(client, "b"))
    assert (start.month, start.day, end.day) == (month, 1, 1)
    assert (end.month - start.month) % 12 == 3


CHANGES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("rule", {"monthly": {}, "time_zone": "UTC"}, {"daily": {}, "time_zone": "UTC"}),
    ("day", {"monthly": {}, "time_zone": "UTC"}, {"monthly": {"reset_day": 15}, "time_zone": "UTC"}),
    ("zone", {"daily": {}, "time_zone": "UTC"}, {"daily": {}, "time_zone": TOKYO}),
    ("both", {"yearly": {}, "time_zone": "UTC"}, {"quarterly": {"first_month": 2}, "time_zone": TOKYO}),
    ("once", {"fixed": {"length": {"seconds": 316_224_000}}}, {"once": {}, "time_zone": "UTC"}),
)


@pytest.mark.parametrize(
    ("before", "after"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
async def test_a_change_leaves_the_running_window_its_end_and_what_it_has_counted(
    client: Client, other: Client, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(15_000), period=a_period(**before))
    await committed(client, await held(client, "a"))
    announced, stood = await window(client, "b"), await stands(client, "b")
    changed = await change(client, "b", **after)
    assert changed.period.WhichOneof("rule") == a_period(**after).WhichOneof("rule")
    for server in (client, other):
        assert (await window(server, "b"), await stands(server, "b")) == (announced, stood)
    await held(other, "b")
    answered = await denied(other, "c")
    assert [each.reset_time.seconds for each in answered.violations] == [announced[1]]
    assert await window(client, "b") == announced


async def test_the_next_window_follows_the_new_rule_from_where_the_old_one_ends(client: Client) -> None:
    await client.found_acme()
    end = int(time.time()) + 3
    await client.budget("b", limits=LIMIT, period=a_period(once={"end_time": {"seconds": end}}))
    await held(client, "a")
    await change(client, "b", monthly={}, time_zone="UTC")
    assert await window(client, "b") == (0, end)
    await asyncio.sleep(max(0.0, end - time.time()) + 0.05)
    start, next_end = await window(client, "b")
    assert start == end
    natural = window_at(Monthly(), ZoneInfo("UTC"), end * 1000)
    assert natural is not None
    assert next_end * 1000 == natural.end_ms
    assert await stands(client, "b") == (0, 0)
    await held(client, "b")
    # Another change of something else does not move the start, and with it forget what is held.
    await client.budgets.UpdateBudget(
        pb.UpdateBudgetRequest(
            budget=pb.Budget(name=f"{ACME}/budgets/b", display_name="B"),
            update_mask=FieldMask(paths=["display_name"]),
        )
    )
    assert (await window(client, "b"), await stands(client, "b")) == ((start, next_end), (0, COST))


async def test_a_change_taken_back_has_never_been(client: Client) -> None:
    await client.found_acme()
    created = await client.budget("b", limits=LIMIT, period=a_period(monthly={}, time_zone="UTC"))
    announced = await window(client, "b")
    await change(client, "b", weekly={}, time_zone=TOKYO)
    back = await change(client, "b", monthly={"reset_day": 1}, time_zone="UTC")
    assert back.period == created.period
    assert await window(client, "b") == announced


async def test_a_window_that_never_ends_gives_way_at_once(client: Client) -> None:
    await client.found_acme()
    await client.budget("b", limits=cost(COST), period=a_period(once={}))
    await held(client, "a")
    await denied(client, "b")
    before = time.time()
    await change(client, "b", monthly={}, time_zone="UTC")
    start, end = await window(client, "b")
    assert before - 60 <= start <= time.time() + 60  # two clocks
    assert end > start
    await authorized(client, "b")
    assert await stands(client, "b") == (0, COST)


async def test_a_one_off_window_whose_end_is_put_off_goes_on_counting(client: Client) -> None:
    await client.found_acme()
    end = int(time.time()) + 3_600
    await client.budget("b", limits=LIMIT, period=a_period(once={"end_time": {"seconds": end}}))
    await held(client, "a")
    await change(client, "b", once={"end_time": {"seconds": end + 3_600}})
    assert (await window(client, "b"), await stands(client, "b")) == ((0, end + 3_600), (0, COST))


BAD_PERIODS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("no length", {"fixed": {}}, "FIELD_INVALID", "budget.period.fixed.length"),
    ("length 0", {"fixed": {"length": {"seconds": 0}}}, "FIELD_INVALID", "budget.period.fixed.length"),
    ("length < 0", {"fixed": {"length": {"seconds": -60}}}, "FIELD_INVALID", "budget.period.fixed.length"),
    ("59 s", {"fixed": {"length": {"seconds": 59}}}, "FIELD_INVALID", "budget.period.fixed.length"),
    (
        "half a second",
        {"fixed": {"length": {"seconds": 60, "nanos": 500_000_000}}},
        "FIELD_INVALID",
        "budget.period.fixed.length",
    ),
    (
        "eleven years",
        {"fixed": {"length": {"seconds": 316_224_001}}},
        "FIELD_INVALID",
        "budget.period.fixed.length",
    ),
    (
        "early anchor",
        {"fixed": {"length": {"seconds": 60}, "anchor": {"seconds": -1}}},
        "FIELD_INVALID",
        "budget.period.fixed.anchor",
    ),
    ("month 13", {"quarterly": {"first_month": 13}}, "FIELD_INVALID", "budget.period.quarterly.first_month"),
    ("month -1", {"yearly": {"month": -1}}, "FIELD_INVALID", "budget.period.yearly.month"),
    ("day 32", {"yearly": {"month": 2, "day": 32}}, "FIELD_INVALID", "budget.period.yearly.day"),
    ("zone", {"yearly": {}, "time_zone": "Mars/Olympus"}, "TIME_ZONE_UNKNOWN", "budget.period.time_zone"),
)


async def test_a_period_that_cannot_be_is_refused_and_changes_nothing(
    client: Client, subtests: pytest.Subtests
) -> None:
    await client.found_acme()
    kept = await client.budget("kept", limits=LIMIT)
    for name, period, reason, field in BAD_PERIODS:
        with subtests.test(name):
            made = client.budget("b", limits=LIMIT, period=a_period(**period))
            for error in (await refusal(made), await refusal(change(client, "kept", **period))):
                assert answer(error) == ("INVALID_ARGUMENT", reason)
                assert list(fields(error)) == [field]
    listed = await client.budgets.ListBudgets(pb.ListBudgetsRequest(parent=ACME))
    assert list(listed.budgets) == [kept]
