"""The answers that the tests make up are such as the providers' own libraries read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import answers, answers_anthropic, answers_gemini
from tests.support.answer_records import MESSAGES_USAGE, PIECES, TEXT, THOUGHT, TOOLS, USAGE
from tests.support.sdks import answering, anthropic_client, gemini_client, openai_client

ASKED: Any = [{"role": "user", "content": "Hi."}]


def test_openai_reads_a_chat_completion() -> None:
    client = openai_client(answering(answers.chat_json(TEXT, USAGE, tools=TOOLS)))
    completion = client.chat.completions.create(model="m", messages=ASKED)
    assert completion.choices[0].message.content == TEXT
    calls = completion.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == [
        tool.arguments for tool in TOOLS
    ]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (1_200, 340)


def test_openai_reads_a_streamed_chat_completion() -> None:
    client = openai_client(answering(answers.chat_events(PIECES, USAGE, tools=TOOLS)))
    chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == TEXT
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 340


@pytest.mark.parametrize("is_stream", [False, True])
def test_openai_reads_completions(is_stream: bool) -> None:
    told = answers.completions_events(PIECES, USAGE) if is_stream else answers.completions_json(TEXT, USAGE)
    answer: Any = openai_client(answering(told)).completions.create(model="m", prompt="Hi.", stream=is_stream)
    documents = list(answer) if is_stream else [answer]
    assert "".join(choice.text for document in documents for choice in document.choices) == TEXT
    assert documents[-1].usage.prompt_tokens == 1_200


def test_openai_reads_a_response() -> None:
    client = openai_client(answering(answers.responses_json(TEXT, USAGE, tools=TOOLS, reasoning=THOUGHT)))
    response = client.responses.create(model="m", input="Hi.")
    assert response.output_text == TEXT
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 1_000


def test_openai_reads_a_streamed_response() -> None:
    told = answers.responses_events(PIECES, USAGE, tools=TOOLS, reasoning=THOUGHT)
    events = list(openai_client(answering(told)).responses.create(model="m", input="Hi.", stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 340


def test_openai_reads_embeddings() -> None:
    client = openai_client(answering(answers.embeddings_json(2, USAGE)))
    embeddings = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert len(embeddings.data) == 2
    assert embeddings.usage.prompt_tokens == 1_200


def test_anthropic_reads_a_message() -> None:
    told = answers_anthropic.messages_json(
        TEXT, MESSAGES_USAGE, tools=TOOLS, thinking=THOUGHT, redacted="eA=="
    )
    message = anthropic_client(answering(told)).messages.create(model="m", max_tokens=9, messages=ASKED)
    assert [block.type for block in message.content] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert (message.usage.input_tokens, message.usage.cache_creation_input_tokens) == (150, 50)


def test_anthropic_reads_a_streamed_message() -> None:
    told = answers_anthropic.messages_events(
        PIECES, MESSAGES_USAGE, tools=TOOLS, thinking=THOUGHT, redacted="eA=="
    )
    client = anthropic_client(answering(told))
    with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
        message = stream.get_final_message()
    assert [block.text for block in message.content if block.type == "text"] == [TEXT]
    assert [block.input for block in message.content if block.type == "tool_use"] == [
        tool.arguments for tool in TOOLS
    ]
    assert message.usage.output_tokens == 340


def test_gemini_reads_a_response() -> None:
    told = answers_gemini.generate_json(TEXT, USAGE, tools=TOOLS, thought=THOUGHT, thoughts=40)
    response = gemini_client(answering(told)).models.generate_content(model="m", contents="Hi.")
    parts = (response.parts or []) if response.candidates else []
    assert [part.text for part in parts if part.text and not part.thought] == [TEXT]
    assert [call.args for call in response.function_calls or []] == [tool.arguments for tool in TOOLS]
    assert response.usage_metadata is not None
    assert response.usage_metadata.thoughts_token_count == 40


def test_gemini_reads_a_streamed_response() -> None:
    client = gemini_client(answering(answers_gemini.generate_events(PIECES, USAGE)))
    responses = list(client.models.generate_content_stream(model="m", contents="Hi."))
    assert "".join(response.text or "" for response in responses) == TEXT
    assert responses[-1].usage_metadata is not None
    assert responses[-1].usage_metadata.candidates_token_count == 340


def test_gemini_reads_embeddings() -> None:
    client = gemini_client(answering(answers_gemini.embed_json(1, USAGE)))
    embeddings = client.models.embed_content(model="text-embedding-004", contents="Hi.").embeddings
    assert embeddings is not None
    assert len(embeddings[0].values or []) == 8
