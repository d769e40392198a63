"""AlertService: what is listed, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import alert_pb2 as pb
from quota.v1 import budget_pb2, types_pb2
from tests.support.calls import authorized, committed, cost, denied, held, model, reasons, stands
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client

BUDGET = f"{ACME}/budgets/engineering"


async def alerts(client: Client, count: int, **filters: Any) -> list[pb.Alert]:
    """The alerts that match, newest first, once there are as many. There must not be more."""
    request = pb.ListAlertsRequest(parent=ACME, **filters)
    async with asyncio.timeout(10):
        while True:
            found = list((await client.alerts.ListAlerts(request)).alerts)
            if len(found) >= count:
                assert len(found) == count, found
                return found
            await asyncio.sleep(0.01)


async def denials(client: Client, times: int, **filters: Any) -> list[pb.DenialCount]:
    """The counts that match, once they come to so many denials: they are written every second."""
    request = pb.ListDenialsRequest(parent=ACME, **filters)
    async with asyncio.timeout(10):
        while True:
            found = list((await client.alerts.ListDenials(request)).denials)
            if sum(each.count for each in found) >= times:
                assert sum(each.count for each in found) == times, found
                return found
            await asyncio.sleep(0.05)


async def test_a_notice_is_listed_with_the_state_of_its_budget(client: Client) -> None:
    await client.found_acme(time_zone="Europe/Berlin")
    await client.budget("engineering", display_name="Engineering", limits=cost(8_000))
    await committed(client, await held(client))
    [alert] = await alerts(client, 1)
    [status] = await client.status("engineering")
    assert alert.name.startswith(f"{ACME}/alerts/")
    assert (alert.source, alert.each_value, alert.mode) == (BUDGET, "", types_pb2.MODE_HARD)
    assert alert.step == budget_pb2.LadderStep(at_percent=50, notify=budget_pb2.LadderStep.Notify())
    assert (alert.meter, alert.limit, alert.spent) == (types_pb2.METER_COST, 8_000, status.spent)
    assert (alert.window_start, alert.reset_time) == (status.window_start, status.reset_time)
    assert (alert.held, alert.repeat, alert.HasField("subject")) == (0, 0, False)
    assert alert.message.startswith("Budget “Engineering” has reached 50 % of its limit: $0.0045 spent")


async def test_a_step_that_stops_tells_at_the_first_request_that_it_denies(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    await authorized(client, "a")
    for number in range(3):
        await denied(client, f"b{number}")
    [alert] = await alerts(client, 1)
    assert alert.step.WhichOneof("action") == "block"
    assert (alert.spent, alert.held) == await stands(client, "engineering")
    assert (alert.subject.user, alert.subject.team) == ("ada", "engineering")
    assert "stops every request at 100 % of its limit" in alert.message


async def test_every_step_that_diverted_a_request_tells(client: Client) -> None:
    await client.found_acme()
    await model(client, "llama", input_pico=0, output_pico=0)
    ladder: list[dict[str, Any]] = [
        {"at_percent": 80, "downgrade": {"provider": "openai", "model": "gpt-4o-mini"}},
        {"at_percent": 100, "downgrade": {"provider": "house", "model": "llama"}},
        {"at_percent": 120, "block": {}},
    ]
    await client.budget("engineering", limits=cost(300), ladder=ladder)
    assert (await authorized(client, "a")).reservation.model == "llama"
    told = await alerts(client, 2)
    assert sorted(each.step.at_percent for each in told) == [80, 100]
    assert {each.step.WhichOneof("action") for each in told} == {"downgrade"}


async def test_asking_without_holding_tells_nobody(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1))
    assert reasons(await denied(client, validate_only=True)) == ["BUDGET_EXHAUSTED"]
    await denied(client, "b", model="unheard-of")
    [counted] = await denials(client, 1)
    assert counted.reason == types_pb2.REASON_MODEL_UNKNOWN
    await alerts(client, 0)


async def test_alerts_are_filtered_and_paged(client: Client) -> None:
    await client.found_acme()
    for name in ("engineering", "company"):
        await client.budget(name, limits=cost(4_000), mode=types_pb2.MODE_SOFT)
    await committed(client, await held(client))
    everything = await alerts(client, 6)
    assert {each.source for each in await alerts(client, 3, source=BUDGET)} == {BUDGET}
    moment = everything[0].create_time.ToMilliseconds()
    later, earlier = (Timestamp(seconds=moment // 1_000 + seconds) for seconds in (60, -60))
    await alerts(client, 0, start_time=later)
    await alerts(client, 0, end_time=earlier)
    await alerts(client, 6, start_time=earlier, end_time=later)
    seen, token = [], ""
    while True:
        request = pb.ListAlertsRequest(parent=ACME, page_size=4, page_token=token)
        page = await client.alerts.ListAlerts(request)
        seen += [each.name for each in page.alerts]
        token = page.next_page_token
        if not token:
            break
    assert seen == [each.name for each in everything]


async def test_denials_are_counted_by_who_what_and_why(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))
    await client.budget("company", limits=cost(1))
    by_key = types_pb2.Subject(api_key="key-ada")
    answers = [await denied(client, f"a{number}", subject=by_key) for number in range(3)]
    await denied(client, "b", model="unheard-of")
    found = await denials(client, 4)
    by_reason = {each.reason: each for each in found}
    exhausted = by_reason[types_pb2.REASON_BUDGET_EXHAUSTED]
    assert exhausted.subject == types_pb2.Subject(
        organization="acme", team="engineering", user="ada", api_key="key-ada"
    )
    assert (exhausted.provider, exhausted.model) == ("openai", "gpt-4o")
    assert exhausted.source == f"{ACME}/budgets/company"
    assert exhausted.message == answers[-1].violations[0].message
    assert exhausted.minute.seconds % 60 == 0
    unknown = by_reason[types_pb2.REASON_MODEL_UNKNOWN]
    assert (unknown.model, unknown.source) == ("unheard-of", "")
    for filters, times in (
        ({"user": "ada", "reason": types_pb2.REASON_MODEL_UNKNOWN}, 1),
        ({"source": f"{ACME}/budgets/company"}, 3),
        ({"api_key": "key-ada", "team": "engineering", "provider": "openai", "model": "gpt-4o"}, 3),
        ({"project": "none"}, 0),
        ({"end_time": exhausted.minute}, 0),
    ):
        await denials(client, times, **filters)


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        ({"parent": "acme"}, "NAME_MALFORMED", "parent"),
        ({"parent": ACME, "source": "organizations/other/budgets/team"}, "FIELD_INVALID", "source"),
        ({"parent": ACME, "source": "budgets/team"}, "NAME_MALFORMED", "source"),
        ({"parent": ACME, "page_size": -1}, "FIELD_INVALID", "page_size"),
        ({"parent": ACME, "page_token": "made-up"}, "PAGE_TOKEN_INVALID", "page_token"),
        (
            {"parent": ACME, "start_time": Timestamp(seconds=2), "end_time": Timestamp(seconds=1)},
            "FIELD_INVALID",
            "",
        ),
    ],
)
async def test_malformed_requests_are_refused(
    client: Client, given: dict[str, Any], reason: str, field: str
) -> None:
    await client.found_acme()
    for call in (
        client.alerts.ListAlerts(pb.ListAlertsRequest(**given)),
        client.alerts.ListDenials(pb.ListDenialsRequest(**given)),
    ):
        error = await refusal(call)
        assert answer(error) == ("INVALID_ARGUMENT", reason)
        assert list(fields(error)) == [field]


async def test_an_organization_that_does_not_exist_has_no_lists(client: Client) -> None:
    nobody = "organizations/nobody"
    for call in (
        client.alerts.ListAlerts(pb.ListAlertsRequest(parent=nobody)),
        client.alerts.ListDenials(pb.ListDenialsRequest(parent=nobody)),
    ):
        assert answer(await refusal(call)) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
