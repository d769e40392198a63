"""Tokens are counted offline: exactly where text is short, never too low where it is cut, in linear time."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.edge.dialects import tokens
from quota_service.edge.dialects.tokens import CUT_TOKENS, PIECE_CHARACTERS, Encoding, count

MEGABYTE = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    tokens.load()


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),  # OpenAI's own example
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
        ("<|endoftext|>", 7, 7),
    ],
)
def test_known_texts_have_the_published_counts(text: str, o200k: int, cl100k: int) -> None:
    assert (count(text), count(text, Encoding.CL100K)) == (o200k, cl100k)


def test_half_a_character_does_no_harm() -> None:
    assert count("a\ud83db") > 0


def test_loading_needs_no_network_no_home_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = (
        "import os, socket; import quota_service; socket.socket = None; before = dict(os.environ)\n"
        "from quota_service.edge.dialects import tokens\n"
        "tokens.load(); assert tokens.count('hello world') == 2 and dict(os.environ) == before"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_that_somebody_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tokens._SHA256, Encoding.CL100K, "0" * 64)
    with pytest.raises(tokens.VocabularyBroken, match="cl100k_base"):
        tokens._ranks(Encoding.CL100K)


def test_long_prose_has_exactly_the_count_of_one_piece() -> None:
    text = "The quick brown fox can't jump over 12345 lazy dogs; it's late.\n\n  Really? " * 300
    assert len(text) > 5 * PIECE_CHARACTERS
    for encoding in Encoding:
        assert count(text, encoding) == len(tokens._tokenizer(encoding).encode_ordinary(text))


def test_no_cut_is_made_where_spaces_are_many() -> None:
    text = "one two" + "   three" * 2_000
    for encoding in Encoding:
        whole = len(tokens._tokenizer(encoding).encode_ordinary(text))
        assert whole + CUT_TOKENS <= count(text, encoding) <= whole + 4 * CUT_TOKENS


ALPHABETS = ["ab", "aA1 ", " \n\t", "!?.", "漢字かな", "ضصثق", "e\u0301", "aZ09+/", "the quick brown fox "]


@given(
    alphabet=st.sampled_from(ALPHABETS),
    period=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    extra=st.integers(1, PIECE_CHARACTERS),
)
def test_a_text_that_is_cut_never_counts_less(alphabet: str, period: int, seed: int, extra: int) -> None:
    letters = random.Random(seed).choices(alphabet, k=period)
    text = ("".join(letters) * (2 * PIECE_CHARACTERS))[: PIECE_CHARACTERS + extra]
    for encoding in Encoding:
        whole = len(tokens._tokenizer(encoding).encode_ordinary(text))
        assert whole <= count(text, encoding) <= whole + 3 * CUT_TOKENS


@pytest.mark.parametrize(
    "make",
    [
        lambda: "a" * MEGABYTE,
        lambda: " " * MEGABYTE,
        lambda: "\n" * MEGABYTE,
        lambda: "漢" * (MEGABYTE // 3),
        lambda: "\u0301" * (MEGABYTE // 2),
        lambda: base64.b64encode(random.Random(1).randbytes(MEGABYTE * 3 // 4)).decode(),
        lambda: "".join(random.Random(2).choices("abcdefghij", k=MEGABYTE)),
        lambda: "".join(random.Random(3).choices(" \n\t", k=MEGABYTE)),
    ],
    ids=["letter", "spaces", "newlines", "han", "accents", "base64", "letters", "whitespace"],
)
def test_no_text_takes_more_than_linear_time(make: Callable[[], str]) -> None:
    """A megabyte takes a quarter of a second at most; ten times that is allowed for a busy machine."""
    text = make()
    started = time.process_time()
    count(text)
    assert time.process_time() - started < 2.5


def test_counting_lets_other_threads_run() -> None:
    """The longest that another thread waits for its turn while a megabyte is counted, in seconds."""
    text = "".join(random.Random(2).choices("abcdefghij ", k=MEGABYTE))
    counter = threading.Thread(target=count, args=(text,))
    counter.start()
    longest = 0.0
    while counter.is_alive():
        before = time.perf_counter()
        time.sleep(0)
        longest = max(longest, time.perf_counter() - before)
    assert longest < 0.1


def test_nobody_waits_for_an_encoding_that_was_not_read_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = threading.Event()
    monkeypatch.setattr(tokens, "_loaded", set())
    monkeypatch.setattr(tokens, "_loading", set())
    monkeypatch.setattr(tokens, "load", lambda *_: loaded.set())
    assert tokens.counter(Encoding.O200K)("about four characters a token") == 8
    assert loaded.wait(5)
    loaded.clear()
    tokens.counter(Encoding.O200K)
    assert not loaded.is_set()
