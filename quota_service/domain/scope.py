"""Which requests a budget applies to."""

from __future__ import annotations

from dataclasses import dataclass

from quota_service.domain.subject import Dimension, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """Gives every value of a dimension a counter of its own. `max_values` bounds the counters of a tag; 0 is
    unbounded.
    """

    dimension: Dimension
    tag: str = ""
    max_values: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Equalities that a request must meet; empty ones (`None` for the tier) match everything."""

    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    cost_center: str = ""
    provider: str = ""
    model: str = ""
    tier: int | None = None
    tags: tuple[tuple[str, str], ...] = ()
    each: Each | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What budgets look at in a request: the completed subject and the model as the catalogue names it."""

    subject: Subject
    provider: str
    model: str
    tier: int | None


def matches(scope: Scope, facts: Facts) -> bool:
    """Whether the request meets every equality of the scope."""
    subject = facts.subject
    return (
        scope.team in ("", subject.team)
        and scope.user in ("", subject.user)
        and scope.api_key in ("", subject.api_key)
        and scope.project in ("", subject.project)
        and scope.cost_center in ("", subject.cost_center)
        and scope.provider in ("", facts.provider)
        and scope.model in ("", facts.model)
        and scope.tier in (None, facts.tier)
        and all(pair in subject.tags for pair in scope.tags)
    )


def each_value(scope: Scope, facts: Facts) -> str:
    """The value whose counter the request falls under; "" without `each`, and where the dimension is
    missing.
    """
    if scope.each is None:
        return ""
    if scope.each.dimension is Dimension.TAG:
        return dict(facts.subject.tags).get(scope.each.tag, "")
    return dimension_value(facts, scope.each.dimension)


def dimension_value(facts: Facts, dimension: Dimension) -> str:
    """The request's value on a dimension (tags excepted), "" where it has none."""
    subject = facts.subject
    match dimension:
        case Dimension.ORGANIZATION:
            return subject.organization
        case Dimension.TEAM:
            return subject.team
        case Dimension.USER:
            return subject.user
        case Dimension.API_KEY:
            return subject.api_key
        case Dimension.PROJECT:
            return subject.project
        case Dimension.COST_CENTER:
            return subject.cost_center
        case Dimension.PROVIDER:
            return facts.provider
        case Dimension.MODEL:
            return facts.model
        case Dimension.TIER:
            return "" if facts.tier is None else str(facts.tier)
        case Dimension.TAG:
            return ",".join(key for key, _ in subject.tags)
