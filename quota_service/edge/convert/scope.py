"""Which requests a budget or a rate limit applies to."""

from __future__ import annotations

from quota.v1 import budget_pb2, types_pb2
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension


def scope(value: Scope) -> budget_pb2.Scope:
    """A scope as a message; its owner's name tells the organization."""
    return budget_pb2.Scope(
        team=value.team,
        user=value.user,
        api_key=value.api_key,
        project=value.project,
        cost_center=value.cost_center,
        provider=value.provider,
        model=value.model,
        tier=value.tier,
        tags=dict(value.tags),
        each=None if value.each is None else _each(value.each),
    )


def scope_of(message: budget_pb2.Scope, organization: str, owner: str = "budget") -> Scope:
    """The scope of a message. Raises InvalidRequest where it names another organization than its owner's.

    `owner` is what it is the scope of, as requests call it.
    """
    if message.organization not in ("", organization):
        raise InvalidRequest(
            FieldProblem(
                f"{owner}.scope.organization",
                f"the {owner.replace('_', ' ')} belongs to organization “{organization}”",
            )
        )
    return Scope(
        team=message.team,
        user=message.user,
        api_key=message.api_key,
        project=message.project,
        cost_center=message.cost_center,
        provider=message.provider,
        model=message.model,
        tier=message.tier if message.HasField("tier") else None,
        tags=tuple(sorted(message.tags.items())),
        each=_each_of(message.each) if message.HasField("each") else None,
    )


def _each(value: Each) -> budget_pb2.Each:
    return budget_pb2.Each(
        dimension=types_pb2.Dimension.ValueType(value.dimension), tag=value.tag, max_values=value.max_values
    )


def _each_of(message: budget_pb2.Each) -> Each:
    return Each(dimension=Dimension(message.dimension), tag=message.tag, max_values=message.max_values)
