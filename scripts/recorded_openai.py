"""The calls that are recorded of OpenAI's SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import openai
from pydantic import BaseModel

from scripts.request_texts import PROSE, TEXTS, encoded, jpeg, pdf, png, wav

Call = tuple[str, bool, Callable[[], object]]

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a place on a day.",
    "parameters": {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "A town and its country"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["place"],
    },
}

CONVERSATION: list[Any] = [
    {"role": "system", "content": "You are a patient teacher. Answer in at most three sentences."},
    {"role": "user", "content": TEXTS["short"]},
    {"role": "assistant", "content": "The capital of Norway is Oslo, which lies at the end of a long fjord."},
    {"role": "user", "name": "ada", "content": "And which river flows through it?"},
]


class Parcel(BaseModel):
    """What a structured answer looks like."""

    sender: str
    weight_grams: int
    fragile: bool


def openai_calls(client: openai.OpenAI) -> Iterator[Call]:
    """Their names, whether they are plain text, and the calls."""
    yield from _chats(client)
    yield from _chat_variants(client)
    yield from _chat_media(client)
    yield from _responses(client)
    yield from _completions_and_embeddings(client)


def _chat(
    client: openai.OpenAI, messages: list[Any], model: str = "gpt-4o", **options: Any
) -> Callable[[], object]:
    return partial(client.chat.completions.create, model=model, messages=messages, **options)


def _user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def _chats(client: openai.OpenAI) -> Iterator[Call]:
    for name, text in TEXTS.items():
        yield f"chat-{name}", True, _chat(client, _user(text))
    for model in ("gpt-4", "gpt-3.5-turbo", "gpt-5", "o3-mini", "gpt-4.1-mini"):
        yield f"chat-{model}", True, _chat(client, _user(TEXTS["english"]), model)
    for name in PROSE:
        yield f"chat-llama-{name}", True, _chat(client, _user(TEXTS[name]), "llama-3.3-70b-versatile")
    for name in ("german", "chinese", "code", "numbers"):
        yield f"chat-mistral-{name}", False, _chat(client, _user(TEXTS[name]), "mistral-large-latest")


def _chat_variants(client: openai.OpenAI) -> Iterator[Call]:
    tools = [{"type": "function", "function": WEATHER}]
    asked = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"place":"Oslo"}'},
    }
    answered = [
        *CONVERSATION,
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"temperature": 7, "sky": "rain"}'},
    ]
    yield "chat-conversation", True, _chat(client, CONVERSATION)
    yield (
        "chat-conversation-streamed",
        True,
        _chat(client, CONVERSATION, stream=True, stream_options={"include_usage": True}),
    )
    yield "chat-max-tokens", True, _chat(client, CONVERSATION, max_tokens=200)
    yield (
        "chat-max-completion-tokens",
        True,
        _chat(client, CONVERSATION, "gpt-5", max_completion_tokens=3_000),
    )
    yield "chat-three-choices", True, _chat(client, CONVERSATION, n=3, max_tokens=50)
    yield "chat-sampling", True, _chat(client, CONVERSATION, temperature=0.2, top_p=0.9, seed=7, stop=["END"])
    yield "chat-parts", True, _chat(client, _user([{"type": "text", "text": TEXTS["english"]}]))
    yield (
        "chat-developer",
        True,
        _chat(client, [{"role": "developer", "content": "Be brief."}, *CONVERSATION[1:]], "o1"),
    )
    yield "chat-tools", False, _chat(client, CONVERSATION, tools=tools, tool_choice="auto")
    yield "chat-tools-answered", False, _chat(client, answered, tools=tools)
    yield "chat-json-format", False, _chat(client, CONVERSATION, response_format={"type": "json_object"})
    yield (
        "chat-structured",
        False,
        partial(client.chat.completions.parse, model="gpt-4o", messages=CONVERSATION, response_format=Parcel),
    )


def _chat_media(client: openai.OpenAI) -> Iterator[Call]:
    def shown(url: str, detail: str) -> list[Any]:
        image = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
        return _user([{"type": "text", "text": TEXTS["short"]}, image])

    for width, height in ((64, 64), (512, 512), (1024, 768), (300, 2000)):
        url = f"data:image/png;base64,{encoded(png(width, height))}"
        yield f"chat-png-{width}x{height}", False, _chat(client, shown(url, "high"))
    large = f"data:image/jpeg;base64,{encoded(jpeg(2048, 1024))}"
    for model in ("gpt-4o-mini", "gpt-4.1-mini", "o4-mini", "gpt-5", "o1"):
        yield f"chat-jpeg-2048x1024-{model}", False, _chat(client, shown(large, "high"), model)
    yield "chat-jpeg-2048x1024-low", False, _chat(client, shown(large, "low"))
    yield "chat-image-elsewhere", False, _chat(client, shown("https://images.example/oslo.png", "auto"))
    sound = {"type": "input_audio", "input_audio": {"data": encoded(wav(3)), "format": "wav"}}
    yield "chat-audio-3s", False, _chat(client, _user([sound]), "gpt-4o-audio-preview", modalities=["text"])
    file = {"filename": "plan.pdf", "file_data": f"data:application/pdf;base64,{encoded(pdf(2))}"}
    yield "chat-pdf-2-pages", False, _chat(client, _user([{"type": "file", "file": file}]))


def _responses(client: openai.OpenAI) -> Iterator[Call]:
    def respond(given: Any, model: str = "gpt-5", **options: Any) -> Callable[[], object]:
        return partial(client.responses.create, model=model, input=given, **options)

    for name in ("english", "german", "chinese", "arabic", "code", "emoji"):
        yield f"responses-{name}", True, respond(TEXTS[name])
    yield "responses-instructions", True, respond(TEXTS["short"], instructions="Answer like a pirate.")
    yield "responses-conversation", True, respond(CONVERSATION[:3])
    yield "responses-limited", True, respond(TEXTS["short"], max_output_tokens=256, stream=True)
    yield "responses-reasoning", True, respond(TEXTS["short"], "o3", reasoning={"effort": "low"}, store=False)
    yield (
        "responses-tools",
        False,
        respond(TEXTS["short"], tools=[{"type": "function", "strict": True, **WEATHER}]),
    )
    yield (
        "responses-structured",
        False,
        partial(client.responses.parse, model="gpt-5", input=TEXTS["short"], text_format=Parcel),
    )
    image = {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{encoded(png(512, 512))}",
        "detail": "high",
    }
    yield (
        "responses-png-512x512",
        False,
        respond(
            [{"role": "user", "content": [{"type": "input_text", "text": TEXTS["short"]}, image]}], "gpt-4o"
        ),
    )
    yield "responses-continued", False, respond("And then?", previous_response_id="resp_1")


def _completions_and_embeddings(client: openai.OpenAI) -> Iterator[Call]:
    completion = partial(client.completions.create, model="gpt-3.5-turbo-instruct")
    yield "completions-english", True, partial(completion, prompt=TEXTS["english"], max_tokens=40)
    yield "completions-best-of-three", True, partial(completion, prompt=["One", "Two, three"], n=2, best_of=3)
    yield "completions-tokens", False, partial(completion, prompt=[15496, 11, 995], echo=True)
    embedding = partial(client.embeddings.create, model="text-embedding-3-small")
    yield "embeddings-english", True, partial(embedding, input=TEXTS["english"])
    yield (
        "embeddings-several",
        True,
        partial(embedding, input=[TEXTS[name] for name in ("german", "japanese", "short")]),
    )
    yield "embeddings-tokens", False, partial(embedding, input=[[1, 2, 3], [4, 5]], dimensions=256)
