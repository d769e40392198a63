"""Authorization/Check: what is let pass, what is denied, and how that is told in each dialect."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from quota.v1 import budget_pb2, catalog_pb2, model_policy_pb2, quota_pb2, types_pb2
from quota_service.edge.dialects import tokens
from tests.support.envoy import (
    CHAT,
    GENERATE,
    MESSAGES,
    QUESTION,
    RESPONSES,
    Envoy,
    check_request,
    entries,
    error,
    reservation,
    reservation_of,
    status,
    told,
)
from tests.support.phases import founded
from tests.support.service import ACME, Client, running_service

REWRITES = {"rewrite": "true"}
CALLS: dict[str, dict[str, Any]] = {
    "openai": {"path": CHAT, "body": QUESTION},
    "anthropic": {"path": MESSAGES, "body": {**QUESTION, "model": "claude-sonnet-4-5"}},
    "gemini": {"path": GENERATE, "body": {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}},
}


async def test_what_is_let_pass_is_held_for_the_model_and_the_tokens_that_it_asks_for(client: Client) -> None:
    headers = await founded(client)
    answer = await Envoy(client).check(check_request(headers=headers))
    assert answer.status.code == 0
    held = await reservation(client, answer)
    assert (held.provider, held.model, held.granted_output_tokens) == ("openai", "gpt-4o", 100)
    assert 110 <= held.held.tokens <= 140
    assert "accept-encoding" in answer.ok_response.headers_to_remove
    assert not answer.ok_response.headers
    assert answer.dynamic_metadata.fields["model"].string_value == "gpt-4o"


@pytest.mark.parametrize(
    ("call", "provider", "model"),
    [
        (CALLS["openai"], "openai", "gpt-4o"),
        ({"path": RESPONSES, "body": {"model": "gpt-4o", "input": "Why?"}}, "openai", "gpt-4o"),
        (
            {"path": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "Why?"}},
            "openai",
            "text-embedding-3-small",
        ),
        (CALLS["anthropic"], "anthropic", "claude-sonnet-4-5"),
        (CALLS["gemini"], "google", "gemini-2.5-flash"),
        (
            {**CALLS["openai"], "extensions": {"provider": "azure", "model": "gpt-4o-mini"}},
            "azure",
            "gpt-4o-mini",
        ),
        ({**CALLS["openai"], "path": "/llm", "extensions": {"kind": "chat"}}, "openai", "gpt-4o"),
    ],
)
async def test_provider_and_model_come_from_the_path_the_body_or_the_route(
    client: Client, call: dict[str, Any], provider: str, model: str
) -> None:
    headers = await founded(client)
    held = await reservation(client, await Envoy(client).check(check_request(headers=headers, **call)))
    assert (held.provider, held.model) == (provider, model)


async def test_a_call_that_says_no_limit_holds_the_models_default(client: Client) -> None:
    headers = await founded(client)
    price = catalog_pb2.ModelPrice(output_pico_usd_per_token=1_000)
    model = catalog_pb2.Model(
        provider="openai", model="own", default_output_tokens=77, max_output_tokens=500, prices=[price]
    )
    await client.catalog.UpsertModel(catalog_pb2.UpsertModelRequest(organization="acme", model=model))
    body = {"model": "own", "messages": []}
    held = await reservation(client, await Envoy(client).check(check_request(body, headers=headers)))
    assert held.granted_output_tokens == 77
    three = await Envoy(client).check(check_request({**body, "n": 3, "max_tokens": 100}, headers=headers))
    assert (await reservation(client, three)).granted_output_tokens == 300


async def test_a_body_that_was_cut_off_holds_the_models_maximum_or_is_too_large(client: Client) -> None:
    headers = {**await founded(client), "x-envoy-auth-partial-body": "true"}
    envoy = Envoy(client)
    cut = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 500}]}).encode()[:300]
    held = await reservation(client, await envoy.check(check_request(cut, headers=headers)))
    assert held.granted_output_tokens == 131_072  # the catalogue does not know it
    without = json.dumps({"messages": [{"role": "user", "content": "x" * 500}], "model": "gpt-4o"}).encode()[
        :300
    ]
    answer = await envoy.check(check_request(without, headers=headers))
    assert status(answer) == 413


@pytest.mark.parametrize("dialect", CALLS)
async def test_a_denial_is_an_answer_in_the_callers_dialect(client: Client, dialect: str) -> None:
    headers = await founded(client, types_pb2.Amounts(tokens=5))
    answer = await Envoy(client).check(check_request(headers=headers, **CALLS[dialect]))
    assert (answer.status.code, status(answer)) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], 429)
    found = error(answer)
    assert "Budget “engineering” has no room" in found["message"]
    assert told(answer)["content-type"] == "application/json"
    assert told(answer)["x-should-retry"] == "false"  # it will not fit in any month
    assert "retry-after" not in told(answer)
    assert told(answer)["ratelimit-policy"] == '"engineering";q=5;qu="tokens"'
    assert told(answer)["ratelimit"].startswith('"engineering";r=5;t=')
    own = "anthropic-ratelimit-tokens-remaining" if dialect == "anthropic" else "x-ratelimit-remaining-tokens"
    assert told(answer)[own] == "5"
    assert not reservation_of(answer)


async def test_a_wait_of_moments_is_told_and_may_be_sat_out(client: Client) -> None:
    headers = await founded(client, types_pb2.Amounts(requests=1))
    envoy = Envoy(client)
    assert status(await envoy.check(check_request(headers=headers))) == 200
    answer = await envoy.check(check_request(headers=headers))
    assert (status(answer), error(answer)["code"]) == (429, "budget_held")
    assert 1 <= int(told(answer)["retry-after"]) <= 5
    assert "x-should-retry" not in told(answer)


async def test_a_wait_until_the_reset_is_told_and_not_to_be_sat_out(client: Client) -> None:
    headers = await founded(client, types_pb2.Amounts(requests=1))
    envoy = Envoy(client)
    name = reservation_of(await envoy.check(check_request(headers=headers)))
    usage = types_pb2.Usage(input_tokens=1)
    await client.quota.Commit(quota_pb2.CommitRequest(name=name, usage=usage))
    answer = await envoy.check(check_request(headers=headers))
    assert (status(answer), error(answer)["code"]) == (429, "budget_exhausted")
    [state] = await client.status("engineering")
    left_s = state.reset_time.seconds - time.time()
    assert abs(int(told(answer)["retry-after"]) - left_s) < 60
    assert ("x-should-retry" in told(answer)) == (left_s > 30)
    assert told(answer)["x-ratelimit-remaining-requests"] == "0"


async def test_a_model_that_a_policy_does_not_allow_is_forbidden(client: Client) -> None:
    headers = await founded(client)
    policy = model_policy_pb2.ModelPolicy(team="engineering", allowed_models=["openai/gpt-4o-mini"])
    await client.budgets.CreateModelPolicy(
        model_policy_pb2.CreateModelPolicyRequest(parent=ACME, model_policy_id="cheap", model_policy=policy)
    )
    answer = await Envoy(client).check(check_request(headers=headers))
    assert (status(answer), error(answer)["code"]) == (403, "model_not_allowed")


async def test_an_unknown_model_is_forbidden(client: Client) -> None:
    headers = await founded(client)
    answer = await Envoy(client).check(check_request({**QUESTION, "model": "gpt-99"}, headers=headers))
    assert (status(answer), error(answer)["code"]) == (403, "model_unknown")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not json", ""),
        (b"", ""),
        (b"[1, 2]", ""),
        (b'{"messages": []}', "model"),
        ({**QUESTION, "model": 7}, "model"),
        ({**QUESTION, "model": "gpt 4o"}, "model"),
        ({**QUESTION, "max_tokens": -1}, "max_tokens"),
        ({**QUESTION, "max_tokens": 0}, "max_tokens"),
        ({**QUESTION, "max_tokens": 1e99}, "max_tokens"),
        ({**QUESTION, "max_tokens": "many"}, "max_tokens"),
        ({**QUESTION, "max_tokens": True}, "max_tokens"),
        ({**QUESTION, "n": 0}, "n"),
    ],
)
async def test_a_call_that_cannot_be_priced_is_a_bad_request(client: Client, body: Any, param: str) -> None:
    headers = await founded(client)
    answer = await Envoy(client).check(check_request(body, headers=headers))
    assert status(answer) == 400, answer
    assert error(answer)["type"] == "invalid_request_error"
    assert (error(answer)["param"] or "") == param
    assert await entries(client) == []


async def test_a_compressed_body_is_refused(client: Client) -> None:
    headers = {**await founded(client), "content-encoding": "gzip"}
    assert status(await Envoy(client).check(check_request(b"\x1f\x8b", headers=headers))) == 415


async def test_a_secret_where_a_name_should_be_is_refused_and_kept_nowhere(client: Client) -> None:
    headers = await founded(client)
    secret = "sk-" + "a1" * 20
    answer = await Envoy(client).check(check_request({**QUESTION, "model": secret}, headers=headers))
    assert status(answer) == 400
    assert secret not in answer.denied_response.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/healthz"),
        ("GET", "/v1/realtime?model=gpt-4o"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/files"),
    ],
)
async def test_everything_else_passes_without_a_hold_and_without_the_key(
    client: Client, method: str, path: str
) -> None:
    headers = await founded(client)
    answer = await Envoy(client).check(check_request(b"", method=method, path=path, headers=headers))
    assert status(answer) == 200
    assert list(answer.ok_response.headers_to_remove) == ["authorization"]
    assert not answer.dynamic_metadata.fields
    assert status(await Envoy(client).check(check_request(b"", method=method, path=path))) == 200


async def test_without_the_request_phase_another_model_or_a_part_is_a_denial(client: Client) -> None:
    ladder = [
        budget_pb2.LadderStep(
            at_percent=1, downgrade=budget_pb2.LadderStep.Downgrade(provider="openai", model="gpt-4o-mini")
        ),
        budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block()),
    ]
    headers = await founded(client, types_pb2.Amounts(cost_micros=10_000), ladder=ladder)
    envoy = Envoy(client)
    denied = await envoy.check(check_request(headers=headers))
    assert (status(denied), error(denied)["code"]) == (429, "budget_exhausted")
    diverted = await envoy.check(check_request(headers=headers, extensions=REWRITES))
    held = await reservation(client, diverted)
    assert (held.model, held.downgraded, held.granted_output_tokens) == ("gpt-4o-mini", True, 100)


async def test_a_downgrade_to_another_provider_is_no_way_out(client: Client) -> None:
    other = budget_pb2.LadderStep.Downgrade(provider="anthropic", model="claude-haiku-4-5")
    ladder = [
        budget_pb2.LadderStep(at_percent=1, downgrade=other),
        budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block()),
    ]
    headers = await founded(client, types_pb2.Amounts(cost_micros=10_000), ladder=ladder)
    assert status(await Envoy(client).check(check_request(headers=headers, extensions=REWRITES))) == 429


async def test_a_part_is_granted_down_to_what_is_of_use(client: Client) -> None:
    headers = await founded(client, types_pb2.Amounts(tokens=400))
    envoy = Envoy(client)
    body = {**QUESTION, "max_tokens": 1_000}
    assert status(await envoy.check(check_request(body, headers=headers))) == 429
    granted = await envoy.check(check_request(body, headers=headers, extensions=REWRITES))
    assert 300 <= (await reservation(client, granted)).granted_output_tokens < 400
    await client.quota.Release(quota_pb2.ReleaseRequest(name=reservation_of(granted)))
    more = {**REWRITES, "min_output_tokens": "395"}
    assert status(await envoy.check(check_request(body, headers=headers, extensions=more))) == 429


async def test_a_server_for_envoy_begins_when_it_can_count(
    valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []

    def slowly() -> None:
        time.sleep(0.3)
        loaded.append(True)

    monkeypatch.setattr(tokens, "load", slowly)
    (tmp_path / "gateway.yaml").write_text("{}")
    async with running_service(valkey_url, postgres_url, key_prefix, envoy=str(tmp_path / "gateway.yaml")):
        assert loaded


@pytest.mark.parametrize("said", [{"kind": "chats"}, {"min_output_tokens": "many", **REWRITES}])
async def test_a_route_that_says_what_nobody_understands_lets_nothing_pass(
    client: Client, said: dict[str, str]
) -> None:
    headers = await founded(client)
    answer = await Envoy(client).check(check_request(headers=headers, extensions=said))
    assert (status(answer), error(answer)["code"]) == (503, "gateway_fault")


async def test_a_route_that_says_what_it_is_is_metered_by_every_method(client: Client) -> None:
    headers = await founded(client)
    request = check_request(headers=headers, method="PUT", path="/llm", extensions={"kind": "chat"})
    assert reservation_of(await Envoy(client).check(request))


@pytest.mark.parametrize(
    "call",
    [
        {**CALLS["gemini"], "path": f"{GENERATE}?alt=sse&fields=candidates.index"},
        {**CALLS["gemini"], "path": f"{GENERATE}?%24fields=responseId"},
        {**CALLS["gemini"], "headers": {"x-goog-fieldmask": "responseId"}},
        {"path": RESPONSES, "body": {"model": "gpt-4o", "input": "Why?", "background": True}},
    ],
)
async def test_a_call_whose_usage_nobody_would_see_is_refused(client: Client, call: dict[str, Any]) -> None:
    headers = {**await founded(client), **call.get("headers", {})}
    answer = await Envoy(client).check(check_request(**{**call, "headers": headers}))
    assert status(answer) == 400
