"""The stories of `examples/stories`: each file does on a real server what docs/budgets.md says of it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from quota.client import connect
from quota.v1 import budget_pb2, report_pb2, types_pb2
from quota_service.cli.files import documents
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.render import render
from quota_service.cli.files.server import fetch_state
from tests.support.calls import warnings
from tests.support.service import Client
from tests.support.stories import (
    DIRECTORY,
    GPT,
    LLAMA,
    MILLION,
    MINI,
    OPUS,
    Story,
    applied,
    by,
    usd,
)

FILES = sorted(DIRECTORY.glob("*.yaml"))
SPENT = "BUDGET_EXHAUSTED"


async def test_every_file_is_loaded_once_and_what_is_exported_is_the_same(client: Client) -> None:
    for path in FILES:
        source = documents.load(str(path))
        first = await applied(client, source)
        assert (first.organization, first.not_in_files) == (path.stem, [])
        assert first.changes
        assert not (await applied(client, source)).changes
        async with connect(client.address) as connection:
            state = await fetch_state(connection, path.stem)
        assert state is not None
        exported = documents.Source("exported", render(path.stem, state))
        assert not (await applied(client, exported)).changes


async def test_a_finance_teams_month_tells_at_50_80_and_100_percent_and_then_blocks(client: Client) -> None:
    story = await Story.loaded(client, "finance-team")
    budget = "finance-department-monthly"
    await story.spend(OPUS, MILLION, user="abby")
    assert await story.alerts(budget, 1) == ["50 notify"]
    await story.spend(OPUS, 600_000, user="abby")
    assert await story.alerts(budget, 2) == ["50 notify", "80 notify"]

    answer = await story.ask(OPUS, 400_001, user="abby")
    assert by(answer) == [(SPENT, budget)]
    assert answer.violations[0].meter == types_pb2.METER_COST
    assert "$120.00 spent of $150.00" in answer.message
    assert answer.message.endswith("See https://wiki.acme.example/ai-budgets")

    await story.spend(OPUS, 400_000, user="abby")
    assert await story.refused(GPT, 1, user="abby") == [(SPENT, budget)]
    assert await story.alerts(budget, 4) == ["50 notify", "80 notify", "100 block", "100 notify"]
    assert [(each.spent, each.limit) for each in await story.status(budget)] == [
        (usd(150), usd(150)),
        (2_000_000, 5_000_000),
    ]


async def test_a_finance_teams_month_ends_with_its_tokens_where_they_are_used_up_first(
    client: Client,
) -> None:
    story = await Story.loaded(client, "finance-team")
    await story.spend(GPT, 5_000_000, user="abby")
    answer = await story.ask(GPT, user="abby")
    assert [each.meter for each in answer.violations] == [types_pb2.METER_TOKENS]


def test_the_finance_teams_file_says_what_its_json_says() -> None:
    def budget(path: str, organization: str) -> budget_pb2.Budget:
        problems = Problems()
        [desired] = documents.parse([documents.load(path)], organization, problems)
        problems.raise_if_any()
        [found] = [
            each.message
            for each in desired.resources.values()
            if "limits" in each.message.DESCRIPTOR.fields_by_name
        ]
        assert isinstance(found, budget_pb2.Budget)
        return found

    json = budget(str(DIRECTORY.parent / "finance-team.json"), "finance-team")
    assert budget(str(DIRECTORY / "finance-team.yaml"), "") == json


async def test_a_fair_share_is_ones_own_until_others_have_used_up_the_teams(client: Client) -> None:
    story = await Story.loaded(client, "fair-share")
    await story.spend(GPT, 4 * MILLION, user="ada")
    assert await story.refused(GPT, user="ada") == [(SPENT, "share")]
    await story.spend(GPT, 5_500_000, user="grace")  # more than a share: her override

    # $5 are left of the team's $100, though Joan has used nothing of her $40.
    assert await story.refused(GPT, MILLION, user="joan") == [(SPENT, "research-monthly")]
    smaller = await story.hold(GPT, MILLION, least=100_000, user="joan")
    assert (smaller.granted_output_tokens, warnings(smaller)[0]) == (500_000, "PARTIAL_GRANT")
    assert await story.refused(GPT, user="alan") == [("BUDGET_HELD", "research-monthly")]
    await story.settle(smaller)
    assert await story.refused(GPT, user="alan") == [(SPENT, "research-monthly")]
    [joan], [alan], [grace] = [await story.status("share", who) for who in ("joan", "alan", "grace")]
    assert (joan.remaining, alan.remaining) == (usd(35), usd(40))
    assert (grace.limit, grace.spent) == (usd(80), usd(55))


async def test_each_of_four_levels_stops_what_is_below_it(client: Client) -> None:
    story = await Story.loaded(client, "four-levels")
    continuous: dict[str, Any] = {"api_key": "key-linus-ci"}
    laptop: dict[str, Any] = {"api_key": "key-linus-laptop"}
    await story.spend(GPT, MILLION, **continuous)
    assert await story.refused(GPT, **continuous) == [(SPENT, "key-linus-ci-daily")]
    await story.spend(GPT, 2 * MILLION, **laptop)
    assert await story.refused(GPT, **laptop) == [(SPENT, "linus-weekly")]
    await story.spend(GPT, 3 * MILLION, user="vera")
    assert await story.refused(GPT, user="vera") == [(SPENT, "engineering-monthly")]
    await story.spend(GPT, 6 * MILLION, user="paul")
    assert await story.refused(GPT, user="paul") == [(SPENT, "organization-quarterly")]
    assert {source for _, source in await story.refused(GPT, **continuous)} == {
        "key-linus-ci-daily",
        "linus-weekly",
        "engineering-monthly",
        "organization-quarterly",
    }


async def test_each_of_four_levels_has_a_period_of_its_own(client: Client) -> None:
    story = await Story.loaded(client, "four-levels")

    async def window(budget: str) -> tuple[datetime, datetime]:
        [status] = await story.status(budget)
        zone = ZoneInfo("America/New_York")
        start, end = (
            datetime.fromtimestamp(each.seconds, zone).replace(tzinfo=None)
            for each in (status.window_start, status.reset_time)
        )
        assert (start.hour, end.hour) == (0, 0)
        return start, end

    start, end = await window("key-linus-ci-daily")
    assert end - start == timedelta(days=1)
    start, end = await window("linus-weekly")
    assert (start.weekday(), end - start) == (0, timedelta(days=7))
    start, end = await window("engineering-monthly")
    assert (start.day, end.day, (end.month - start.month) % 12) == (1, 1, 1)
    start, end = await window("organization-quarterly")
    assert (start.day, start.month % 3, (end.month - start.month) % 12) == (1, 2, 3)


async def test_the_kill_switch_leaves_the_cheapest_models_and_then_nothing(client: Client) -> None:
    story = await Story.loaded(client, "kill-switch")
    await story.spend(GPT, 5 * MILLION, user="ada")
    for model in (GPT, OPUS):
        assert await story.refused(model, user="ada") == [(SPENT, "product-monthly")]
    last = await story.spend(MINI, 5 * MILLION, user="ada")
    assert any("only models of tier 1 or below pass" in each.message for each in last.warnings)
    assert await story.refused(MINI, user="ada") == [(SPENT, "product-monthly")]
    assert await story.spent("product-monthly") == usd(60)
    steps = await story.alerts("product-monthly", 4)
    assert steps == ["50 notify", "80 notify", "100 restrict", "120 block"]


async def test_the_dynamic_route_goes_to_a_cheaper_model_and_then_to_a_free_one(client: Client) -> None:
    story = await Story.loaded(client, "free-route")
    await story.spend(GPT, 1_600_000, user="joan")
    for model in (MINI, MINI, LLAMA, LLAMA, LLAMA):
        answer = await story.spend(GPT, MILLION, user="joan")
        assert f"{answer.reservation.provider}/{answer.reservation.model}" == model
        assert answer.reservation.downgraded
        assert "DOWNGRADED" in warnings(answer)
    assert await story.spent("support-monthly") == usd(20)
    commits = await story.ledger(6, type=report_pb2.LedgerEntry.TYPE_COMMIT)
    assert [each.charged.cost_micros for each in commits] == [usd(16), usd(2), usd(2), 0, 0, 0]
    assert await story.alerts("support-monthly", 2) == ["80 downgrade", "100 downgrade"]


async def test_sales_and_support_have_models_of_their_own(client: Client) -> None:
    story = await Story.loaded(client, "sales-and-support")
    chat: dict[str, Any] = {"api_key": "key-support-chat"}
    assert await story.refused(GPT, **chat) == [("MODEL_NOT_ALLOWED", "everybody")]
    assert await story.refused(MINI, user="mary") == [("MODEL_NOT_ALLOWED", "sales-models")]
    await story.spend(MINI, **chat)
    await story.spend(OPUS, user="mary")


async def test_sellers_have_a_pace_of_their_own_and_a_volume_together(client: Client) -> None:
    story = await Story.loaded(client, "sales-and-support")
    for _ in range(2):
        await story.hold(OPUS, user="mary")
    answer = await story.ask(OPUS, user="mary")
    assert by(answer) == [("RATE_LIMITED", "sales-pace")]
    assert answer.violations[0].each_value == "mary"
    assert 0 < answer.retry_after.ToMilliseconds() <= 20_000
    await story.hold(OPUS, user="tim")

    await asyncio.gather(*(story.record(OPUS, team="sales") for _ in range(497)))
    answer = await story.ask(OPUS, user="tim")
    assert by(answer) == [("BUDGET_HELD", "sales-monthly")]
    assert answer.violations[0].meter == types_pb2.METER_REQUESTS


async def test_no_team_takes_more_of_a_provider_than_the_account_has(client: Client) -> None:
    story = await Story.loaded(client, "sales-and-support")
    await story.hold(MINI, 1_800_000, api_key="key-support-chat")
    assert await story.refused(MINI, MILLION, api_key="key-support-chat") == [
        ("RATE_LIMITED", "openai-account")
    ]
    assert await story.refused(GPT, MILLION, user="tim") == [("RATE_LIMITED", "openai-account")]
    await story.hold(OPUS, MILLION, user="tim")
