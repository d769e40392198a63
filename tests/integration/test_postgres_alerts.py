"""Alerts and denials as PostgreSQL keeps them: once each, and added up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from quota_service.application.alert_details import AlertDetails
from quota_service.application.alert_ports import (
    AlertFilter,
    Consumer,
    DenialCount,
    DenialFilter,
    DenialKey,
    StoredAlert,
)
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Action, Block, Downgrade, LadderStep, Mode, Notify, Restrict
from quota_service.domain.decision import Reason
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Dimension, Subject
from quota_service.stores.postgres import sql
from quota_service.stores.postgres.alerts import PostgresAlerts
from quota_service.stores.postgres.denials import PostgresDenials
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.telemetry import StoreLog
from tests.integration.postgres_lives import START_MS, WINDOWS, Life, a_hold

ALERT = Alert(
    organization="acme",
    window=WINDOWS[0],
    step=LadderStep(at_percent=80, action=Notify()),
    meter=Meter.COST,
    mode=Mode.SOFT,
    limit=10_000,
    spent=8_000,
    held=500,
    display_name="Engineering",
    time_zone="Europe/Berlin",
    recipients=("user", "slack:#finance"),
    subject=Subject(organization="acme", user="ada", tags=(("run", "\0"),)),
)
DAY_MS = 86_400_000
MINUTE = 60_000


@pytest.fixture
def alerts(pool: asyncpg.Pool) -> PostgresAlerts:
    return PostgresAlerts(pool)


async def kept(alerts: PostgresAlerts, **filters: object) -> list[StoredAlert]:
    found, following = await alerts.list("acme", AlertFilter(**filters), 100, None)  # type: ignore[arg-type]
    assert following is None
    return list(found)


@pytest.mark.parametrize(
    "action", [Notify(), Restrict(max_tier=3), Downgrade(provider="house", model="ft/plain:x"), Block()]
)
async def test_an_alert_comes_back_as_it_was_kept(alerts: PostgresAlerts, action: Action) -> None:
    alert = replace(ALERT, step=LadderStep(at_percent=80, action=action))
    await alerts.fire([alert])
    [stored] = await kept(alerts)
    assert stored.alert == replace(alert, subject=replace(ALERT.subject, tags=(("run", "␀"),)))


async def test_many_who_fire_the_same_at_once_keep_one_and_nobody_waits_in_a_circle(
    alerts: PostgresAlerts,
) -> None:
    steps = [replace(ALERT, step=LadderStep(at_percent=percent, action=Notify())) for percent in range(1, 31)]
    await asyncio.gather(*(alerts.fire(steps[::direction]) for direction in (1, -1) * 8))
    assert sorted(each.alert.step.at_percent for each in await kept(alerts)) == list(range(1, 31))


async def test_every_window_value_budget_and_action_fires_for_itself(alerts: PostgresAlerts) -> None:
    others = [
        replace(ALERT, window=ALERT.window._replace(start_ms=START_MS + DAY_MS)),
        replace(ALERT, window=ALERT.window._replace(each_value="grace")),
        replace(ALERT, window=ALERT.window._replace(budget="other")),
        replace(ALERT, step=LadderStep(at_percent=80, action=Block())),
        replace(ALERT, step=LadderStep(at_percent=80, action=Restrict(max_tier=1))),
        replace(ALERT, step=LadderStep(at_percent=80, action=Restrict(max_tier=2))),
    ]
    await alerts.fire([ALERT, *others])
    await alerts.fire([replace(ALERT, limit=20_000, meter=Meter.TOKENS, spent=1), *others])
    assert len(await kept(alerts)) == 7
    assert len(await kept(alerts, budget="other")) == 1


async def test_reminders_are_no_closer_than_the_cooldown_whoever_asks(
    alerts: PostgresAlerts, pool: asyncpg.Pool
) -> None:
    await alerts.fire([ALERT])
    wait_ms = await alerts.remind(ALERT, DAY_MS)
    assert DAY_MS - 60_000 < wait_ms <= DAY_MS
    assert len(await kept(alerts)) == 1
    for reminders in (1, 2):
        await pool.execute("UPDATE alerts SET create_time = create_time - interval '25 hours'")
        await asyncio.gather(*(alerts.remind(ALERT, DAY_MS) for _ in range(10)))
        assert sorted(each.alert.repeat for each in await kept(alerts)) == list(range(reminders + 1))
        assert await alerts.remind(ALERT, DAY_MS) > DAY_MS - 60_000


async def test_a_step_that_has_just_told_is_no_reason_to_remind_of_another(alerts: PostgresAlerts) -> None:
    await alerts.fire([ALERT])
    higher = replace(ALERT, step=LadderStep(at_percent=150, action=Notify()))
    assert await alerts.remind(higher, DAY_MS) > 0
    assert len(await kept(alerts)) == 1


async def test_pages_go_on_where_the_last_one_ended(alerts: PostgresAlerts) -> None:
    await alerts.fire([replace(ALERT, window=ALERT.window._replace(each_value=str(n))) for n in range(5)])
    seen: list[int] = []
    before: int | None = None
    while True:
        found, before = await alerts.list("acme", AlertFilter(), 2, before)
        seen += [each.id for each in found]
        if before is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 5


async def test_the_worker_fills_in_who_spent_most_and_when_the_limit_is_reached(
    alerts: PostgresAlerts, ledger: PostgresLedger, pool: asyncpg.Pool
) -> None:
    [started] = await pool.fetch("SELECT (extract(epoch FROM now()) * 1000)::bigint - 600000 AS ms")
    window = WindowRef("team-monthly", "", started["ms"], started["ms"] + DAY_MS)
    for number, (user, key, team) in enumerate(
        [("ada", "k1", "t"), ("ada", "", "t"), ("", "k2", "t"), ("", "", "t"), ("", "", ""), ("bob", "", "t")]
    ):
        hold = a_hold(id_=f"r{number}", windows=(window,))
        subject = Subject(organization="acme", user=user, api_key=key, team=team)
        await ledger.write(Life(replace(hold, subject=subject)).commit(100 * (6 - number)).entries)
    elsewhere = a_hold(id_="r9", windows=(window._replace(each_value="x"),))
    await ledger.write(Life(elsewhere).commit(400).entries)
    await alerts.fire([replace(ALERT, window=window, meter=Meter.REQUESTS, limit=60, spent=6)])
    assert (await kept(alerts))[0].consumers == ()

    await asyncio.gather(*(AlertDetails(alerts, StoreLog()).fill() for _ in range(3)))

    [stored] = await kept(alerts)
    assert stored.consumers == (
        Consumer(Dimension.USER, "ada", 2),
        Consumer(Dimension.ORGANIZATION, "acme", 1),
        Consumer(Dimension.TEAM, "t", 1),
        Consumer(Dimension.USER, "bob", 1),
        Consumer(Dimension.API_KEY, "k2", 1),
    )
    assert stored.forecast_ms is not None
    assert abs(stored.forecast_ms - (window.start_ms + 6_000_000)) < 600_000
    assert not await alerts.fill_next(lambda _: None)


def a_count(minute: int = 1, user: str = "ada", count: int = 1, message: str = "no room") -> DenialCount:
    key = DenialKey(
        "acme", minute * MINUTE, "engineering", user, "", "", "openai", "gpt-4o",
        Reason.BUDGET_EXHAUSTED, "budgets/team",
    )  # fmt: skip
    return DenialCount(key=key, count=count, message=message)


async def test_what_replicas_count_adds_up_and_nobody_waits_in_a_circle(pool: asyncpg.Pool) -> None:
    denials = PostgresDenials(pool)
    counts = [a_count(user=f"u{number:02}", count=2) for number in range(30)]
    await asyncio.gather(*(denials.add(counts[::direction]) for direction in (1, -1) * 5))
    await denials.add([a_count(user="u00", message="the last")])
    found, following = await denials.list("acme", DenialFilter(user="u00"), 10, None)
    assert [(each.count, each.message) for each in found] == [(21, "the last")]
    assert following is None


async def test_denials_are_listed_minute_by_minute_and_page_by_page(pool: asyncpg.Pool) -> None:
    denials = PostgresDenials(pool)
    counts = [a_count(minute, f"u{number}") for minute in (3, 1, 2) for number in range(3)]
    await denials.add(counts)
    seen: list[DenialCount] = []
    position = None
    while True:
        found, position = await denials.list("acme", DenialFilter(), 2, position)
        seen += found
        if position is None:
            break
    assert [each.key.minute_ms // MINUTE for each in seen] == [3, 3, 3, 2, 2, 2, 1, 1, 1]
    assert {each.key for each in seen} == {each.key for each in counts}
    filtered = DenialFilter(
        reason=Reason.BUDGET_EXHAUSTED, source="budgets/team", from_ms=2 * MINUTE, until_ms=3 * MINUTE
    )
    assert len((await denials.list("acme", filtered, 10, None))[0]) == 3
    assert not (await denials.list("acme", DenialFilter(reason=Reason.NO_BUDGET), 10, None))[0]
    assert not (await denials.list("other", DenialFilter(), 10, None))[0]


async def test_denials_are_forgotten_after_a_month(pool: asyncpg.Pool) -> None:
    denials = PostgresDenials(pool)
    await denials.add([a_count()])
    now_ms: int = await pool.fetchval("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    await denials.add([a_count(now_ms // MINUTE - 30 * 24 * 60)])
    await denials.drop_old()
    assert len((await denials.list("acme", DenialFilter(), 10, None))[0]) == 1


FILL = """
INSERT INTO alerts (
    organization, budget, each_value, window_start, at_percent, action, target, repeat, meter, mode, "limit",
    spent, held, display_name, time_zone, recipients, subject, details
)
SELECT 'o' || n % 20, 'b' || n, '', now(), 80, 'notify', '', 0, 0, 3, 1, 1, 0, '', 'UTC', '[]', '{}', '{}'
FROM generate_series(1, 5000) n;
INSERT INTO denials (
    organization, minute, team, "user", api_key, project, provider, model, reason, source, count, last_message
)
SELECT 'o' || n % 20, to_timestamp(n * 60), '', '', '', '', '', '', 1, '', 1, ''
FROM generate_series(1, 5000) n;
"""
HOT: list[tuple[str, str, list[Any], str]] = [
    ("alerts", "list_alerts", ["o1", "", None, None, 4_000, 50, None], "alerts_pkey"),
    ("alerts", "list_alerts", ["o1", "", None, None, None, 50, None], "alerts_pkey"),
    ("alerts", "claim_without_details", [], "alerts_without_details"),
    ("denials", "list_denials", ["o1", *[""] * 6, None, "", *[None] * 4, 50, None], "denials_newest_first"),
    (
        "denials",
        "list_denials",
        ["o1", *[""] * 6, None, "", *[None] * 4, 50, ["core"]],
        "denials_pkey",
    ),
]


async def test_the_lists_use_indexes(pool: asyncpg.Pool, owner: asyncpg.Pool) -> None:
    await owner.execute(FILL)
    await owner.execute("VACUUM ANALYZE")
    for file, name, arguments, index in HOT:
        plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {sql.load(file)[name]}", *arguments))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
