"""Which requests a budget or a rate limit is about: its `scope`, and its `each`."""

from __future__ import annotations

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files.directory import DIMENSIONS, Declarations
from quota_service.cli.files.fields import text, whole
from quota_service.cli.files.models import LARGEST_TIER
from quota_service.cli.files.reading import Value
from quota_service.cli.files.state import Kind

LARGEST_VALUES = 1_000_000

_SUBJECT_KINDS = {"team": Kind.TEAM, "user": Kind.USER, "key": Kind.KEY, "project": Kind.PROJECT}


def read_scope(value: Value, into: Declarations) -> budget_pb2.Scope:
    """Equalities such as `{team: sales, provider: openai}`, without `each`."""
    fields = value.fields(*_SUBJECT_KINDS, "cost_center", "provider", "model", "tier", "tags")
    mentioned = {
        name: into.mention(fields[name], kind) for name, kind in _SUBJECT_KINDS.items() if name in fields
    }
    scope = budget_pb2.Scope(
        team=mentioned.get("team", ""),
        user=mentioned.get("user", ""),
        api_key=mentioned.get("key", ""),
        project=mentioned.get("project", ""),
        cost_center=text(fields, "cost_center"),
        provider=text(fields, "provider"),
        model=text(fields, "model"),
    )
    if scope.provider and scope.model:
        into.refer(fields["model"], (Kind.MODEL, f"{scope.provider}/{scope.model}"))
    if "tier" in fields:
        scope.tier = whole(fields, "tier", largest=LARGEST_TIER)
    if "tags" in fields:
        scope.tags.update({tag: entry.text() for tag, entry in fields["tags"].entries().items()})
    return scope


def read_each(value: Value) -> budget_pb2.Each:
    """A dimension such as `user`, or `{tag: run_id, max_values: 1000}`."""
    if value.is_scalar:
        dimension = DIMENSIONS.get(value.choice(DIMENSIONS), types_pb2.DIMENSION_UNSPECIFIED)
        return budget_pb2.Each(dimension=dimension)
    fields = value.fields("dimension", "tag", "max_values")
    max_values = whole(fields, "max_values", largest=LARGEST_VALUES)
    each = budget_pb2.Each(tag=text(fields, "tag"), max_values=max_values)
    if ("tag" in fields) == ("dimension" in fields):
        value.problem("needs either a dimension or a tag")
    elif "tag" in fields:
        each.dimension = types_pb2.DIMENSION_TAG
        if not each.max_values:
            value.problem("a tag can have any number of values: say how many are counted, with max_values")
    else:
        each.dimension = DIMENSIONS.get(fields["dimension"].choice(DIMENSIONS), each.dimension)
    return each
