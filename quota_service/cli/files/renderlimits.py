"""Rate limits and model policies as YAML."""

from __future__ import annotations

from ruamel.yaml.nodes import Node

from quota.v1 import budget_pb2, model_policy_pb2
from quota_service.cli.files.limits import METERS
from quota_service.cli.files.nodes import empty, mapping, optional, plain, sequence, string
from quota_service.cli.files.renderbudget import each_node, scope_node
from quota_service.cli.units import duration_text

_METER_NAMES = {number: name for name, number in METERS.items()}


def rate_limit_node(message: budget_pb2.RateLimit) -> Node:
    """One rate limit, without its id."""
    amount = {_METER_NAMES.get(message.meter, ""): plain(str(message.limit))}
    return mapping(
        {
            "name": optional(message.display_name),
            "scope": scope_node(message.scope),
            "each": each_node(message.scope.each) if message.scope.HasField("each") else None,
            "limit": mapping(amount, in_line=True),
            "per": string(duration_text(message.interval.seconds)),
            "burst": plain(str(message.burst)) if message.burst else None,
            "disabled": plain("true") if message.disabled else None,
        }
    )


def model_policy_node(message: model_policy_pb2.ModelPolicy) -> Node:
    """One model policy, without its id. One that allows nothing says so."""
    models = sequence(map(string, message.allowed_models), in_line=True)
    allows_nothing = not message.allowed_tiers and not message.allowed_models
    return mapping(
        {
            "name": optional(message.display_name),
            "team": optional(message.team),
            "tiers": sequence((plain(str(tier)) for tier in message.allowed_tiers), in_line=True),
            "models": empty() if allows_nothing else models,
            "disabled": plain("true") if message.disabled else None,
        }
    )
