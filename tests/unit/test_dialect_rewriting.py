"""Another model or a lower limit goes into a body, and nothing else of it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.edge.dialects.calls import CallMalformed, Kind
from quota_service.edge.dialects.requests import read_call
from quota_service.edge.dialects.rewriting import rewritten
from tests.support.bodies import RecordedBody, all_recorded

BODIES = all_recorded()
NUMBERS = (
    b'{"model": "a", "seed": 123456789012345678901234567890, "top_p": 0.10000000000000000001, "x": 1E+2}'
)


def limited(kind: Kind, fields: dict[str, Any], tokens: int, provider: str = "openai") -> dict[str, Any]:
    body = rewritten(kind, json.dumps(fields).encode(), max_output_tokens=tokens, provider=provider)
    result: dict[str, Any] = json.loads(body)
    return result


def test_numbers_stay_digit_by_digit() -> None:
    written = rewritten(Kind.CHAT, NUMBERS, model="b")
    assert written == NUMBERS.replace(b'"a"', b'"b"').replace(b'": ', b'":').replace(b", ", b",")


def test_the_order_of_names_and_the_bytes_of_values_stay() -> None:
    body = b'{"z": [ 1, {"y" : "\\u00e9\xc3\xa9" } ], "model": "a", "b": null}'
    assert rewritten(Kind.CHAT, body, model="c") == (
        b'{"z":[ 1, {"y" : "\\u00e9\xc3\xa9" } ],"model":"c","b":null}'
    )


def test_a_chat_without_a_limit_gets_the_one_that_its_provider_knows() -> None:
    assert limited(Kind.CHAT, {"model": "a"}, 50)["max_completion_tokens"] == 50
    assert limited(Kind.CHAT, {"model": "a", "max_tokens": None}, 50)["max_completion_tokens"] == 50
    assert limited(Kind.CHAT, {"model": "a"}, 50, "groq") == {"model": "a", "max_tokens": 50}


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (Kind.CHAT, {"max_tokens": 90}, {"max_tokens": 50}),
        (Kind.CHAT, {"max_completion_tokens": 90, "n": 2}, {"max_completion_tokens": 25, "n": 2}),
        (
            Kind.CHAT,
            {"max_tokens": 9, "max_completion_tokens": 90},
            {"max_tokens": 50, "max_completion_tokens": 50},
        ),
        (Kind.RESPONSES, {}, {"max_output_tokens": 50}),
        (
            Kind.COMPLETIONS,
            {"prompt": ["a", "b"], "best_of": 5},
            {"prompt": ["a", "b"], "best_of": 5, "max_tokens": 5},
        ),
        (Kind.MESSAGES, {"max_tokens": 90}, {"max_tokens": 50}),
        (Kind.GENERATE, {"contents": []}, {"contents": [], "generationConfig": {"maxOutputTokens": 50}}),
        (
            Kind.GENERATE,
            {"generation_config": {"max_output_tokens": 90, "topK": 1, "candidateCount": 4}},
            {"generation_config": {"max_output_tokens": 12, "topK": 1, "candidateCount": 4}},
        ),
        (Kind.EMBEDDINGS, {"input": "a"}, {"input": "a"}),
    ],
)
def test_a_limit_goes_where_the_dialect_has_it(
    kind: Kind, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert limited(kind, fields, 50) == expected


def test_every_choice_gets_at_least_one_token() -> None:
    assert limited(Kind.CHAT, {"n": 8, "max_tokens": 90}, 3)["max_tokens"] == 1


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [
        (9_000, {"type": "enabled", "budget_tokens": 8_000, "display": "omitted"}),
        (8_000, {"type": "enabled", "budget_tokens": 4_000, "display": "omitted"}),
        (1_025, {"type": "enabled", "budget_tokens": 1_024, "display": "omitted"}),
        (1_024, {"type": "disabled"}),
        (1, {"type": "disabled"}),
    ],
)
def test_a_thinking_budget_stays_below_the_limit_or_goes(limit: int, thinking: dict[str, Any]) -> None:
    asked = {
        "max_tokens": 20_000,
        "thinking": {"type": "enabled", "budget_tokens": 8_000, "display": "omitted"},
    }
    assert limited(Kind.MESSAGES, asked, limit) == {"max_tokens": limit, "thinking": thinking}


def test_thinking_without_a_budget_stays() -> None:
    for thinking in ({"type": "adaptive"}, {"type": "disabled"}, None, "odd"):
        assert limited(Kind.MESSAGES, {"max_tokens": 9, "thinking": thinking}, 5)["thinking"] == thinking


def test_an_embedding_of_gemini_s_names_the_model_of_its_path() -> None:
    body = b'{"requests": [{"model": "models/a", "content": {"parts": []}}, {"model": "models/a"}]}'
    written = json.loads(rewritten(Kind.EMBED, body, model="b"))
    assert [request["model"] for request in written["requests"]] == ["models/b", "models/b"]
    assert rewritten(Kind.EMBED, b'{"model":"models/a"}', model="b") == b'{"model":"models/b"}'
    assert rewritten(Kind.EMBED, b'{"content":{}}', model="b") == b'{"content":{}}'


def test_half_a_character_does_not_keep_a_body_from_being_written() -> None:
    assert (
        rewritten(Kind.CHAT, b'{"model":"a","user":"\\ud83d"}', model="b")
        == b'{"model":"b","user":"\\ufffd"}'
    )


def test_of_a_name_given_twice_only_what_was_read_goes_on() -> None:
    assert rewritten(Kind.CHAT, b'{"n":9,"model":"a","model":"b","n":1}', max_output_tokens=5) == (
        b'{"n":1,"model":"b","max_completion_tokens":5}'
    )


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a":', b'{"a":"\xff"}', b"[" * 100_000])
def test_what_is_no_body_is_refused(body: bytes) -> None:
    with pytest.raises(CallMalformed):
        rewritten(Kind.CHAT, body, model="b", max_output_tokens=5)


@given(
    recorded=st.sampled_from(BODIES),
    tokens=st.integers(1, 100_000),
    provider=st.sampled_from(["openai", "x"]),
)
def test_what_was_written_is_read_again(recorded: RecordedBody, tokens: int, provider: str) -> None:
    endpoint = recorded.endpoint
    before = read_call(endpoint, recorded.body)
    body = rewritten(
        endpoint.kind, recorded.body, model="other-1", max_output_tokens=tokens, provider=provider
    )
    after = read_call(endpoint, body)
    assert after.model == ("other-1" if not endpoint.model else endpoint.model)
    assert after.choices == before.choices
    share = max(1, tokens // before.choices)
    assert after.max_output_tokens == (share * before.choices if endpoint.kind.has_output else 0)
    changed = {
        "model",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "generationConfig",
        "thinking",
    }
    rest = {name: value for name, value in recorded.fields.items() if name not in changed | {"requests"}}
    assert rest == {name: value for name, value in json.loads(body).items() if name in rest}


@pytest.mark.parametrize("recorded", BODIES, ids=lambda body: f"{body.dialect}-{body.name}")
def test_nothing_to_write_changes_nothing_but_space(recorded: RecordedBody) -> None:
    assert json.loads(rewritten(recorded.endpoint.kind, recorded.body)) == recorded.fields
