"""What must hold for a model policy, and what it refers to. Field paths are relative to the policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quota_service.domain.faults import Fault
from quota_service.domain.model_policy import ANY_MODEL, ModelPolicy
from quota_service.domain.scope_rules import TIER_MAX, Reference
from quota_service.domain.subject import Dimension

TIERS_MAX = 100
MODELS_MAX = 1_000


def faults(policy: ModelPolicy) -> tuple[Fault, ...]:
    """Everything that is wrong with the policy by itself. One that allows nothing is sound."""
    return (*_tier_faults(policy.allowed_tiers), *_model_faults(policy.allowed_models))


def references(policy: ModelPolicy) -> tuple[Reference, ...]:
    """Everything that must exist for the policy to make sense."""
    team = (Reference("team", Dimension.TEAM, policy.team),) if policy.team else ()
    models = (
        Reference(f"allowed_models[{index}]", Dimension.PROVIDER, provider)
        if model == ANY_MODEL
        else Reference(f"allowed_models[{index}]", Dimension.MODEL, model, provider)
        for index, (provider, model) in enumerate(policy.allowed_models)
    )
    return (*team, *models)


def owner(policy: ModelPolicy) -> str:
    """Whose policy it is, as the subject of a sentence."""
    return f"team “{policy.team}”" if policy.team else "the organization"


def rival(policy: ModelPolicy, others: Iterable[ModelPolicy]) -> ModelPolicy | None:
    """Another policy of the same team, or of the organization too, switched on or not."""
    return next((other for other in others if other.id != policy.id and other.team == policy.team), None)


def _tier_faults(tiers: tuple[int, ...]) -> Iterator[Fault]:
    if len(tiers) > TIERS_MAX:
        yield Fault("allowed_tiers", f"must be at most {TIERS_MAX}")
    for index, tier in enumerate(tiers):
        if not 0 <= tier <= TIER_MAX:
            yield Fault(f"allowed_tiers[{index}]", f"must be 0–{TIER_MAX}")
        elif tier in tiers[:index]:
            yield Fault(f"allowed_tiers[{index}]", f"{tier} is listed twice")


def _model_faults(models: tuple[tuple[str, str], ...]) -> Iterator[Fault]:
    if len(models) > MODELS_MAX:
        yield Fault("allowed_models", f"must be at most {MODELS_MAX}")
    seen: set[tuple[str, str]] = set()
    for index, key in enumerate(models):
        if not all(key):
            yield Fault(
                f"allowed_models[{index}]", "must be provider/model, or provider/* for all its models"
            )
        elif key in seen:
            yield Fault(f"allowed_models[{index}]", f"“{'/'.join(key)}” is listed twice")
        seen.add(key)
