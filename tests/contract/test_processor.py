"""ExternalProcessor/Process: what a call becomes before it is sent, and what is charged for its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from quota.v1 import budget_pb2, report_pb2, types_pb2
from quota_service.domain.pricing import Usage
from quota_service.edge.convert.times import milliseconds
from quota_service.edge.envoy import process
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.support import answers
from tests.support.callers import calling, written
from tests.support.envoy import (
    GENERATE,
    QUESTION,
    Envoy,
    check_request,
    entries,
    headers_of,
    metadata,
    reservation,
    secret_of,
    status,
    with_key,
)
from tests.support.refusals import refusal
from tests.support.service import Client, running_service

PLENTY = types_pb2.Amounts(cost_micros=100_000_000)
SAID = Usage(input_tokens=12, output_tokens=34)
JSON, EVENTS = "application/json", "text/event-stream"


async def founded(client: Client, limits: types_pb2.Amounts = PLENTY, **budget: Any) -> dict[str, str]:
    await client.found_acme()
    await client.budget("engineering", limits=limits, **budget)
    return with_key(await secret_of(client))


async def allowed(client: Client, **call: Any) -> Any:
    answer = await Envoy(client).check(check_request(headers=await founded(client), **call))
    assert status(answer) == 200, answer
    return answer


class Phase:
    """A filter's stream of one HTTP request, which observes unless it is said to wait."""

    def __init__(self, envoy: Envoy, answer: Any, *, phase: str = "response", waits: bool = False) -> None:
        self._stream = envoy.process(phase)
        self._told: dict[str, Any] = {"metadata_context": metadata(answer), "observability_mode": not waits}
        self._waits = waits

    async def say(self, **message: Any) -> Any:
        await self._stream.write(pb.ProcessingRequest(**self._told, **message))
        return await self._stream.read() if self._waits else None

    async def request(self, path: str = "/v1/chat/completions") -> Any:
        return await self.say(request_headers=pb.HttpHeaders(headers=headers_of({":path": path})))

    async def headers(self, code: str = "200", kind: str = JSON, **more: str) -> Any:
        return await self.say(
            response_headers=pb.HttpHeaders(
                headers=headers_of(
                    {
                        ":status": code,
                        "content-type": kind,
                        **{k.replace("_", "-"): v for k, v in more.items()},
                    }
                )
            )
        )

    async def body(self, chunk: bytes, *, last: bool = False) -> Any:
        return await self.say(response_body=pb.HttpBody(body=chunk, end_of_stream=last))

    async def closes(self) -> None:
        """Envoy has nothing more to say."""
        await self._stream.done_writing()
        assert await self._stream.read() == grpc.aio.EOF

    async def ended(self) -> None:
        """The service has nothing more to ask."""
        assert await self._stream.read() == grpc.aio.EOF

    def cancel(self) -> None:
        self._stream.cancel()


async def settled(client: Client) -> report_pb2.LedgerEntry:
    """The entry that ends the only reservation."""
    for _ in range(250):
        if found := await entries(client, "COMMIT", "RELEASE", "EXPIRE"):
            [end], [state] = found, await client.status("engineering")
            assert state.held == 0
            return end
        await asyncio.sleep(0.02)
    pytest.fail("nothing was settled within five seconds")


def charged(entry: report_pb2.LedgerEntry) -> tuple[str, int, int, bool]:
    """Its type, input and output tokens, whether they are an estimate."""
    kind = report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_")
    return kind, entry.usage.input_tokens, entry.usage.output_tokens, entry.usage_estimated


async def answered(
    client: Client, answer: Any, chunks: Sequence[bytes], kind: str = JSON, **headers: str
) -> None:
    """A whole answer goes by."""
    phase = Phase(Envoy(client), answer)
    await phase.request()
    await phase.headers(kind=kind, **headers)
    for chunk in chunks:
        await phase.body(chunk)
    await phase.body(b"", last=True)
    await phase.ended()


async def test_an_answer_in_json_is_charged_by_what_the_provider_says(client: Client) -> None:
    await answered(client, await allowed(client), [answers.chat_json("Because.", SAID)])
    assert charged(await settled(client)) == ("COMMIT", 12, 34, False)


async def test_a_stream_is_charged_when_its_last_event_has_gone_by(client: Client) -> None:
    await answered(client, await allowed(client), answers.chat_events(["Be", "cause."], SAID), EVENTS)
    assert charged(await settled(client)) == ("COMMIT", 12, 34, False)


async def test_a_stream_without_usage_is_charged_by_what_was_seen_of_it(client: Client) -> None:
    answer = await allowed(client)
    estimate = (await reservation(client, answer)).held.tokens - 100
    await answered(client, answer, answers.chat_events(["one two three ", "four five"]), EVENTS)
    assert charged(await settled(client)) == ("COMMIT", estimate, 5, True)


@pytest.mark.parametrize("ends", ["closes", "cancels"])
async def test_what_a_caller_who_left_has_had_is_charged(client: Client, ends: str) -> None:
    answer = await allowed(client)
    phase = Phase(Envoy(client), answer)
    await phase.request()
    await phase.headers(kind=EVENTS)
    for chunk in answers.chat_events(["one two three ", "four five"])[:3]:
        await phase.body(chunk)
    if ends == "closes":
        await phase.closes()
    else:
        await asyncio.sleep(0.2)
        phase.cancel()
    kind, input_tokens, output_tokens, estimated = charged(await settled(client))
    assert (kind, estimated) == ("COMMIT", True)
    assert input_tokens > 10
    assert 3 <= output_tokens <= 5


async def test_a_caller_who_left_before_the_answer_pays_for_the_input(client: Client) -> None:
    phase = Phase(Envoy(client), await allowed(client))
    await phase.request()
    await phase.closes()
    kind, input_tokens, output_tokens, estimated = charged(await settled(client))
    assert (kind, output_tokens, estimated) == ("COMMIT", 0, True)
    assert input_tokens > 10


@pytest.mark.parametrize("code", ["500", "429", "400", "302"])
async def test_an_upstreams_error_returns_the_hold(client: Client, code: str) -> None:
    phase = Phase(Envoy(client), await allowed(client))
    await phase.headers(code)  # without request_headers, as of an answer that Envoy made itself
    await phase.ended()
    end = await settled(client)
    assert (charged(end)[0], end.reason) == ("RELEASE", f"the upstream answered {code}")


async def test_an_error_in_the_middle_of_nothing_returns_the_hold(client: Client) -> None:
    await answered(client, await allowed(client), [b'data: {"error": {"message": "overloaded"}}\n\n'], EVENTS)
    assert charged(await settled(client))[0] == "RELEASE"


@pytest.mark.parametrize(
    ("kind", "headers", "chunk"),
    [
        (JSON, {"content_encoding": "gzip"}, b"\x1f\x8b\x08\x00"),
        ("text/html", {}, b"<html>"),
        (JSON, {}, b"not json"),
    ],
)
async def test_what_cannot_be_read_is_charged_by_the_hold(
    client: Client, kind: str, headers: dict[str, str], chunk: bytes
) -> None:
    answer = await allowed(client)
    held = (await reservation(client, answer)).held
    await answered(client, answer, [chunk], kind, **headers)
    end = await settled(client)
    assert charged(end) == ("COMMIT", held.tokens - 100, 100, True)
    assert end.charged == held


async def test_numbers_that_no_model_reaches_are_not_believed(client: Client) -> None:
    document = json.loads(answers.chat_json("one two three", SAID))
    document["usage"]["completion_tokens"] = 10**12
    answer = await allowed(client)
    await answered(client, answer, [json.dumps(document).encode()])
    assert charged(await settled(client))[2:] == (3, True)


async def test_another_model_that_answered_is_charged_at_its_price(client: Client) -> None:
    document = json.loads(answers.chat_json("Because.", SAID))
    document["model"] = "gpt-4o-mini-2024-07-18"
    await answered(client, await allowed(client), [json.dumps(document).encode()])
    end = await settled(client)
    assert end.model == "gpt-4o-mini-2024-07-18"
    assert end.charged.cost_micros < 34 * 10


async def test_a_version_of_the_model_is_the_model(client: Client) -> None:
    document = json.loads(answers.chat_json("Because.", SAID))
    document["model"] = "gpt-4o-2024-08-06"
    await answered(client, await allowed(client), [json.dumps(document).encode()])
    assert (await settled(client)).model == "gpt-4o"


async def test_a_hold_lives_as_long_as_its_answer(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> None:
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text("ttl_ms: 5000")
    async with running_service(valkey_url, postgres_url, key_prefix, envoy=str(gateway)) as client:
        answer = await allowed(client)
        before = await reservation(client, answer)
        phase = Phase(Envoy(client), answer)
        await phase.request()
        await asyncio.sleep(2.7)
        after = await reservation(client, answer)
        assert 2_000 < milliseconds(after.expire_time) - milliseconds(before.expire_time) < 4_000
        await phase.headers()
        await phase.body(answers.chat_json("Because.", SAID), last=True)
        await settled(client)
        await asyncio.sleep(2.7)
        assert len(await entries(client, "EXTEND")) == 1


async def test_a_server_that_stops_charges_what_it_cannot_see_by_the_hold(
    valkey_url: str, postgres_url: str, key_prefix: str, client: Client
) -> None:
    answer = await allowed(client)
    held = (await reservation(client, answer)).held
    async with AsyncExitStack() as envoys:
        async with running_service(valkey_url, postgres_url, key_prefix) as stopping:
            channel = await envoys.enter_async_context(grpc.aio.insecure_channel(stopping.address))
            phase = Phase(Envoy(Client(channel, stopping.address)), answer)
            await phase.request()
            await phase.headers(kind=EVENTS)
            await phase.body(answers.chat_events(["one two"])[0])
            await asyncio.sleep(0.2)
        assert charged(await settled(client)) == ("COMMIT", held.tokens - 100, 100, True)


async def test_a_call_without_a_hold_is_left_alone(client: Client) -> None:
    stream = Envoy(client).process("response")
    await stream.write(pb.ProcessingRequest(response_headers=pb.HttpHeaders(), observability_mode=True))
    assert await stream.read() == grpc.aio.EOF


async def test_a_filter_that_waits_is_answered_every_time(client: Client) -> None:
    phase = Phase(Envoy(client), await allowed(client), waits=True)
    assert (await phase.request()).HasField("request_headers")
    assert (await phase.headers()).HasField("response_headers")
    assert (await phase.body(answers.chat_json("Because.", SAID))).HasField("response_body")
    assert (await phase.body(b"", last=True)).HasField("response_body")
    assert charged(await settled(client)) == ("COMMIT", 12, 34, False)


async def test_a_filter_must_say_what_it_is_for(client: Client) -> None:
    stream = Envoy(client).process("")
    refused = await refusal(stream.read())
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_gateway_of_another_organization_settles_nothing(
    valkey_url: str, postgres_url: str, key_prefix: str, client: Client, tmp_path: Path
) -> None:
    answer = await allowed(client)
    callers = written(tmp_path / "callers.yaml", {"edge": ("gateway", "globex")})
    async with (
        running_service(valkey_url, postgres_url, key_prefix, callers=str(callers)) as guarded,
        calling(guarded.address, "edge-token") as edge,
    ):
        for phase in ("request", "response"):
            stream = Envoy(edge, "edge-token").process(phase)
            await stream.write(
                pb.ProcessingRequest(
                    metadata_context=metadata(answer),
                    response_headers=pb.HttpHeaders(headers=headers_of({":status": "500"})),
                )
            )
            refused = await refusal(stream.read())
            assert refused.code() == grpc.StatusCode.NOT_FOUND
    assert await entries(client, "RELEASE") == []


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
