"""Model policies: which models a team may use at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quota_service.domain.pricing import Model

ANY_MODEL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPolicy:
    """Allows a team the models of some tiers, and some by name (provider and model; `*` is any model of the
    provider). `team` "": every team that has no policy of its own, and whoever has no team.
    """

    id: str
    display_name: str = ""
    team: str = ""
    allowed_tiers: tuple[int, ...] = ()
    allowed_models: tuple[tuple[str, str], ...] = ()
    disabled: bool = False


def policy_for(team: str, policies: Mapping[str, ModelPolicy]) -> ModelPolicy | None:
    """The policy in force for a team: its own, else the organization's; `None`: every model is allowed."""
    by_team = {policy.team: policy for _, policy in sorted(policies.items()) if not policy.disabled}
    return by_team.get(team) or by_team.get("")


def allows(policy: ModelPolicy, model: Model) -> bool:
    """Whether the policy lets a model pass."""
    return model.tier in policy.allowed_tiers or any(
        provider == model.provider and name in (ANY_MODEL, model.model)
        for provider, name in policy.allowed_models
    )
