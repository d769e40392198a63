"""What must hold for a scope, and what a resource refers to. Field paths are relative to the resource."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from quota_service.domain.faults import Fault
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension

TIER_MAX = 1_000
EACH_VALUES_MAX = 1_000_000


class Reference(NamedTuple):
    """Something that a resource names: a dimension's `value`, at `field`. No `provider`: a model of any."""

    field: str
    dimension: Dimension
    value: str
    provider: str = ""


def scope_faults(scope: Scope) -> Iterator[Fault]:
    """Everything that is wrong with the scope by itself, without looking at what it refers to."""
    if scope.tier is not None and not 0 <= scope.tier <= TIER_MAX:
        yield Fault("scope.tier", f"must be 0–{TIER_MAX}")
    if scope.each is not None:
        yield from _each_faults(scope.each)


def scope_references(scope: Scope) -> tuple[Reference, ...]:
    """Everything that must exist for the scope to match anything."""
    named = (
        Reference("scope.team", Dimension.TEAM, scope.team),
        Reference("scope.user", Dimension.USER, scope.user),
        Reference("scope.api_key", Dimension.API_KEY, scope.api_key),
        Reference("scope.project", Dimension.PROJECT, scope.project),
        Reference("scope.cost_center", Dimension.COST_CENTER, scope.cost_center),
        Reference("scope.provider", Dimension.PROVIDER, scope.provider),
        Reference("scope.model", Dimension.MODEL, scope.model, scope.provider),
    )
    return tuple(reference for reference in named if reference.value)


def _each_faults(each: Each) -> Iterator[Fault]:
    is_tag = each.dimension is Dimension.TAG
    if each.dimension is Dimension.ORGANIZATION:
        yield Fault(
            "scope.each.dimension", "all of it belongs to one organization: there is nothing to tell apart"
        )
    if is_tag and not each.tag:
        yield Fault("scope.each.tag", "is required with DIMENSION_TAG")
    if not is_tag and each.tag:
        yield Fault("scope.each.tag", "only goes with DIMENSION_TAG")
    if is_tag and not each.max_values:
        yield Fault(
            "scope.each.max_values", "is required with DIMENSION_TAG: callers make up tags as they like"
        )
    if not 0 <= each.max_values <= EACH_VALUES_MAX:
        yield Fault("scope.each.max_values", f"must be 0–{EACH_VALUES_MAX}")
