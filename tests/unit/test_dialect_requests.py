"""What a call may use at most is read out of its body, or the body is refused with a reason."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_service.edge.dialects.calls import CallMalformed, CallTooLarge, Endpoint, Kind, ModelCall
from quota_service.edge.dialects.requests import read_call
from tests.support.bodies import CHAT, GENERATE, MESSAGES, RecordedBody, all_recorded, chat, read

COMPLETIONS = Endpoint(Kind.COMPLETIONS)
EMBEDDINGS = Endpoint(Kind.EMBEDDINGS)
BODIES = all_recorded()


def test_a_chat_says_its_model_its_choices_and_its_limit() -> None:
    assert chat(n=3, max_tokens=100) == ModelCall(
        kind=Kind.CHAT, model="gpt-4o", input_tokens=8, max_output_tokens=300, choices=3
    )


def test_a_limit_that_is_absent_or_null_is_none() -> None:
    assert chat().max_output_tokens is None
    assert chat(max_tokens=None, n=None).max_output_tokens is None


def test_of_two_limits_the_larger_counts() -> None:
    assert chat(max_tokens=100, max_completion_tokens=70).max_output_tokens == 100
    assert chat(max_tokens=None, max_completion_tokens=70).max_output_tokens == 70


@pytest.mark.parametrize("value", [-1, 0, 1e99, "many", "100", True, 100.0, 1_000_000_001, [], {}, 10**30])
@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (CHAT, "n"),
        (COMPLETIONS, "best_of"),
        (Endpoint(Kind.RESPONSES), "max_output_tokens"),
        (MESSAGES, "max_tokens"),
    ],
)
def test_a_limit_that_is_no_number_of_tokens_is_refused_by_its_name(
    endpoint: Endpoint, name: str, value: object
) -> None:
    with pytest.raises(CallMalformed, match=f"{name} must be a whole number from 1 to") as refused:
        read(endpoint, {"model": "m", name: value})
    assert refused.value.param == name


def test_choices_are_at_most_128() -> None:
    assert chat(n=128).choices == 128
    with pytest.raises(CallMalformed, match="n must be a whole number from 1 to 128"):
        chat(n=129)


@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
@pytest.mark.parametrize(
    "inner",
    [{"maxOutputTokens": 40, "candidateCount": 2}, {"max_output_tokens": 40, "candidate_count": 2}],
)
def test_gemini_s_limits_are_read_in_both_spellings(name: str, inner: dict[str, int]) -> None:
    call = read(GENERATE, {"contents": [], name: inner})
    assert (call.model, call.max_output_tokens, call.choices) == ("gemini-2.5-pro", 80, 2)
    with pytest.raises(CallMalformed) as refused:
        read(GENERATE, {"contents": [], name: dict.fromkeys(inner, -1)})
    assert refused.value.param in inner


def test_old_completions_multiply_prompts_and_tries_and_have_a_default() -> None:
    several = {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": ["One", "two three", [1, 2]],
        "n": 2,
        "best_of": 3,
    }
    call = read(COMPLETIONS, several)
    assert (call.choices, call.max_output_tokens) == (9, 9 * 16)
    assert call.input_tokens == 1 + 2 + 2
    assert read(COMPLETIONS, {"model": "davinci-002", "prompt": "a", "max_tokens": 5}).max_output_tokens == 5


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [
        ("hello world", 2),
        (["hello world", "hello"], 3),
        ([1, 2, 3], 3),
        ([[1, 2], [3]], 3),
        ([], 0),
        (None, 0),
    ],
)
def test_embeddings_have_texts_or_tokens_and_no_output(given_input: object, tokens: int) -> None:
    call = read(EMBEDDINGS, {"model": "text-embedding-3-small", "input": given_input})
    assert (call.input_tokens, call.max_output_tokens) == (tokens, 0)


@pytest.mark.parametrize("given_input", [{"a": 1}, [{}], [["a"]], 3, [1.5]])
def test_an_input_of_another_shape_is_refused(given_input: object) -> None:
    with pytest.raises(CallMalformed, match="must be a text, a list of tokens"):
        read(EMBEDDINGS, {"model": "text-embedding-3-small", "input": given_input})


def test_the_route_s_model_wins_over_the_path_s_and_that_over_the_body_s() -> None:
    path = Endpoint(Kind.CHAT, "of-path")
    assert read(path, {"model": "of-body"}, model="of-route").model == "of-route"
    assert read(path, {"model": "of-body"}).model == "of-path"
    assert read(CHAT, {"model": "of-body"}).model == "of-body"


@pytest.mark.parametrize("model", ["", "a b", "a\n", "ä", "x" * 257, 1, True, [], {}])
def test_what_is_no_name_of_a_model_is_refused(model: object) -> None:
    with pytest.raises(CallMalformed, match="model must be 1 to 256 printable ASCII characters") as refused:
        read(CHAT, {"model": model})
    assert refused.value.param == "model"


@pytest.mark.parametrize("fields", [{}, {"model": None}])
def test_a_model_is_required(fields: dict[str, Any]) -> None:
    with pytest.raises(CallMalformed, match="model is required"):
        read(CHAT, fields)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"model": "x"} x', "not JSON"),
        (b'{"model": NaN}', "not JSON"),
        (b'{"model": "\xff"}', "not JSON"),
        (b'\xef\xbb\xbf{"model": "x"}', "not JSON"),
        (b"model=x&max_tokens=1", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_object_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(CallMalformed, match=reason):
        read_call(CHAT, body)


def test_half_a_character_that_a_program_cut_off_is_read_over() -> None:
    body = b'{"model": "gpt-4o", "messages": [{"content": "\\ud83d \\ud83d\\ude00 \\\\ud83d"}]}'
    assert read_call(CHAT, body).input_tokens > 7


@pytest.mark.parametrize(
    "messages", [None, "Hi", 3, {"content": "Hi"}, ["Hi"], [None], [[["Hi"]]], [{"content": 4}]]
)
def test_messages_of_any_shape_are_counted(messages: object) -> None:
    for endpoint in (CHAT, MESSAGES):
        assert 3 <= read(endpoint, {"model": "gpt-4o", "messages": messages}).input_tokens < 40
    assert read(GENERATE, {"contents": messages}).input_tokens < 40


def test_what_nobody_knows_counts_as_the_text_of_its_json() -> None:
    for endpoint, fields in (
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "hologram", "cube": "word " * 500}]}]}),
        (CHAT, {"retrieved_documents": [{"text": "word " * 500}]}),
        (
            MESSAGES,
            {"messages": [{"role": "user", "content": [{"type": "hologram", "cube": "word " * 500}]}]},
        ),
        (MESSAGES, {"mcp_servers": [{"text": "word " * 500}]}),
        (GENERATE, {"contents": [{"parts": [{"hologram": "word " * 500}]}]}),
        (GENERATE, {"memories": [{"text": "word " * 500}]}),
    ):
        assert read(endpoint, {"model": "gpt-4o", **fields}).input_tokens >= 500, fields


def test_what_a_model_does_not_read_costs_nothing() -> None:
    silent = {"metadata": {"note": "word " * 500}, "logit_bias": {str(token): 1 for token in range(500)}}
    assert chat(**silent).input_tokens == chat().input_tokens


def test_a_conversation_that_the_provider_keeps_costs_an_assumed_amount() -> None:
    responses = Endpoint(Kind.RESPONSES)
    alone = read(responses, {"model": "gpt-5", "input": "Hi"}).input_tokens
    assert (
        read(responses, {"model": "gpt-5", "input": "Hi", "previous_response_id": "r"}).input_tokens
        > alone + 19_999
    )


# A body that was cut off


def test_of_a_cut_body_the_first_fields_are_read() -> None:
    body = (
        b'{"stream": true, "model": "gpt-4o", "n": 2, "max_tokens": 50, "messages": [{"content": "hello wor'
    )
    call = read_call(CHAT, body, is_whole=False)
    assert (call.model, call.max_output_tokens, call.choices, call.is_whole) == ("gpt-4o", 100, 2, False)
    assert call.input_tokens >= 2


def test_of_a_cut_body_without_a_model_too_much_is_missing() -> None:
    body = b'{"messages": [{"content": "{\\"model\\": \\"gpt-4o\\"}", "model": "gpt-4o"}, {"content": "hel'
    with pytest.raises(CallTooLarge, match="too large"):
        read_call(CHAT, body, is_whole=False)
    assert read_call(CHAT, body, model="gpt-4o", is_whole=False).max_output_tokens is None
    assert read_call(Endpoint(Kind.CHAT, "ours"), body, is_whole=False).model == "ours"


@pytest.mark.parametrize("rest", [b"1", b"10", b"100"])
def test_a_number_that_may_go_on_is_no_limit(rest: bytes) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": ' + rest
    assert read_call(CHAT, body, is_whole=False).max_output_tokens is None
    assert read_call(CHAT, body + b",", is_whole=False).max_output_tokens == int(rest)


def test_a_limit_deeper_inside_is_none_of_the_call_s() -> None:
    body = b'{"model": "gpt-4o", "a": {"max_tokens": 5}, "b": [{"max_tokens": 6}, 7], "messages": ['
    assert read_call(CHAT, body, is_whole=False).max_output_tokens is None
    body = b'{"generationConfig": {"x": {"maxOutputTokens": 9}, "maxOutputTokens": 5}, "contents": ['
    assert read_call(GENERATE, body, is_whole=False).max_output_tokens == 5


def test_old_completions_that_were_cut_have_no_default() -> None:
    body = b'{"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon'
    assert read_call(COMPLETIONS, body, is_whole=False).max_output_tokens is None


def test_a_faulty_limit_in_a_cut_body_is_refused() -> None:
    with pytest.raises(CallMalformed, match="max_tokens"):
        read_call(CHAT, b'{"model": "gpt-4o", "max_tokens": -1, "messages": [', is_whole=False)


def test_an_image_in_a_cut_body_is_not_counted_as_text() -> None:
    body = b'{"model": "gpt-4o", "messages": [{"content": [{"image_url": {"url": "data:image/png;base64,'
    alone = read_call(CHAT, body, is_whole=False).input_tokens
    assert read_call(CHAT, body + b"iVBORw0K" * 40_000, is_whole=False).input_tokens == alone + 10_000


def test_a_cut_body_of_very_many_fields_is_given_up_in_time() -> None:
    started = time.process_time()
    with pytest.raises(CallTooLarge):
        read_call(CHAT, b'{"a":' + b"[1," * 1_000_000, is_whole=False)
    assert time.process_time() - started < 5


# Anything at all


def reads_or_refuses(endpoint: Endpoint, body: bytes, *, is_whole: bool = True) -> None:
    try:
        call = read_call(endpoint, body, is_whole=is_whole)
    except (CallMalformed, CallTooLarge):
        return
    assert call.input_tokens >= 0
    assert call.choices >= 1
    assert call.max_output_tokens is None or call.max_output_tokens >= 0


ENDPOINTS = [Endpoint(kind) for kind in Kind] + [GENERATE]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["model", "messages", "content", "contents", "parts", "text", "type", "role", "input", "prompt",
     "system", "n", "source", "data", "image_url", "url", "file", "input_audio", "inlineData",
     "mimeType", "requests", "tools", "generationConfig", "max_tokens", "maxOutputTokens", "detail",
     "tool_calls", "videoMetadata", "fps"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["text", "image", "image_url", "input_image", "document", "base64", "tool_result", "thinking",
     "file", "url", "data:,", "video/mp4", "audio/wav", "image/jpeg",
     "data:image/png;base64,iVBORw0KGgo=", "UklGRg==", "gpt-4o"]
)  # fmt: skip
SHAPED = st.recursive(
    WORDS | st.integers(-2, 9) | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@given(body=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()), whole=st.booleans())
def test_any_bytes_are_a_call_or_refused(body: bytes, whole: bool) -> None:
    for endpoint in ENDPOINTS:
        reads_or_refuses(endpoint, body, is_whole=whole)


@settings(max_examples=300)
@given(fields=st.dictionaries(NAMES, SHAPED, max_size=8))
def test_any_fields_are_a_call_or_refused(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "gpt-4o"} | fields).encode()
    for endpoint in ENDPOINTS:
        reads_or_refuses(endpoint, body)


@given(recorded=st.sampled_from(BODIES), where=st.floats(0, 1))
def test_a_recorded_body_cut_anywhere_is_a_call_or_refused(recorded: RecordedBody, where: float) -> None:
    cut = recorded.body[: int(len(recorded.body) * where)]
    reads_or_refuses(recorded.endpoint, cut, is_whole=False)
    reads_or_refuses(recorded.endpoint, cut, is_whole=True)


@pytest.mark.parametrize("recorded", BODIES, ids=lambda body: f"{body.dialect}-{body.name}")
def test_what_a_cut_body_says_is_what_the_whole_one_says(recorded: RecordedBody) -> None:
    """A space and a bracket are cut off, behind everything that counts."""
    whole = read_call(recorded.endpoint, recorded.body)
    cut = read_call(recorded.endpoint, recorded.body[:-1] + b" ,", model=whole.model, is_whole=False)
    assert (cut.kind, cut.model) == (whole.kind, whole.model)
    if recorded.endpoint.kind is Kind.COMPLETIONS:
        return  # how many prompts there are is not read of a cut body
    assert (cut.choices, cut.max_output_tokens) == (whole.choices, whole.max_output_tokens)
