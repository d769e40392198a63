"""A call to a model, as far as its price depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Dialect(StrEnum):
    """Whose API a call is written for; many other providers speak OpenAI's."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class Kind(StrEnum):
    """The operations that are metered."""

    CHAT = "chat"  # OpenAI's chat completions
    COMPLETIONS = "completions"  # OpenAI's completions, before there was chat
    RESPONSES = "responses"  # OpenAI's responses
    EMBEDDINGS = "embeddings"  # OpenAI's
    MESSAGES = "messages"  # Anthropic's
    GENERATE = "generate"  # Gemini's generateContent and streamGenerateContent
    EMBED = "embed"  # Gemini's embedContent and batchEmbedContents

    @property
    def dialect(self) -> Dialect:
        if self is Kind.MESSAGES:
            return Dialect.ANTHROPIC
        return Dialect.GEMINI if self in (Kind.GENERATE, Kind.EMBED) else Dialect.OPENAI

    @property
    def has_output(self) -> bool:
        """Whether its answer has tokens that cost something."""
        return self not in (Kind.EMBEDDINGS, Kind.EMBED)


class Endpoint(NamedTuple):
    """Where a metered call goes. `model`: the one that the path names, "" where the body does."""

    kind: Kind
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What a call may use at most. `input_tokens`: never less than the provider will count, as far as its
    rules are known. `max_output_tokens`: of all choices together; `None`: the call does not say. `choices`:
    how many answers it asks for. `is_whole`: all of its body was there to be read.
    """

    kind: Kind
    model: str
    input_tokens: int
    max_output_tokens: int | None
    choices: int = 1
    is_whole: bool = True


class CallMalformed(Exception):
    """A call that cannot be priced, because of how it is written. `param`: the faulty part of the body, in
    the dialect's own words, such as `max_tokens`; "" for all of it. The text is for its caller.
    """

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.param = param


class CallTooLarge(Exception):
    """A call whose body was cut off before what is needed to price it. The text is for its caller."""
