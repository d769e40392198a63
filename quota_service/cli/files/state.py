"""What an organization consists of: resources as the API has them, in the order of their dependence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, model_policy_pb2
from quota_service.cli.files.reading import Place

Resource = (
    directory_pb2.Organization
    | directory_pb2.Team
    | directory_pb2.User
    | directory_pb2.Project
    | directory_pb2.ApiKey
    | catalog_pb2.Model
    | model_policy_pb2.ModelPolicy
    | budget_pb2.RateLimit
    | budget_pb2.Budget
)


class Kind(IntEnum):
    """Kinds of resources. A kind refers only to earlier ones, and a budget may divert only to what policies
    allow.
    """

    ORGANIZATION = 0
    TEAM = 1
    USER = 2
    PROJECT = 3
    KEY = 4
    MODEL = 5
    MODEL_POLICY = 6
    RATE_LIMIT = 7
    BUDGET = 8

    @property
    def label(self) -> str:
        return "API key" if self is Kind.KEY else self.name.lower().replace("_", " ")

    @property
    def plural(self) -> str:
        if self is Kind.ORGANIZATION:
            return self.label
        return "model policies" if self is Kind.MODEL_POLICY else f"{self.label}s"


COLLECTIONS = {
    Kind.TEAM: "teams",
    Kind.USER: "users",
    Kind.PROJECT: "projects",
    Kind.KEY: "apiKeys",
    Kind.MODEL_POLICY: "modelPolicies",
    Kind.RATE_LIMIT: "rateLimits",
    Kind.BUDGET: "budgets",
}

Key = tuple[Kind, str]
"""A kind and an id; a model's id is `provider/model`."""

State = dict[Key, Resource]
"""The resources of one organization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A resource as a file wants it.

    `keeps_frozen`: the file does not say whether it is frozen, so an emergency freeze survives.
    `only_if_absent`: it is created where it is missing and otherwise left alone.
    """

    message: Resource
    place: Place
    keeps_frozen: bool = False
    only_if_absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A mention of another resource. One that is not `required` only earns a warning."""

    key: Key
    path: str
    place: Place
    required: bool = True


@dataclass(slots=True, kw_only=True)
class Desired:
    """What files want of one organization."""

    organization: str
    resources: dict[Key, Declared] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)


def name_of(organization: str, key: Key) -> str:
    """The resource name; for a model `provider/model`, since models have none."""
    kind, identifier = key
    if kind is Kind.ORGANIZATION:
        return f"organizations/{organization}"
    if kind is Kind.MODEL:
        return identifier
    return f"organizations/{organization}/{COLLECTIONS[kind]}/{identifier}"
