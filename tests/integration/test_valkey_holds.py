"""Holds on a real Valkey: what only shows with several callers, organizations or much time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from quota_service.domain.amounts import NOTHING, Amounts, Limits, Meter
from quota_service.domain.commands import Denied, Ended, Granted, Stale
from quota_service.domain.errors import PageTokenInvalid
from quota_service.domain.reservation import Hold, State
from tests.support.commands import (
    authorize,
    commit,
    draft,
    extend,
    granted,
    inspect,
    inspected,
    record,
    recorded,
    release,
    settled,
    term,
    window,
)
from tests.support.fence import EPOCH
from tests.support.valkey import Stores, opened

HOSTILE = ("", " ", "/", "{x}", "}{", "line\nbreak", "nul\0byte", "ключ", "🜁", "a" * 128, "%s", "../holds")


@pytest.fixture
async def stores(valkey_url: str) -> AsyncIterator[Stores]:
    async with opened(valkey_url) as found:
        yield found


async def _set_time(stores: Stores, organization: str, now_ms: int) -> None:
    """The store's clock is never behind the last time that it has seen."""
    await stores.connection.call("HSET", stores.keys.common(organization)[0], "time", now_ms)


@pytest.mark.parametrize("meter", Meter)
async def test_concurrent_calls_never_exceed_a_window(stores: Stores, key_prefix: str, meter: Meter) -> None:
    room = 57
    costs = draft(key_prefix, "any").held
    ceilings = Limits(*(room * costs[meter] if one is meter else None for one in Meter))
    calls = (
        stores.holds.authorize(authorize(draft(key_prefix, f"r{number}"), term(ceilings=ceilings)))
        for number in range(200)
    )
    answers = await asyncio.gather(*calls)
    assert sum(isinstance(answer, Granted) for answer in answers) == room
    assert sum(isinstance(answer, Denied) for answer in answers) == 200 - room
    counters = inspected(await stores.holds.inspect(inspect(key_prefix, window())))[0]
    assert counters.held[meter] == room * costs[meter]
    assert counters.holds == room


async def test_concurrent_repeats_of_one_key_hold_once(stores: Stores, key_prefix: str) -> None:
    calls = (
        stores.holds.authorize(authorize(draft(key_prefix, f"r{number}", key="same"), term()))
        for number in range(50)
    )
    answers = [granted(answer) for answer in await asyncio.gather(*calls)]
    assert len({answer.hold.reservation for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert answers[-1].counters[0].holds == 1


async def test_a_hold_counts_nowhere_from_its_expiry_even_if_thousands_expire_unswept(
    stores: Stores, key_prefix: str
) -> None:
    limited = term(ceilings=Limits(requests=1_000))
    drafts = [draft(key_prefix, f"r{number}") for number in range(1_000)]
    answers = await asyncio.gather(
        *(stores.holds.authorize(authorize(hold, limited, ttl_ms=30_000)) for hold in drafts)
    )
    latest_ms = max(granted(answer).hold.expire_ms for answer in answers)
    more = draft(key_prefix, "more")
    assert isinstance(await stores.holds.authorize(authorize(more, limited)), Denied)
    await _set_time(stores, key_prefix, latest_ms)
    answer = granted(await stores.holds.authorize(authorize(more, limited)))
    assert answer.counters[0].held == more.held
    assert answer.counters[0].holds == 1


async def test_live_holds_are_paged_by_expiry_then_by_id_and_ties_may_fill_pages(
    stores: Stores, key_prefix: str
) -> None:
    await _set_time(stores, key_prefix, 4_000_000_000_000)
    drafts = [draft(key_prefix, f"r{number:03}") for number in range(120)]
    await asyncio.gather(
        *(
            stores.holds.authorize(authorize(hold, ttl_ms=60_000 + number // 100))
            for number, hold in enumerate(reversed(drafts))
        )
    )
    found: list[Hold] = []
    after = ""
    while True:
        page = await stores.holds.live(key_prefix, after, 7)
        found += page.items
        after = page.next
        if not after:
            break
    assert [hold.reservation for hold in found] == sorted(
        (hold.reservation for hold in drafts), key=lambda name: (name < "r020", name)
    )


async def test_live_lists_no_hold_whose_time_is_over(stores: Stores, key_prefix: str) -> None:
    short, long = draft(key_prefix, "short"), draft(key_prefix, "long")
    first = granted(await stores.holds.authorize(authorize(short, ttl_ms=1_000)))
    await stores.holds.authorize(authorize(long))
    await _set_time(stores, key_prefix, first.hold.expire_ms)
    assert [hold.reservation for hold in (await stores.holds.live(key_prefix, "", 10)).items] == ["long"]


@pytest.mark.parametrize("after", ["x", "² r1", "-1 r1", " "])
async def test_live_refuses_a_position_it_did_not_give(stores: Stores, key_prefix: str, after: str) -> None:
    with pytest.raises(PageTokenInvalid):
        await stores.holds.live(key_prefix, after, 10)


async def test_a_hold_that_only_the_ledger_remembers_is_put_back_and_settled_late_once(
    stores: Stores, key_prefix: str
) -> None:
    hold = replace(
        draft(key_prefix, "r", windows=(window(),)),
        state=State.EXPIRED,
        create_ms=1_000,
        expire_ms=2_000,
        end_ms=2_000,
    )
    await stores.holds.sweep(key_prefix)
    await stores.holds.restore(hold, EPOCH)
    await stores.holds.restore(replace(hold, charged=Amounts(9, 9, 9)), EPOCH)  # it is there: nothing happens
    assert await stores.holds.get(key_prefix, "r") == hold
    first = settled(await stores.holds.commit(commit(hold, 25)))
    assert first.late
    assert first.settlement.charged == Amounts(25, 25, 1)
    assert first.settlement.overrun == Amounts(15, 15, 0)
    assert first.counters[0].spent == Amounts(25, 25, 1)
    assert first.counters[0].held == NOTHING
    again = settled(await stores.holds.commit(commit(hold, 25)))
    assert again.replayed
    assert again.settlement == first.settlement


async def test_two_organizations_never_touch_each_others_keys(stores: Stores, key_prefix: str) -> None:
    one, other = f"{key_prefix}-one", f"{key_prefix}-other"
    limited = term(ceilings=Limits(requests=1))
    for organization in (one, other):
        hold = draft(organization, "r", key="same key")
        answer = granted(await stores.holds.authorize(authorize(hold, limited)))
        assert not answer.replayed
        assert answer.counters[0].holds == 1
    await stores.holds.publish_version(one, 7)
    assert isinstance(await stores.holds.authorize(authorize(draft(one, "r2"), limited)), Stale)
    before = await stores.holds.get(other, "r")
    settled(await stores.holds.commit(commit(draft(one, "r"))))
    assert await stores.holds.get(other, "r") == before
    assert inspected(await stores.holds.inspect(inspect(other, window())))[0].spent == NOTHING
    keys = await stores.connection.call("KEYS", f"*{key_prefix}*")
    assert all((f"{{{one}}}/".encode() in key) != (f"{{{other}}}/".encode() in key) for key in keys)


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
async def test_keys_and_values_may_contain_anything(stores: Stores, key_prefix: str, text: str) -> None:
    place = window(each_value=text)
    counted = term(place, Limits(requests=3), max_values=1)
    neighbour = term(window(each_value=f"{text}x"), max_values=1)
    hold = draft(key_prefix, "r", key=f"{text}!", windows=(place,))
    first = granted(await stores.holds.authorize(authorize(hold, counted)))
    assert await stores.holds.get(key_prefix, "r") == first.hold
    assert granted(await stores.holds.authorize(authorize(hold, counted))).replayed
    full = await stores.holds.authorize(authorize(draft(key_prefix, "r2"), neighbour))
    assert isinstance(full, Denied)
    assert full.full == (0,)
    extended = granted(await stores.holds.extend(extend(hold, counted, tokens=5, request_id=f"{text}?")))
    assert extended.hold.held == Amounts(15, 15, 1)
    settled(await stores.holds.release(release(hold, reason=text)))
    recorded(await stores.holds.record(record(hold, f"rec/{text}")))
    assert recorded(await stores.holds.record(record(hold, f"rec/{text}"))).replayed
    counters = inspected(await stores.holds.inspect(inspect(key_prefix, place)))[0]
    assert counters.spent == Amounts(10, 10, 1)


async def test_an_ended_key_covers_no_second_call(stores: Stores, key_prefix: str) -> None:
    hold = draft(key_prefix, "r")
    await stores.holds.authorize(authorize(hold, term()))
    await stores.holds.commit(commit(hold))
    assert isinstance(
        await stores.holds.authorize(authorize(draft(key_prefix, "r2", key=hold.idempotency_key))), Ended
    )


async def test_counters_that_a_record_opened_count_among_the_values_of_a_tag(
    stores: Stores, key_prefix: str
) -> None:
    for value in ("a", "b"):
        charged = draft(key_prefix, "", windows=(window(each_value=value),))
        recorded(await stores.holds.record(record(charged, f"rec/{value}", max_values=2)))
    third = term(window(each_value="c"), max_values=2)
    answer = await stores.holds.authorize(authorize(draft(key_prefix, "r"), third))
    assert isinstance(answer, Denied)
    assert answer.full == (0,)


async def test_a_fault_in_one_request_keeps_nothing_from_those_that_ran_with_it(
    stores: Stores, key_prefix: str
) -> None:
    holds = [draft(key_prefix, f"r{number}") for number in range(3)]
    for hold in holds:
        granted(await stores.holds.authorize(authorize(hold, term())))
    broken = stores.keys.hold(key_prefix, "r1")
    await stores.connection.call("DEL", broken)
    await stores.connection.call("RPUSH", broken, "no hold")

    first, fault, last = await asyncio.gather(
        *(stores.holds.commit(commit(hold)) for hold in holds), return_exceptions=True
    )

    assert isinstance(fault, AssertionError)
    assert "WRONGTYPE" in str(fault)
    for answer in (first, last):
        assert not isinstance(answer, BaseException)
        settled(answer)
    probe = granted(await stores.holds.authorize(authorize(draft(key_prefix, "r9"), term())))
    assert probe.counters[0].spent == Amounts(20, 20, 2)
    assert probe.counters[0].holds == 2  # the broken one's and this


async def test_asking_for_what_nobody_knows_leaves_nothing_behind(stores: Stores, key_prefix: str) -> None:
    nobody = draft(key_prefix, "unknown")
    await stores.holds.commit(commit(nobody))
    await stores.holds.release(release(nobody))
    await stores.holds.get(key_prefix, "unknown")
    await stores.holds.sweep(key_prefix)
    await stores.holds.inspect(inspect(key_prefix, window()))
    await stores.holds.authorize(authorize(nobody, term(), dry_run=True))
    await stores.holds.authorize(authorize(nobody, term(), refused=True))
    left = await stores.connection.call("KEYS", f"*{key_prefix}*")
    assert left == [stores.keys.common(key_prefix)[0].encode()]  # the fence
