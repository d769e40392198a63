"""Everything of an organization that decisions depend on, at one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quota_service.domain.budget import Budget
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Directory, Organization

ModelKey = tuple[str, str]
"""Provider and model, as the catalogue names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One organization's settings, directory, budgets and models at `version`; replaced as a whole.

    `own_models` are the organization's entries; they come before `imported_models`, which all organizations
    share.
    """

    version: int
    organization: Organization
    directory: Directory = field(default_factory=Directory)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    model_policies: Mapping[str, ModelPolicy] = field(default_factory=dict)
    own_models: Mapping[ModelKey, Model] = field(default_factory=dict)
    imported_models: Mapping[ModelKey, Model] = field(default_factory=dict)

    def model(self, provider: str, model: str) -> Model | None:
        """The catalogue's entry of exactly this name."""
        key = (provider, model)
        return self.own_models.get(key) or self.imported_models.get(key)
