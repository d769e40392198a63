"""The calls that are recorded of Google's SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from google import genai
from google.genai import types

from scripts.recorded_openai import Call, Parcel
from scripts.request_texts import TEXTS, jpeg, pdf, png, wav

OLD, NEW = "gemini-2.5-flash", "gemini-3-pro-preview"

WEATHER = types.FunctionDeclaration(
    name="get_weather",
    description="The weather of a place on a day.",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={
            "place": types.Schema(type=types.Type.STRING),
            "unit": types.Schema(type=types.Type.STRING, enum=["celsius", "fahrenheit"]),
        },
        required=["place"],
    ),
)

CONVERSATION: list[Any] = [
    types.Content(role="user", parts=[types.Part(text=TEXTS["short"])]),
    types.Content(role="model", parts=[types.Part(text="The capital of Norway is Oslo.")]),
    types.Content(role="user", parts=[types.Part(text="And which river flows through it?")]),
]


def gemini_calls(client: genai.Client) -> Iterator[Call]:
    """Their names, whether they are plain text, and the calls."""
    for name, text in TEXTS.items():
        plain = name not in ("numbers", "json", "code")
        yield f"old-{name}", plain, _generate(client, text, OLD)
        yield f"new-{name}", plain, _generate(client, text, NEW)
    yield from _variants(client)
    yield from _tools(client)
    yield from _media(client)
    yield from _embeddings(client)


def _generate(client: genai.Client, contents: Any, model: str = OLD, **options: Any) -> Callable[[], object]:
    config = types.GenerateContentConfig(**options) if options else None
    return partial(client.models.generate_content, model=model, contents=contents, config=config)


def _streamed(client: genai.Client, contents: Any) -> Callable[[], object]:
    def call() -> object:
        return list(client.models.generate_content_stream(model=OLD, contents=contents))

    return call


def _variants(client: genai.Client) -> Iterator[Call]:
    yield "conversation", True, _generate(client, CONVERSATION)
    yield "streamed", True, _streamed(client, CONVERSATION)
    yield "system", True, _generate(client, CONVERSATION, system_instruction=TEXTS["english-letter"])
    yield "limited", True, _generate(client, CONVERSATION, max_output_tokens=64)
    yield "two-candidates", True, _generate(client, CONVERSATION, max_output_tokens=64, candidate_count=2)
    yield "sampling", True, _generate(client, CONVERSATION, temperature=0.1, top_k=3, stop_sequences=["END"])
    yield (
        "thinking",
        True,
        _generate(
            client,
            CONVERSATION,
            max_output_tokens=4_096,
            thinking_config=types.ThinkingConfig(thinking_budget=1_024),
        ),
    )
    yield (
        "safety",
        True,
        _generate(
            client,
            CONVERSATION,
            safety_settings=[
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HARASSMENT,
                    threshold=types.HarmBlockThreshold.BLOCK_ONLY_HIGH,
                )
            ],
        ),
    )
    yield "several-parts", True, _generate(client, [TEXTS["english"], TEXTS["english-letter"]])
    yield "cached", False, _generate(client, CONVERSATION, cached_content="cachedContents/abc")


def _tools(client: genai.Client) -> Iterator[Call]:
    tool = types.Tool(function_declarations=[WEATHER])
    asked = types.Part.from_function_call(name="get_weather", args={"place": "Oslo"})
    told = types.Part.from_function_response(name="get_weather", response={"temperature": 7, "sky": "rain"})
    answered = [
        *CONVERSATION,
        types.Content(role="model", parts=[asked]),
        types.Content(role="user", parts=[told]),
    ]
    yield "tools", False, _generate(client, CONVERSATION, tools=[tool])
    yield "tools-answered", False, _generate(client, answered, tools=[tool])
    yield (
        "search",
        False,
        _generate(client, CONVERSATION, tools=[types.Tool(google_search=types.GoogleSearch())]),
    )
    yield "json", False, _generate(client, CONVERSATION, response_mime_type="application/json")
    yield (
        "structured",
        False,
        _generate(client, CONVERSATION, response_mime_type="application/json", response_schema=Parcel),
    )


def _media(client: genai.Client) -> Iterator[Call]:
    def shown(raw: bytes, mime_type: str) -> list[Any]:
        return [types.Part.from_bytes(data=raw, mime_type=mime_type), TEXTS["short"]]

    for width, height in ((64, 64), (384, 384), (960, 540), (1536, 1536)):
        image = shown(png(width, height), "image/png")
        yield f"png-{width}x{height}-old", False, _generate(client, image, OLD)
    large = shown(jpeg(3000, 2000), "image/jpeg")
    yield "jpeg-3000x2000-old", False, _generate(client, large, OLD)
    yield "jpeg-3000x2000-new", False, _generate(client, large, NEW)
    yield (
        "jpeg-3000x2000-low",
        False,
        _generate(client, large, NEW, media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW),
    )
    yield "audio-3s", False, _generate(client, shown(wav(3), "audio/wav"))
    yield "pdf-2-pages", False, _generate(client, shown(pdf(2), "application/pdf"))
    elsewhere = types.Part.from_uri(file_uri="https://files.example/1", mime_type="application/pdf")
    yield "file-elsewhere", False, _generate(client, [elsewhere, TEXTS["short"]])


def _embeddings(client: genai.Client) -> Iterator[Call]:
    embed = partial(client.models.embed_content, model="gemini-embedding-001")
    yield "embed-english", True, partial(embed, contents=TEXTS["english"])
    yield "embed-several", True, partial(embed, contents=[TEXTS["german"], TEXTS["chinese"], TEXTS["short"]])
