"""The providers' own libraries before a gateway, all asked alike: what their users see of an answer or a
refusal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types


class Question(NamedTuple):
    """`model`: "" for the way's own. `retries`: whether the library tries again what may pass later; `None`:
    as it does by itself, which Google's does not.
    """

    prompt: str = "How do we spend?"
    max_tokens: int = 20
    model: str = ""
    streamed: bool = False
    retries: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One of the APIs of one of the libraries. `model` costs more than `cheaper`. `ask` has the text of the
    answer; its arguments are the gateway's URL, the secret of a key and the question. `raises`: what users of
    the library expect of each HTTP status. `limit`: where the body says how long an answer may be.
    """

    provider: str
    model: str
    cheaper: str
    path: str
    limit: tuple[str, ...]
    ask: Callable[[str, str, Question], Coroutine[Any, Any, str]]
    raises: Mapping[int, type[Exception]]


class Refusal(NamedTuple):
    """What a library's exception tells. `body`: what it has made of the answer's."""

    status: int
    message: str
    headers: Mapping[str, str]
    body: Any


async def refused(way: Way, url: str, secret: str, question: Question) -> Refusal:
    """A call that must raise what users of the library expect of its status."""
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError, errors.APIError)) as raised:
        await way.ask(url, secret, question)
    refusal = _refusal(raised.value)
    assert isinstance(raised.value, way.raises[refusal.status]), raised.value
    return refusal


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, errors.APIError):
        return Refusal(error.code, error.message or "", error.response.headers, error.details)
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    return Refusal(error.status_code, error.message, error.response.headers, error.body)


async def _chat(url: str, secret: str, question: Question) -> str:
    async with _openai(url, secret, question) as library:
        asked: dict[str, Any] = {
            "model": question.model or "gpt-4o",
            "messages": [{"role": "user", "content": question.prompt}],
            "max_tokens": question.max_tokens,
        }
        if not question.streamed:
            answer = await library.chat.completions.create(**asked)
            return answer.choices[0].message.content or ""
        stream = await library.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        return await _joined(stream, lambda chunk: chunk.choices and chunk.choices[0].delta.content)


async def _responses(url: str, secret: str, question: Question) -> str:
    async with _openai(url, secret, question) as library:
        asked: dict[str, Any] = {
            "model": question.model or "gpt-4o",
            "input": question.prompt,
            "max_output_tokens": question.max_tokens,
        }
        if not question.streamed:
            return str((await library.responses.create(**asked)).output_text)
        stream = await library.responses.create(**asked, stream=True)
        return await _joined(stream, lambda event: event.type == "response.output_text.delta" and event.delta)


def _openai(url: str, secret: str, question: Question) -> openai.AsyncOpenAI:
    library = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret)
    return library.with_options(max_retries=0) if question.retries is False else library


async def _messages(url: str, secret: str, question: Question) -> str:
    async with anthropic.AsyncAnthropic(base_url=url, api_key=secret) as made:
        library = made.with_options(max_retries=0) if question.retries is False else made
        asked: dict[str, Any] = {
            "model": question.model or "claude-haiku-4-5",
            "messages": [{"role": "user", "content": question.prompt}],
            "max_tokens": question.max_tokens,
        }
        if not question.streamed:
            answer = await library.messages.create(**asked)
            return "".join(getattr(block, "text", "") for block in answer.content)
        async with library.messages.stream(**asked) as stream:
            return await _joined(stream.text_stream, lambda text: text)


async def _generate(url: str, secret: str, question: Question) -> str:
    retries = types.HttpRetryOptions() if question.retries else None
    options = types.HttpOptions(base_url=url, retry_options=retries)
    async with genai.Client(api_key=secret, http_options=options).aio as library:
        asked: dict[str, Any] = {
            "model": question.model or "gemini-2.5-flash",
            "contents": question.prompt,
            "config": types.GenerateContentConfig(max_output_tokens=question.max_tokens),
        }
        if not question.streamed:
            return (await library.models.generate_content(**asked)).text or ""
        stream = await library.models.generate_content_stream(**asked)
        return await _joined(stream, lambda chunk: chunk.text)


async def _joined(stream: AsyncIterator[Any], text: Callable[[Any], Any]) -> str:
    return "".join([text(event) or "" async for event in stream])


def _raised(library: Any) -> Mapping[int, type[Exception]]:
    """What OpenAI's library and Anthropic's, which is like it, raise."""
    return {
        400: library.BadRequestError,
        401: library.AuthenticationError,
        403: library.PermissionDeniedError,
        429: library.RateLimitError,
        500: library.InternalServerError,
        503: library.InternalServerError,
        504: library.InternalServerError,
    }


CHAT = Way(
    provider="openai",
    model="gpt-4o",
    cheaper="gpt-4o-mini",
    path="/v1/chat/completions",
    limit=("max_tokens",),
    ask=_chat,
    raises=_raised(openai),
)
RESPONSES = Way(
    provider="openai",
    model="gpt-4o",
    cheaper="gpt-4o-mini",
    path="/v1/responses",
    limit=("max_output_tokens",),
    ask=_responses,
    raises=_raised(openai),
)
MESSAGES = Way(
    provider="anthropic",
    model="claude-haiku-4-5",
    cheaper="claude-3-haiku",
    path="/v1/messages",
    limit=("max_tokens",),
    ask=_messages,
    raises=_raised(anthropic),
)
GENERATE = Way(
    provider="google",
    model="gemini-2.5-flash",
    cheaper="gemini-2.5-flash-lite",
    path="/v1/models/gemini-2.5-flash:generateContent",
    limit=("generationConfig", "maxOutputTokens"),
    ask=_generate,
    raises={
        **dict.fromkeys((400, 401, 403, 429), errors.ClientError),
        **dict.fromkeys((500, 503, 504), errors.ServerError),
    },
)
WAYS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "generate": GENERATE}
