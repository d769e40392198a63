"""ExternalProcessor/Process, the request phase: what a call becomes before it is sent."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from quota.v1 import budget_pb2, types_pb2
from quota_service.edge.envoy import process
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.support.envoy import GENERATE, QUESTION, Envoy, check_request, entries, reservation
from tests.support.phases import Phase, allowed, charged, founded, settled
from tests.support.refusals import refusal
from tests.support.service import Client


async def test_what_stays_as_it_was_asked_for_is_left_as_it_is(client: Client) -> None:
    granted = await allowed(client, extensions={"rewrite": "true"})
    assert "rewrite" not in granted.dynamic_metadata.fields
    phase = Phase(Envoy(client), granted, phase="request", waits=True)
    assert (await phase.request()) == pb.ProcessingResponse(request_headers=pb.HeadersResponse())
    await phase.ended()
    assert await entries(client, "RELEASE") == []


LADDER = [
    budget_pb2.LadderStep(
        at_percent=1, downgrade=budget_pb2.LadderStep.Downgrade(provider="openai", model="gpt-4o-mini")
    ),
    budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block()),
]


async def downgraded(client: Client) -> Any:
    headers = await founded(client, types_pb2.Amounts(cost_micros=10_000), ladder=LADDER)
    answer = await Envoy(client).check(check_request(headers=headers, extensions={"rewrite": "true"}))
    assert (await reservation(client, answer)).downgraded
    return answer


async def test_the_granted_model_is_written_into_the_body(client: Client) -> None:
    granted = await downgraded(client)
    assert granted.dynamic_metadata.fields["rewrite"].bool_value
    phase = Phase(Envoy(client), granted, phase="request", waits=True)
    assert (await phase.request()).HasField("request_headers")
    sent = json.dumps(QUESTION).encode()
    answer = await phase.say(request_body=pb.HttpBody(body=sent, end_of_stream=True))
    response = answer.request_body.response
    assert json.loads(response.body_mutation.body) == {**QUESTION, "model": "gpt-4o-mini"}
    [length] = response.header_mutation.set_headers
    assert (length.header.key, length.header.raw_value) == (
        "content-length",
        str(len(response.body_mutation.body)).encode(),
    )
    await phase.ended()
    assert await entries(client, "RELEASE") == []


async def test_the_granted_tokens_are_written_into_the_body(client: Client) -> None:
    headers = await founded(client, types_pb2.Amounts(tokens=400))
    body = {**QUESTION, "max_tokens": 1_000}
    answer = await Envoy(client).check(check_request(body, headers=headers, extensions={"rewrite": "true"}))
    granted = (await reservation(client, answer)).granted_output_tokens
    phase = Phase(Envoy(client), answer, phase="request", waits=True)
    await phase.request()
    sent = pb.HttpBody(body=json.dumps(body).encode(), end_of_stream=True)
    written_body = (await phase.say(request_body=sent)).request_body.response.body_mutation.body
    assert json.loads(written_body) == {**QUESTION, "max_tokens": granted}


async def test_geminis_granted_model_is_written_into_the_path(client: Client) -> None:
    target = budget_pb2.LadderStep.Downgrade(provider="google", model="gemini-2.5-flash-lite")
    ladder = [budget_pb2.LadderStep(at_percent=1, downgrade=target), LADDER[1]]
    headers = await founded(client, types_pb2.Amounts(cost_micros=10_000), ladder=ladder)
    body = {"contents": [{"parts": [{"text": "Why?"}]}], "generationConfig": {"maxOutputTokens": 100}}
    answer = await Envoy(client).check(
        check_request(body, path=GENERATE, headers=headers, extensions={"rewrite": "true"})
    )
    phase = Phase(Envoy(client), answer, phase="request", waits=True)
    [path] = (await phase.request(GENERATE)).request_headers.response.header_mutation.set_headers
    assert (path.header.key, path.header.raw_value) == (
        ":path",
        b"/v1beta/models/gemini-2.5-flash-lite:generateContent",
    )


async def test_a_caller_who_left_before_the_call_was_sent_holds_nothing(client: Client) -> None:
    phase = Phase(Envoy(client), await downgraded(client), phase="request", waits=True)
    await phase.request()
    phase.cancel()
    assert charged(await settled(client))[0] == "RELEASE"


async def test_a_body_that_is_not_the_one_that_was_priced_is_stopped(client: Client) -> None:
    phase = Phase(Envoy(client), await downgraded(client), phase="request", waits=True)
    await phase.request()
    answer = await phase.say(request_body=pb.HttpBody(body=b"[]", end_of_stream=True))
    assert answer.immediate_response.status.code == 500


async def test_a_body_that_does_not_come_stops_the_call(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BODY_S", 0.2)
    phase = Phase(Envoy(client), await downgraded(client), phase="request", waits=True)
    await phase.request()
    refused = await refusal(phase.ended())
    assert refused.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert charged(await settled(client))[0] == "RELEASE"


async def test_a_ticket_that_cannot_be_read_stops_the_call(client: Client) -> None:
    granted = await downgraded(client)
    ticket = json.loads(granted.dynamic_metadata.fields["ticket"].string_value)
    granted.dynamic_metadata.update({"ticket": json.dumps({**ticket, "kind": "of a newer replica"})})
    refused = await refusal(Phase(Envoy(client), granted, phase="request", waits=True).request())
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
