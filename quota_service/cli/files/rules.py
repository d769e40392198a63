"""The server's own rules, asked before the first change is made: of each resource by itself, and of what will
stand beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from quota.client import Connection
from quota.v1 import budget_pb2, catalog_pb2, model_policy_pb2
from quota_service.cli.files.changes import Action, Change, Plan, overlay, zone_of
from quota_service.cli.files.server import get_model
from quota_service.cli.files.state import Kind, Resource, State
from quota_service.domain import budget_rules, ladder_rules, model_policy_rules, ratelimit_rules
from quota_service.domain.budget import Budget
from quota_service.domain.configuration import ModelKey
from quota_service.domain.faults import Fault
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.edge.convert.budget import budget_of
from quota_service.edge.convert.catalog import model_of
from quota_service.edge.convert.model_policy import model_policy_of
from quota_service.edge.convert.ratelimit import rate_limit_of

R = TypeVar("R", bound=Resource)


class Rules:
    """What a plan leads to, and what the server would refuse of it."""

    def __init__(self, plan: Plan, state: State, connection: Connection) -> None:
        self._organization = plan.organization
        self._before = state
        self._after = overlay(state, plan)
        self._connection = connection

    async def faults(self, change: Change) -> AsyncIterator[Fault]:
        """What is wrong with a well-formed resource that is created or updated."""
        identifier = change.key[1]
        match change.resource:
            case budget_pb2.Budget() as message:
                budget = self._budget(message, identifier)
                for fault in budget_rules.faults(budget):
                    yield fault
                if self._diverts_otherwise(change, message):
                    async for fault in self._ladder_faults(budget):
                        yield fault
            case budget_pb2.RateLimit() as message:
                for fault in ratelimit_rules.faults(rate_limit_of(message, self._organization, identifier)):
                    yield fault
            case model_policy_pb2.ModelPolicy() as message:
                for fault in self._policy_faults(_policy(message, identifier)):
                    yield fault

    def _budget(self, message: budget_pb2.Budget, identifier: str) -> Budget:
        zoned = budget_pb2.Budget()
        zoned.CopyFrom(message)
        zoned.period.time_zone = message.period.time_zone or zone_of(self._after) or "UTC"
        return budget_of(zoned, self._organization, identifier)

    def _diverts_otherwise(self, change: Change, message: budget_pb2.Budget) -> bool:
        """What a change leaves as it was is not asked again, as the server does not either."""
        before = self._before.get(change.key) if change.action is Action.UPDATED else None
        return not isinstance(before, budget_pb2.Budget) or (
            (before.scope, list(before.ladder), before.disabled)
            != (message.scope, list(message.ladder), message.disabled)
        )

    async def _ladder_faults(self, budget: Budget) -> AsyncIterator[Fault]:
        targets = set(ladder_rules.diversions(budget).values())
        if not targets:
            return
        others = [
            self._budget(message, identifier)
            for identifier, message in self._all(Kind.BUDGET, budget_pb2.Budget)
            if identifier != budget.id
        ]
        for fault in ladder_rules.circle_faults(budget, others):
            yield fault
        policies = {policy.id: policy for policy in self._policies()}
        models = {target: model for target in targets if (model := await self._model(target)) is not None}
        for fault in ladder_rules.policy_faults(budget, policies, models):
            yield fault

    def _policy_faults(self, policy: ModelPolicy) -> Iterator[Fault]:
        yield from model_policy_rules.faults(policy)
        rival = model_policy_rules.rival(policy, self._policies())
        if rival is not None:
            owner = model_policy_rules.owner(policy)
            yield Fault("team", f"{owner} would have two model policies: this one and “{rival.id}”")

    def _policies(self) -> list[ModelPolicy]:
        found = self._all(Kind.MODEL_POLICY, model_policy_pb2.ModelPolicy)
        return [_policy(message, identifier) for identifier, message in found]

    async def _model(self, key: ModelKey) -> Model | None:
        own = self._after.get((Kind.MODEL, "/".join(key)))
        if isinstance(own, catalog_pb2.Model):
            return model_of(own)
        found = await get_model(self._connection, self._organization, *key)
        return None if found is None else model_of(found)

    def _all(self, kind: Kind, type_: type[R]) -> Iterator[tuple[str, R]]:
        for (found, identifier), message in self._after.items():
            if found is kind and isinstance(message, type_):
                yield identifier, message


def _policy(message: model_policy_pb2.ModelPolicy, identifier: str) -> ModelPolicy:
    return model_policy_of(message, "", identifier)
