"""Finds what a request falls under without looking at all that an organization has."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from quota_service.domain.scope import Facts, Scope, matches


class Scoped(Protocol):
    """What applies to the requests of a scope."""

    @property
    def id(self) -> str: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def disabled(self) -> bool: ...


S = TypeVar("S", bound=Scoped)


class Matching(Generic[S]):
    """Each is kept under one of its scope's equalities: the one that the fewest requests are likely to meet.
    So however many there are, a request looks at those that name what it names itself, and at those that name
    nothing.
    """

    def __init__(self, all_: Mapping[str, S]) -> None:
        self._all = all_
        self._kept: dict[Hashable, tuple[S, ...]] = {}
        self._keep(all_.values())

    def after(self, all_: Mapping[str, S]) -> Matching[S]:
        """The same for what there is after a change, which mostly is of very little."""
        before = self._all
        gone = [each for id_, each in before.items() if all_.get(id_) is not each]
        more = [each for id_, each in all_.items() if before.get(id_) is not each]
        if not gone and not more:
            return self
        after = Matching[S]({})
        after._all, after._kept = all_, dict(self._kept)
        for each in gone:
            place = _place(each.scope)
            after._kept[place] = tuple(other for other in after._kept.get(place, ()) if other is not each)
            if not after._kept[place]:
                del after._kept[place]
        after._keep(more)
        return after

    def _keep(self, more: Iterable[S]) -> None:
        places: dict[Hashable, list[S]] = {}
        for each in more:
            if not each.disabled:
                places.setdefault(_place(each.scope), []).append(each)
        for place, found in places.items():
            self._kept[place] = (*self._kept.get(place, ()), *found)

    def of(self, facts: Facts) -> tuple[S, ...]:
        """All that match, by id."""
        kept = self._kept
        found = [
            each for place in _places(facts) for each in kept.get(place, ()) if matches(each.scope, facts)
        ]
        return tuple(sorted(found, key=lambda each: each.id))


def _place(scope: Scope) -> Hashable:
    """What tells most requests apart comes first."""
    if scope.api_key:
        return "api_key", scope.api_key
    if scope.user:
        return "user", scope.user
    if scope.project:
        return "project", scope.project
    if scope.tags:
        return "tag", *scope.tags[0]
    for name in ("team", "cost_center", "model", "provider", "tier"):
        if (value := getattr(scope, name)) not in ("", None):
            return name, value
    return None


def _places(facts: Facts) -> Iterator[Hashable]:
    """Where what a request falls under may be kept."""
    subject = facts.subject
    yield None
    yield "api_key", subject.api_key
    yield "user", subject.user
    yield "project", subject.project
    for tag, value in subject.tags:
        yield "tag", tag, value
    yield "team", subject.team
    yield "cost_center", subject.cost_center
    yield "model", facts.model
    yield "provider", facts.provider
    yield "tier", facts.tier
