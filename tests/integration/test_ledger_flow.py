"""What the ledger says of every hold, end and charge, and that it agrees with what the budgets say."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from quota.v1 import quota_pb2, report_pb2
from tests.support.calls import (
    COST,
    NOWHERE,
    Amount,
    amount,
    committed,
    cost,
    entries,
    expired,
    held,
    record_request,
    released,
    requests,
    seconds,
    subject,
    types,
    user,
)
from tests.support.service import ACME, Client
from tests.support.stores import Stores

NOTHING = Amount()


def charges(found: list[report_pb2.LedgerEntry]) -> dict[tuple[str, str], Amount]:
    """What the entries charged to each budget and value."""
    sums: dict[tuple[str, str], Amount] = defaultdict(Amount)
    for entry in found:
        for window in entry.windows:
            place = (window.source.rpartition("/")[2], window.each_value)
            before, charged = sums[place], amount(window.charged)
            sums[place] = Amount(*(one + other for one, other in zip(before, charged, strict=True)))
    return {place: charged for place, charged in sums.items() if charged != NOTHING}


async def everything(client: Client) -> None:
    """Commits in full, in part, above the hold, late and of nothing known; and one of everything else."""
    await committed(client, await held(client, "committed"))
    name = await held(client, "parts")
    await committed(client, name, 1_000, 100, keep_open=True)
    await committed(client, name, 1_000, 300)
    await committed(client, await held(client, "overrun"), 2_000, 1_000)
    name = await held(client, "late")
    await released(client, name)
    await committed(client, name)
    name = await held(client, "extended", subject=subject(user="bob"))
    await client.quota.Extend(
        quota_pb2.ExtendRequest(name=name, additional_output_tokens=100, request_id="r", ttl=seconds(600))
    )
    await released(client, await held(client, "released"))
    await expired(client, "expired")
    await client.quota.Record(record_request("record"))
    await committed(client, NOWHERE, subject=subject(user="bob"), provider="openai", model="gpt-4o")


async def test_every_hold_end_and_charge_is_an_entry_and_the_charges_add_up_to_the_statuses(
    client: Client,
) -> None:
    await client.found_acme()
    await user(client, "bob", "engineering")
    await client.budget("all", limits=cost(1_000_000))
    await client.budget("each", limits=requests(100), scope={"each": {"dimension": "DIMENSION_USER"}})
    await everything(client)
    found = await entries(client, 18)
    assert sorted(types(found)) == sorted(
        [*["HOLD"] * 7, "EXTEND", *["COMMIT"] * 6, *["RELEASE"] * 2, "EXPIRE", "RECORD"]
    )
    summed = charges(found)
    assert set(summed) == {("all", ""), ("each", "ada"), ("each", "bob")}
    for (budget, value), charged in summed.items():
        [status] = await client.status(budget, value)
        assert status.spent == (charged.cost if budget == "all" else charged.requests)
    [all_] = await client.status("all")
    assert all_.overrun == sum(amount(each.overrun).cost for each in found)
    assert all_.held == COST + 1_000


async def test_an_entry_tells_who_spent_what_on_what_and_where(client: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=cost(1_000_000))
    sent = subject(api_key="key-ada", tags={"run": "7"})
    name = await held(client, subject=sent)
    await committed(client, name)
    [status] = await client.status("all")
    hold, commit = await entries(client, 2)
    for entry in (hold, commit):
        assert entry.name.startswith(f"{ACME}/ledgerEntries/")
        assert entry.reservation == name
        assert entry.subject == subject(api_key="key-ada", user="ada", team="engineering", tags={"run": "7"})
        assert (entry.cost_center, entry.provider, entry.model) == ("CC-1", "openai", "gpt-4o")
        assert [(each.source, each.window_start) for each in entry.windows] == [
            (f"{ACME}/budgets/all", status.window_start)
        ]
        assert entry.create_time.ToMilliseconds() >= entry.occur_time.ToMilliseconds() - 1_000
    assert (hold.exact_cost_usd, commit.exact_cost_usd) == ("0.0075", "0.0045")
    assert (hold.usage.input_tokens, hold.usage.output_tokens) == (1_000, 500)
    assert (commit.usage.input_tokens, commit.usage.output_tokens) == (1_000, 200)
    assert not hold.HasField("charged")


async def test_the_ledgers_balances_are_the_statuses(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await user(client, "bob", "engineering")
    await client.budget("all", limits=cost(1_000_000))
    await everything(client)
    await stores.drained()
    [status] = await client.status("all")
    assert await stores.balance("all") == (status.spent, status.overrun)
    assert await stores.open_holds() == 1


async def test_two_servers_write_every_entry_once(client: Client, other: Client) -> None:
    await client.found_acme()
    await client.budget("all", limits=cost(100_000_000))

    async def call(number: int) -> None:
        one, another = (client, other) if number % 2 else (other, client)
        name = await held(one, f"k{number}")
        await asyncio.gather(committed(one, name), committed(another, name), released(another, name))

    await asyncio.gather(*(call(number) for number in range(50)))
    [status] = await client.status("all")
    assert (status.spent, status.held) == (50 * 4_500, 0)
    request = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_size=1_000)
    await asyncio.sleep(1)
    found = list((await client.reports.ListLedgerEntries(request)).ledger_entries)
    assert charges(found)["all", ""].cost == status.spent
    assert types(found).count("HOLD") == 50
    assert types(found).count("COMMIT") == 50
