"""How many tokens the texts of one call have at most, by the model that will read them.

Only OpenAI publishes its tokenizer. For everybody else the count by o200k is taken as the measure of how
hard a text is, with a margin for the other vocabulary, and never less than the provider's own rule of
thumb:

- OpenAI's own models: the exact count, by o200k from gpt-4o on, by cl100k for gpt-4, gpt-3.5 and the
  embeddings.
- Others behind OpenAI's dialect (Llama, Mistral, Qwen, a deployment's name): 1.25 × o200k, + 1 per 2 bytes
  beyond one a character (smaller vocabularies know fewer scripts), + 2 per 3 digits (some read them singly).
- Claude up to 4.6: 1.2 × o200k, at least a token per 3.5 characters.
- Claude from 4.7 on, or by a name not known: 1.6 × o200k, in prose at most a token per 2.8 bytes, at least a
  token per 3.5 characters.
- Gemini: 1.2 × o200k + 2 per 3 digits, at least a token per 4 characters.

Sources: Anthropic's glossary (a token is about 3.5 English characters); Google's guide to tokens (about 4
characters); Anthropic on Claude 4.7 (its tokenizer makes up to 1.35 × the tokens of the one before). One page
of English text was reported as 461 tokens of GPT's, 503 of Claude Haiku 4.5, 728 of Claude 5.5 and 455 of
Gemini 3; a table of numbers as 629, 720, 913 and 777. The bounds cover them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import msgspec

from quota_service.edge.dialects.calls import Dialect
from quota_service.edge.dialects.sampling import TextCount
from quota_service.edge.dialects.tokens import Encoding

_OPENAI = re.compile(
    r"(?:ft:)?(?:gpt-|chatgpt-|o\d|codex-|computer-use-|text-embedding-|davinci-|babbage-|text-davinci-)"
)
_CL100K = re.compile(
    r"(?:ft:)?(?:gpt-4(?![.\do])|gpt-3\.5|gpt-35|text-embedding-|davinci-|babbage-|text-davinci-)"
)

_CLAUDE_SMALL_FAMILY = re.compile(
    r"claude-(?:instant|v?[123](?!\d)|(?:opus|sonnet|haiku)-4(?:[-.][0-6])?(?!\d|[-.]\d(?!\d)|[-.]\d\d(?!\d)))"
)
"""Up to 4.6: `claude-3-5-haiku-20241022`, `anthropic/claude-sonnet-4.5`, `claude-opus-4-20250514`."""

_DIGITS = b"0123456789"


def is_openai(model: str) -> bool:
    """Whether that name is one of OpenAI's own models."""
    return _OPENAI.match(model.rpartition("/")[2]) is not None


def encoding_of(model: str) -> Encoding:
    """The encoding that counts its text exactly or, where that is no model of OpenAI's, nearly."""
    return Encoding.CL100K if _CL100K.match(model.rpartition("/")[2]) else Encoding.O200K


def is_older_claude(model: str) -> bool:
    """Whether that is a Claude up to 4.6: with the older tokenizer and the smaller images."""
    return _CLAUDE_SMALL_FAMILY.search(model) is not None


class Tally(ABC):
    """Adds up what one call gives its model to read."""

    def __init__(self) -> None:
        self._fixed = 0

    @property
    def tokens(self) -> int:
        """The bound for everything that was added."""
        return self._fixed + self._text_tokens()

    def add(self, tokens: int) -> None:
        """What has a rule of its own: overheads, images, audio."""
        self._fixed += tokens

    def json(self, value: object) -> None:
        """A part that is given to the model as JSON, or one that nobody here knows."""
        self.text(msgspec.json.encode(value).decode())

    @abstractmethod
    def text(self, text: str) -> None:
        """A text for the model."""

    @abstractmethod
    def _text_tokens(self) -> int: ...


def tally_for(dialect: Dialect, model: str) -> Tally:
    """An empty tally by the rule for that model."""
    if dialect is Dialect.ANTHROPIC:
        return _OlderClaudeTally() if is_older_claude(model) else _ClaudeTally()
    if dialect is Dialect.GEMINI:
        return _GeminiTally()
    if not is_openai(model):
        return _OtherTally()
    return _ExactTally(encoding_of(model))


class _ExactTally(Tally):
    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self._counting = TextCount(encoding)

    def text(self, text: str) -> None:
        self._counting.add(text)

    def _text_tokens(self) -> int:
        return self._counting.tokens


class _MeasuredTally(Tally):
    """What the bounds are made of; they are taken of the sums, so that many small texts round up once."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = TextCount(Encoding.O200K)
        self._characters = 0
        self._bytes = 0
        self._digits = 0

    def text(self, text: str) -> None:
        raw = text.encode(errors="replace")
        self._counting.add(text)
        self._characters += len(text)
        self._bytes += len(raw)
        self._digits += len(raw) - len(raw.translate(None, _DIGITS))

    @property
    def _counted(self) -> int:
        return self._counting.tokens


class _OtherTally(_MeasuredTally):
    def _text_tokens(self) -> int:
        foreign = self._bytes - self._characters  # half of the bytes of two-byte letters, two thirds of three
        return _up(5 * self._counted, 4) + _up(foreign, 2) + _up(2 * self._digits, 3)


class _OlderClaudeTally(_MeasuredTally):
    def _text_tokens(self) -> int:
        return max(_up(6 * self._counted, 5), _up(2 * self._characters, 7))


class _ClaudeTally(_MeasuredTally):
    def _text_tokens(self) -> int:
        bound = _up(8 * self._counted, 5)
        if self._bytes >= 4 * self._counted:  # prose: a vocabulary that knows its words
            bound = min(bound, _up(5 * self._bytes, 14))
        return max(bound, _up(2 * self._characters, 7))


class _GeminiTally(_MeasuredTally):
    def _text_tokens(self) -> int:
        return max(_up(6 * self._counted, 5) + _up(2 * self._digits, 3), _up(self._characters, 4))


def _up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
