"""Whatever one thing is done to a chain, it is found, and named."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from quota_service.domain.audit import (
    AuditEvent,
    Authorship,
    Changed,
    Finding,
    Head,
    Link,
    Tampering,
    broken_links,
    chained,
    differences,
)

texts = st.text(max_size=5)
authors = st.builds(Authorship, texts, texts, texts, texts)
changes = st.builds(Changed, texts, st.none() | texts, st.none() | texts)
hashes = st.binary(min_size=32, max_size=32)


@st.composite
def chains(draw: st.DrawFn) -> list[AuditEvent]:
    told = draw(st.lists(changes, min_size=1, max_size=5))
    return [*chained("acme", Head(), draw(st.integers(0, 10**15)), draw(authors), told)]


def found(events: list[AuditEvent]) -> list[Finding]:
    links = [Link(each.sequence, each.previous, each.hash, each.digest()) for each in events]
    return [*broken_links(Head(), links)]


@given(chains())
def test_a_chain_as_it_was_written_is_whole(events: list[AuditEvent]) -> None:
    assert found(events) == []


@given(chains(), st.data())
def test_an_event_that_was_changed_is_named_whatever_was_changed(
    events: list[AuditEvent], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    event = events[place]
    other = data.draw(
        st.one_of(
            authors.map(lambda by: replace(event, by=by)),
            changes.map(lambda changed: replace(event, changed=changed)),
            st.integers().map(lambda us: replace(event, create_us=us)),
            texts.map(lambda organization: replace(event, organization=organization)),
            hashes.map(lambda hash_: replace(event, hash=hash_)),
            hashes.map(lambda previous: replace(event, previous=previous)),
        ).filter(lambda other: other != event)
    )
    assert Finding(Tampering.CHANGED, event.sequence) in found([*events[:place], other, *events[place + 1 :]])
    anew = replace(other, hash=other.digest())
    if anew != event and place + 1 < len(events):
        assert found([*events[:place], anew, *events[place + 1 :]])[-1] == (
            Tampering.UNCHAINED,
            event.sequence + 1,
            False,
        )


@given(chains(), st.data())
def test_an_event_that_is_gone_is_named_unless_it_was_the_newest(
    events: list[AuditEvent], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    rest = events[:place] + events[place + 1 :]
    expected = [Finding(Tampering.MISSING, place + 1)] if place + 1 < len(events) else []
    assert found(rest) == expected


@given(st.dictionaries(st.integers(1, 9), hashes), st.dictionaries(st.integers(1, 9), hashes))
def test_entries_differ_from_their_seals_in_exactly_what_is_named(
    sealed: dict[int, bytes], there: dict[int, bytes]
) -> None:
    named = {finding.number: finding.tampering for finding in differences(sealed, there)}
    assert named == {
        number: Tampering.MISSING
        if number not in there
        else Tampering.ADDED
        if number not in sealed
        else Tampering.CHANGED
        for number in sealed.keys() | there.keys()
        if sealed.get(number) != there.get(number)
    }
