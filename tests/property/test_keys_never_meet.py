"""Whatever ids somebody chooses: no key in Valkey is another thing's, or another organization's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from quota_service.domain.amounts import Meter
from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import ID_PATTERN
from quota_service.stores.valkey.keys import Keys

KEYS = Keys("quota/")

ids = st.from_regex(ID_PATTERN, fullmatch=True).map(lambda id_: id_[:12]) | st.sampled_from(
    ["a", "a|b", "window", "key", "1", "meta", "holds"]
)
anything = st.text("ab/{}:1", max_size=8) | st.sampled_from(
    ["", "}/meta", "b/1/", "}/window/a/1/", "a}/key/x", "hold:x"]
)
numbers = st.integers(0, 20)
windows = st.builds(WindowRef, ids, anything, numbers, st.just(None))
uuids = st.uuids(version=4).map(str)

rates = st.builds(
    RateTerm, ids, anything, st.sampled_from(Meter), st.integers(1, 3), st.integers(1, 3), burst=st.just(1)
)

Thing = tuple[Callable[[str, Any], str], Any]
"""What makes a key, and what the key is about."""

things: st.SearchStrategy[Thing] = st.one_of(
    st.tuples(st.just(KEYS.hold), uuids),
    st.tuples(st.just(KEYS.idempotency), anything),
    st.tuples(st.just(KEYS.record), anything),
    st.tuples(st.just(KEYS.window), windows),
    st.tuples(st.just(KEYS.values), windows.map(lambda window: window._replace(each_value=""))),
    st.tuples(st.just(KEYS.gauge), rates),
)


@given(ids, ids, things, things)
@example("a", "b", (KEYS.idempotency, "}/{b}/meta"), (KEYS.idempotency, "meta"))
@example("a", "a", (KEYS.window, WindowRef("w", "2/x", 1, None)), (KEYS.window, WindowRef("w", "x", 1, None)))
def test_a_key_is_of_one_thing_of_one_organization(one: str, other: str, this: Thing, that: Thing) -> None:
    assume((one, *this) != (other, *that))
    key = this[0](one, this[1])
    assert key != that[0](other, that[1])
    assert key not in KEYS.common(other)
    # Redis Cluster's rule: what stands between the first { and the first } after it says where a key is.
    assert key.partition("{")[2].partition("}")[0] == one
