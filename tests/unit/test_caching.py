"""What can be worked out again is kept while it is used, in so much memory at most."""

from __future__ import annotations

import gc

from quota_service.application.caching import Cache, Room


def cache(room: Room, entry_bytes: int = 1) -> Cache[str, int]:
    return room.cache(lambda _: entry_bytes)


def test_what_was_put_is_there_until_the_room_is_needed() -> None:
    kept = cache(Room(8))
    for number, key in enumerate("abcd"):
        kept.put(key, number)
    assert [kept.get(key) for key in "abcd?"] == [0, 1, 2, 3, None]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    kept = cache(Room(8))
    for number in range(1_000):
        kept.put(str(number), number)
        assert len(kept) <= 8
    assert len(kept) > 4


def test_what_is_used_stays_and_what_is_not_goes_first() -> None:
    kept = cache(Room(8))
    kept.put("used", 1)
    kept.put("idle", 2)
    for number in range(1_000):
        kept.put(str(number), number)
        assert kept.get("used") == 1
    assert kept.get("idle") is None


def test_a_value_replaces_the_one_before_and_takes_no_more_room() -> None:
    kept = cache(Room(8))
    kept.put("other", 0)
    for number in range(1_000):
        kept.put("again", number)
        assert kept.get("again") == number
    assert (kept.get("other"), len(kept)) == (0, 2)


def test_a_value_that_was_not_used_for_a_while_is_replaced_for_good() -> None:
    kept = cache(Room(8))
    kept.put("a", 1)
    for key in "wxyz":
        kept.put(key, 0)
    kept.put("a", 2)
    assert kept.get("a") == 2
    for key in "bcd":
        kept.put(key, 0)
    assert kept.get("a") == 2


def test_caches_share_a_room_by_what_their_entries_take() -> None:
    room = Room(80)
    large, small = cache(room, 10), cache(room, 1)
    for number in range(1_000):
        large.put(str(number), number)
        small.put(str(number), number)
        assert len(large) * 10 + len(small) <= 80


def test_a_cache_that_is_filled_makes_an_idle_one_forget() -> None:
    room = Room(8)
    idle, filled = cache(room), cache(room)
    idle.put("a", 1)
    for number in range(9):
        filled.put(str(number), number)
    assert idle.get("a") is None


def test_a_cache_that_nobody_has_any_more_is_not_kept_by_its_room() -> None:
    room = Room(8)
    given_up, kept = cache(room), cache(room)
    given_up.put("a", 1)
    del given_up
    gc.collect()
    for number in range(20):
        kept.put(str(number), number)
    assert len(room._caches) == 1
