"""ExternalProcessor/Process, the response phase: what is charged for an answer, however it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from quota_service.domain.pricing import Usage
from quota_service.edge.convert.times import milliseconds
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.support import answers
from tests.support.callers import calling, written
from tests.support.envoy import Envoy, entries, headers_of, metadata, reservation
from tests.support.phases import EVENTS, JSON, Phase, allowed, charged, settled
from tests.support.refusals import refusal
from tests.support.service import Client, running_service

SAID = Usage(input_tokens=12, output_tokens=34)


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


@pytest.mark.parametrize(
    ("kind", "chunk"),
    [(JSON, b'{"choices": []}'), (EVENTS, b": nothing\n\n")],
)
async def test_an_answer_that_tells_nothing_of_what_it_used_is_charged_by_the_hold(
    client: Client, kind: str, chunk: bytes
) -> None:
    answer = await allowed(client)
    held = (await reservation(client, answer)).held
    await answered(client, answer, [chunk], kind)
    assert charged(await settled(client)) == ("COMMIT", held.tokens - 100, 100, True)
