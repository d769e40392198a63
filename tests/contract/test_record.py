"""Record: usage that nobody asked for first."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import types_pb2
from tests.support.calls import (
    COST,
    amount,
    cost,
    entries,
    held,
    model,
    record_request,
    stands,
    subject,
    types,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores

DAY_S = 86_400


async def test_a_record_charges_every_matching_budget_and_answers_with_its_entry(client: Client) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(100_000), scope={"team": "engineering"})
    await client.budget("user", limits=cost(100_000), scope={"each": {"dimension": "DIMENSION_USER"}})
    done = await client.quota.Record(record_request("k"))
    assert (done.replayed, done.durability) == (False, types_pb2.DURABILITY_LEDGER)
    entry = done.entry
    assert types([entry]) == ["RECORD"]
    assert amount(entry.charged) == (COST, 1_500, 1)
    assert entry.exact_cost_usd == "0.0075"
    assert entry.subject == subject(user="ada", team="engineering")
    assert (entry.cost_center, entry.provider, entry.model) == ("CC-1", "openai", "gpt-4o")
    assert [(each.source, each.each_value) for each in entry.windows] == [
        (f"{ACME}/budgets/team", ""),
        (f"{ACME}/budgets/user", "ada"),
    ]
    assert await entries(client, 1) == [entry]
    assert await stands(client, "team") == await stands(client, "user", "ada") == (COST, 0)


async def test_a_record_is_never_denied(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(0))
    await client.quota.Record(record_request("k"))
    assert await stands(client, "engineering") == (COST, 0)


async def test_the_same_record_again_returns_the_first_for_ever(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    first = await client.quota.Record(record_request("k"))
    for forgotten in (False, True):
        if forgotten:
            await stores.drained()
            assert await stores.valkey.delete(*await stores.keys("record"))
        again = await client.quota.Record(record_request("k"))
        assert (again.replayed, again.entry) == (True, first.entry)
    await entries(client, 1)
    assert await stands(client, "engineering") == (COST, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"subject": subject(team="engineering")},
        {"usage": types_pb2.Usage(input_tokens=1)},
        {"model": "gpt-4o-mini"},
        {"occur_time": Timestamp(seconds=1_790_000_000)},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_a_record_with_other_content_is_a_conflict_that_changes_nothing(
    client: Client, stores: Stores, other: dict[str, Any]
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    await client.quota.Record(record_request("k"))
    before = await stores.snapshot()
    for _ in range(2):
        error = await refusal(client.quota.Record(record_request("k", **other)))
        assert answer(error) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert await stores.snapshot() == before


async def test_concurrent_repeats_charge_once_and_all_get_the_entry(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    done = await asyncio.gather(
        *(each.quota.Record(record_request("k")) for _ in range(20) for each in (client, other))
    )
    assert sum(not each.replayed for each in done) == 1
    assert {each.entry.name for each in done} == {done[0].entry.name}
    await entries(client, 1)
    assert await stands(client, "engineering") == (COST, 0)


async def test_a_record_in_the_future_is_refused(client: Client, stores: Stores) -> None:
    await client.found_acme()
    before = await stores.snapshot()
    for later_s in (60, 10 * 366 * DAY_S):
        occur_time = Timestamp(seconds=int(time.time()) + later_s)
        error = await refusal(client.quota.Record(record_request("k", occur_time=occur_time)))
        assert answer(error) == ("INVALID_ARGUMENT", "TIME_IN_FUTURE")
        assert list(fields(error)) == ["occur_time"]
    assert await stores.snapshot() == before


async def test_a_record_of_the_past_counts_in_the_windows_and_at_the_prices_of_its_instant(
    client: Client,
) -> None:
    await client.found_acme()
    now_s = int(time.time())
    occur_s = now_s - 40 * DAY_S
    dated = [
        {"input_pico_usd_per_token": 1_000_000, "output_pico_usd_per_token": 1_000_000},
        {
            "start_time": {"seconds": now_s - 20 * DAY_S},
            "input_pico_usd_per_token": 9_000_000,
            "output_pico_usd_per_token": 9_000_000,
        },
    ]
    await model(client, "own", prices=dated)
    await client.budget("monthly", limits=cost(100_000))
    await client.budget("daily", limits=cost(100_000), period={"daily": {}})
    start = {"seconds": now_s - 20 * DAY_S}
    await client.budget("later", limits=cost(100_000), period={"once": {"start_time": start}})
    request = record_request("k", provider="house", model="own", occur_time=Timestamp(seconds=occur_s))
    entry = (await client.quota.Record(request)).entry
    assert entry.charged.cost_micros == 1_500
    assert entry.occur_time.seconds == occur_s
    starts = {each.source.rpartition("/")[2]: each.window_start.seconds for each in entry.windows}
    assert starts["daily"] == occur_s - occur_s % DAY_S
    assert starts["monthly"] <= occur_s < starts["monthly"] + 31 * DAY_S
    assert "later" not in starts
    assert await stands(client, "monthly") == await stands(client, "daily") == (0, 0)


async def test_a_record_of_the_live_window_counts_in_it(client: Client) -> None:
    await client.found_acme()
    await client.budget("for-good", limits=cost(100_000), period={"once": {"start_time": {"seconds": 1}}})
    request = record_request("k", occur_time=Timestamp(seconds=int(time.time()) - 40 * DAY_S))
    await client.quota.Record(request)
    assert await stands(client, "for-good") == (COST, 0)


async def test_unknown_and_disabled_subjects_and_the_unbudgeted_are_charged(client: Client) -> None:
    await client.found_acme(required_dimensions=["DIMENSION_PROJECT"])
    await client.quota.Record(record_request("unbudgeted"))
    await client.budget("all", limits=cost(100_000))  # which counts what was charged before it
    for number, sent in enumerate(
        (subject(user="nobody"), subject(user="ada", team="sales"), subject(api_key="x"))
    ):
        entry = (await client.quota.Record(record_request(f"k{number}", subject=sent))).entry
        assert amount(entry.charged).cost == COST
    assert await stands(client, "all") == (4 * COST, 0)


async def test_an_unknown_model_is_refused(client: Client, stores: Stores) -> None:
    await client.found_acme()
    before = await stores.snapshot()
    error = await refusal(client.quota.Record(record_request("k", model="gpt-unheard-of")))
    assert answer(error) == ("INVALID_ARGUMENT", "MODEL_UNKNOWN")
    assert list(fields(error)) == ["model"]
    assert await stores.snapshot() == before


async def test_a_model_that_became_known_on_another_server_is_charged(client: Client, other: Client) -> None:
    await client.found_acme()
    asked = {"provider": "house", "model": "own"}
    await refusal(other.quota.Record(record_request("k", **asked)))
    await model(client, "own")
    assert (await other.quota.Record(record_request("k", **asked))).entry.charged.cost_micros == 1_500


async def test_a_caller_priced_model_is_charged_what_the_caller_says(client: Client) -> None:
    await client.found_acme()
    await model(client, "image", caller_priced=True, unpriced=True)
    usage = types_pb2.Usage(cost_micros=70)
    request = record_request("k", provider="house", model="image", usage=usage)
    assert amount((await client.quota.Record(request)).entry.charged) == (70, 0, 1)


async def test_a_key_alone_says_whose_organization_is_charged(client: Client) -> None:
    await client.found_acme()
    done = await client.quota.Record(record_request("k", subject=types_pb2.Subject(api_key="key-ada")))
    assert done.entry.subject == subject(api_key="key-ada", user="ada", team="engineering")


async def test_a_record_and_a_hold_may_have_the_same_key(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    await held(client, "k")
    assert not (await client.quota.Record(record_request("k"))).replayed
    assert await stands(client, "engineering") == (COST, COST)
