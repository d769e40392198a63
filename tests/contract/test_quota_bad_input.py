"""Bad input of QuotaService: a clear status with field and reason, and nothing has changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import quota_pb2 as pb
from quota.v1 import types_pb2
from tests.support.calls import (
    NOWHERE,
    authorized,
    committed,
    cost,
    estimate,
    held,
    model,
    record_request,
    released,
    seconds,
    stands,
    subject,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, Client, authorize_request, commit_request
from tests.support.stores import Stores

INVALID = ("INVALID_ARGUMENT", "FIELD_INVALID")
MALFORMED = ("INVALID_ARGUMENT", "NAME_MALFORMED")
EXACT, LARGEST = 2**53, 2**63 - 1
NUMBERS = (-1, EXACT, LARGEST, -(2**63))


class Case(NamedTuple):
    """A bad request, what it is answered, and which field is at fault."""

    name: str
    request: Message
    field: str = ""
    answer: tuple[str, str] = INVALID


def _authorize(name: str, field: str, answer: tuple[str, str] = INVALID, **parts: Any) -> Case:
    return Case(f"Authorize: {name}", authorize_request(parts.pop("key", "new"), **parts), field, answer)


def _usage(name: str, field: str, **parts: Any) -> list[Case]:
    usage = types_pb2.Usage(**parts)
    commit = pb.CommitRequest(name=NOWHERE, usage=usage)
    return [
        Case(f"Commit: {name}", commit, field),
        Case(f"Record: {name}", record_request("new", usage=usage), field),
    ]


def _named(name: str, answer: tuple[str, str], *, field: str = "name") -> list[Case]:
    shown = name[:40] or "no name"
    return [
        Case(f"Commit: {shown}", commit_request(name, 1, 1), field, answer),
        Case(f"Release: {shown}", pb.ReleaseRequest(name=name), field, answer),
        Case(f"Extend: {shown}", pb.ExtendRequest(name=name, ttl=seconds(60)), field, answer),
        Case(f"GetReservation: {shown}", pb.GetReservationRequest(name=name), field, answer),
    ]


LONG = "x" * 10_240
NOT_FOUND = ("NOT_FOUND", "RESERVATION_NOT_FOUND")

CASES = [
    Case("Authorize: nothing at all", pb.AuthorizeRequest(), "idempotency_key"),
    Case("Authorize: no subject", pb.AuthorizeRequest(idempotency_key="new"), "subject"),
    Case("Authorize: no estimate", pb.AuthorizeRequest(idempotency_key="new"), "estimate"),
    _authorize("empty key", "idempotency_key", key=""),
    _authorize("long key", "idempotency_key", key=LONG),
    _authorize("129 characters", "idempotency_key", key="x" * 129),
    _authorize("control characters", "idempotency_key", key="a\nb"),
    _authorize("NUL", "idempotency_key", key="a\0b"),
    _authorize("empty provider", "provider", provider=""),
    _authorize("provider with space", "provider", provider="open ai"),
    _authorize("empty model", "model", model=""),
    _authorize("long model", "model", model=LONG),
    *(
        _authorize(f"{part}", f"subject.{part}", subject=subject(**{part: "no spaces"}))
        for part in ("organization", "team", "user", "api_key", "project")
    ),
    _authorize("braces", "subject.user", subject=subject(user="{ada}")),
    _authorize("long user", "subject.user", subject=subject(user=LONG)),
    _authorize("1,000 tags", "subject.tags", subject=subject(tags={f"t{n}": "v" for n in range(1_000)})),
    _authorize("tag key", 'subject.tags["a b"]', subject=subject(tags={"a b": "v"})),
    _authorize("empty tag", 'subject.tags["a"]', subject=subject(tags={"a": ""})),
    _authorize("long tag", 'subject.tags["a"]', subject=subject(tags={"a": LONG})),
    _authorize("tag with NUL", 'subject.tags["a"]', subject=subject(tags={"a": "\0"})),
    *(_authorize(f"input {n}", "estimate.input_tokens", estimate=estimate(n, 1)) for n in NUMBERS),
    *(_authorize(f"output {n}", "estimate.max_output_tokens", estimate=estimate(1, n)) for n in NUMBERS),
    *(
        _authorize(f"cost {n}", "estimate.cost_micros", estimate=estimate(1, 1, cost_micros=n))
        for n in NUMBERS
    ),
    *(_authorize(f"min {n}", "min_output_tokens", min_output_tokens=n) for n in NUMBERS),
    _authorize("min above max", "min_output_tokens", min_output_tokens=501),
    _authorize("ttl 0", "ttl", ttl=seconds(0)),
    _authorize("ttl below a second", "ttl", ttl=seconds(0.999)),
    _authorize("ttl of a week", "ttl", ttl=seconds(604_800)),
    _authorize("negative ttl", "ttl", ttl=Duration(seconds=-60)),
    _authorize("largest ttl", "ttl", ttl=Duration(seconds=LARGEST)),
    _authorize(
        "own price",
        "estimate.cost_micros",
        ("INVALID_ARGUMENT", "PRICE_NOT_ALLOWED"),
        estimate=estimate(1, 1, cost_micros=1),
    ),
    _authorize(
        "9,000 USD",
        "estimate",
        ("INVALID_ARGUMENT", "AMOUNT_TOO_LARGE"),
        model="gpt-4",
        estimate=estimate(1_000_000_000, 0),
    ),
    _authorize(
        "nobody",
        "subject.organization",
        ("INVALID_ARGUMENT", "ORGANIZATION_REQUIRED"),
        subject=types_pb2.Subject(user="ada"),
    ),
    _authorize(
        "nowhere",
        "",
        ("NOT_FOUND", "ORGANIZATION_NOT_FOUND"),
        subject=types_pb2.Subject(organization="nowhere"),
    ),
    *_named("", MALFORMED),
    *_named("acme", MALFORMED),
    *_named(f"{ACME}/reservations/1", MALFORMED),
    *_named(f"{ACME}/budgets/{NOWHERE[-36:]}", MALFORMED),
    *_named(NOWHERE.upper(), MALFORMED),
    *_named(NOWHERE + "\n", MALFORMED),
    *_named(f"{ACME}/reservations/{LONG}", INVALID),
    *_named(NOWHERE, NOT_FOUND, field=""),
    *_named(NOWHERE.replace("acme", "nowhere"), NOT_FOUND, field=""),
    Case("Commit: no usage", pb.CommitRequest(name=NOWHERE), "usage"),
    Case("Record: no usage", pb.RecordRequest(idempotency_key="new", subject=subject()), "usage"),
    *(
        case
        for n in NUMBERS
        for part in (
            "input_tokens",
            "output_tokens",
            "cached_input_tokens",
            "cache_write_tokens",
            "cost_micros",
        )
        for case in _usage(f"{part} {n}", f"usage.{part}", **{part: n})
    ),
    *_usage("more cached than input", "usage", input_tokens=10, cached_input_tokens=11),
    *_usage(
        "more cached and written than input",
        "usage",
        input_tokens=10,
        cached_input_tokens=6,
        cache_write_tokens=5,
    ),
    Case("Commit: subject", commit_request(NOWHERE, 1, 1, subject=subject(user="a b")), "subject.user"),
    Case("Commit: model", commit_request(NOWHERE, 1, 1, model="a b"), "model"),
    Case("Release: reason", pb.ReleaseRequest(name=NOWHERE, reason=LONG), "reason"),
    Case("Release: control characters", pb.ReleaseRequest(name=NOWHERE, reason="a\x1bb"), "reason"),
    Case("Extend: nothing", pb.ExtendRequest(name=NOWHERE)),
    Case("Extend: tokens without request_id", pb.ExtendRequest(name=NOWHERE, additional_output_tokens=1)),
    *(
        Case(
            f"Extend: tokens {n}",
            pb.ExtendRequest(name=NOWHERE, additional_output_tokens=n, request_id="r"),
            "additional_output_tokens",
        )
        for n in NUMBERS
    ),
    Case("Extend: ttl 0", pb.ExtendRequest(name=NOWHERE, ttl=seconds(0)), "ttl"),
    Case("Extend: ttl of a week", pb.ExtendRequest(name=NOWHERE, ttl=seconds(604_800)), "ttl"),
    Case(
        "Extend: long request_id",
        pb.ExtendRequest(name=NOWHERE, ttl=seconds(9), request_id=LONG),
        "request_id",
    ),
    Case("Record: empty key", record_request(""), "idempotency_key"),
    Case("Record: long key", record_request(LONG), "idempotency_key"),
    Case("Record: control characters", record_request("a\tb"), "idempotency_key"),
    *(
        Case(f"Record: occur_time {n}", record_request("new", occur_time=Timestamp(seconds=n)), "occur_time")
        for n in (-1, -62_135_596_801, -(2**63))
    ),
    Case(
        "Record: occur_time to come",
        record_request("new", occur_time=Timestamp(seconds=LARGEST)),
        "occur_time",
        ("INVALID_ARGUMENT", "TIME_IN_FUTURE"),
    ),
    Case(
        "Record: own price",
        record_request("new", usage=types_pb2.Usage(cost_micros=1)),
        "usage.cost_micros",
        ("INVALID_ARGUMENT", "PRICE_NOT_ALLOWED"),
    ),
    Case(
        "Record: 9,000 USD",
        record_request("new", model="gpt-4", usage=types_pb2.Usage(input_tokens=1_000_000_000)),
        "usage",
        ("INVALID_ARGUMENT", "AMOUNT_TOO_LARGE"),
    ),
    Case(
        "Record: nobody",
        record_request("new", subject=types_pb2.Subject(user="ada")),
        "subject.organization",
        ("INVALID_ARGUMENT", "ORGANIZATION_REQUIRED"),
    ),
    Case("ListReservations: parent", pb.ListReservationsRequest(parent="acme"), "parent", MALFORMED),
    Case(
        "ListReservations: page_size", pb.ListReservationsRequest(parent=ACME, page_size=1_001), "page_size"
    ),
    Case("ListReservations: negative", pb.ListReservationsRequest(parent=ACME, page_size=-1), "page_size"),
    Case("ListReservations: token", pb.ListReservationsRequest(parent=ACME, page_token=LONG), "page_token"),
]


@pytest.mark.parametrize(
    "method", ["Authorize", "Commit", "Release", "Extend", "Record", "GetReservation", "ListReservations"]
)
async def test_bad_input_is_refused_with_reason_and_field_and_changes_nothing(
    client: Client, stores: Stores, method: str
) -> None:
    await client.found_acme(
        unbudgeted="UNBUDGETED_POLICY_ALLOW", unknown_subject="UNKNOWN_SUBJECT_POLICY_CREATE"
    )
    await client.budget("engineering", limits=cost(20_000))
    await held(client, "before")
    before = await stores.snapshot()
    for case in CASES:
        if not case.name.startswith(f"{method}:"):
            continue
        error = await refusal(getattr(client.quota, method)(case.request))
        assert answer(error) == case.answer, case.name
        if case.field:
            assert case.field in fields(error), case.name
            assert fields(error)[case.field], case.name
        assert await stores.snapshot() == before, case.name


async def test_a_commit_twice_with_other_content_and_a_repeat_of_an_ended_authorize_change_nothing(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    name = await held(client, "committed")
    await committed(client, name)
    await released(client, await held(client, "released"))
    await held(client, "held")
    before = await stores.snapshot()
    assert answer(await refusal(committed(client, name, 1, 1)))[1] == "IDEMPOTENCY_CONFLICT"
    for key in ("committed", "released"):
        assert answer(await refusal(client.quota.Authorize(authorize_request(key))))[1] == "RESERVATION_ENDED"
    other = authorize_request("held", estimate=estimate(1, 1))
    assert answer(await refusal(client.quota.Authorize(other)))[1] == "IDEMPOTENCY_CONFLICT"
    assert await stores.snapshot() == before


async def test_the_largest_numbers_that_are_allowed_stay_exact(client: Client) -> None:
    await client.found_acme()
    await model(client, "nine", 9_000_000, 0)
    await client.budget("engineering", limits=cost(900_000_000_000_000))
    asked: dict[str, Any] = {"provider": "house", "model": "nine", "estimate": estimate(1_000_000_000, 0)}
    for number in range(3):
        done = await authorized(client, f"k{number}", **asked)
        assert done.reservation.held.cost_micros == 9_000_000_000
    await committed(client, await held(client, "k0", **asked), 999_999_999, 0)
    assert await stands(client, "engineering") == (8_999_999_991, 18_000_000_000)
    record = record_request("r", provider="house", model="nine", usage=types_pb2.Usage(input_tokens=1))
    await client.quota.Record(record)
    assert await stands(client, "engineering") == (9_000_000_000, 18_000_000_000)
