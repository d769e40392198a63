"""What rate limits take and give back, over a time that the test says."""

from __future__ import annotations

from quota_service.domain import commands, ratelimit
from quota_service.domain.amounts import Meter
from quota_service.domain.book import Book
from quota_service.domain.ratelimit import Gauge, RateLimit
from tests.support.commands import authorize, commit, draft, extend, release

RATE = ratelimit.term_of(
    RateLimit(id="tpm", meter=Meter.TOKENS, limit=1_000, interval_ms=1_000, burst=100), ""
)
"""A token drains in a millisecond, and 100 may pass at once."""


def taken(book: Book, name: str, tokens: int, now_ms: int) -> None:
    """Holds so many tokens."""
    asked = authorize(draft("acme", name, input_tokens=tokens), rates=(RATE,), ttl_ms=1_000)
    assert isinstance(book.authorize(asked, now_ms), commands.Granted)


def room(book: Book, now_ms: int) -> int:
    return ratelimit.room(RATE, book.gauges.get(RATE.key, Gauge()), now_ms)


def test_what_was_not_used_returns_as_far_as_time_has_not_given_it_back() -> None:
    book = Book()
    taken(book, "r", 100, 0)
    book.commit(commit(draft("acme", "r"), 30), 60)
    assert room(book, 60) == 100  # 60 by time, and 40 of the 70 that were not used


def test_more_tokens_do_not_bring_back_what_time_has_given_back_of_the_first() -> None:
    book = Book()
    taken(book, "early", 100, 0)
    taken(book, "others", 90, 100)
    more = extend(draft("acme", "early"), rates=(RATE,), tokens=10, request_id="x")
    assert isinstance(book.extend(more, 100), commands.Granted)
    assert room(book, 100) == 0
    book.release(release(draft("acme", "early")), 100)
    assert room(book, 100) == 10


def test_what_is_not_used_is_what_was_taken_last() -> None:
    book = Book()
    taken(book, "r", 50, 0)
    more = extend(draft("acme", "r"), rates=(RATE,), tokens=40, request_id="x")
    assert isinstance(book.extend(more, 20), commands.Granted)
    book.commit(commit(draft("acme", "r"), 50), 30)
    assert room(book, 30) == 80  # of the first 50, 20 have not drained


def test_a_late_commit_takes_again_what_the_end_had_given_back() -> None:
    book = Book()
    taken(book, "r", 100, 0)
    book.release(release(draft("acme", "r")), 10)
    assert room(book, 10) == 100
    book.commit(commit(draft("acme", "r"), 120), 40)
    assert room(book, 40) == 20  # of the 100 held, 60 would be left; 20 above it come on top


def test_a_late_commit_takes_nothing_that_time_would_have_given_back_by_then() -> None:
    book = Book()
    taken(book, "r", 100, 0)
    book.expire(1_000)
    book.commit(commit(draft("acme", "r"), 100), 2_000)
    assert room(book, 2_000) == 100
