"""Model policies."""

from __future__ import annotations

from quota.v1 import model_policy_pb2
from quota_service.application.ports import Stored
from quota_service.domain.model_policy import ModelPolicy
from quota_service.edge import names
from quota_service.edge.convert.times import timestamp


def model_policy(organization: str, stored: Stored[ModelPolicy]) -> model_policy_pb2.ModelPolicy:
    """A model policy as a message."""
    value = stored.value
    return model_policy_pb2.ModelPolicy(
        name=names.resource_name(organization, names.MODEL_POLICIES, value.id),
        display_name=value.display_name,
        team=value.team,
        allowed_tiers=value.allowed_tiers,
        allowed_models=["/".join(key) for key in value.allowed_models],
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def model_policy_of(message: model_policy_pb2.ModelPolicy, organization: str, id_: str) -> ModelPolicy:
    """A model policy of a message; name, etag and times are not looked at."""
    return ModelPolicy(
        id=id_,
        display_name=message.display_name,
        team=message.team,
        allowed_tiers=tuple(message.allowed_tiers),
        allowed_models=tuple(_key_of(name) for name in message.allowed_models),
        disabled=message.disabled,
    )


def _key_of(name: str) -> tuple[str, str]:
    """Provider and model; only the model's part may have slashes."""
    provider, _, model = name.partition("/")
    return provider, model
