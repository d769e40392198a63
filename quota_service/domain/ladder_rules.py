"""What must hold for a budget's ladder: by itself, beside other budgets, and under the model policies.

Field paths are relative to the budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from quota_service.domain.budget import Block, Budget, Downgrade, LadderStep, Mode, Restrict
from quota_service.domain.configuration import ModelKey
from quota_service.domain.faults import Fault
from quota_service.domain.model_policy import ModelPolicy, allows, policy_for
from quota_service.domain.pricing import Model
from quota_service.domain.scope import Scope
from quota_service.domain.scope_rules import TIER_MAX, Reference
from quota_service.domain.subject import Dimension

PERCENT_MAX = 1_000
LADDER_STEPS_MAX = 20


def ladder_faults(budget: Budget) -> Iterator[Fault]:
    """Everything that is wrong with the ladder by itself."""
    ladder = budget.ladder
    if len(ladder) > LADDER_STEPS_MAX:
        yield Fault("ladder", f"must be at most {LADDER_STEPS_MAX} steps")
    for index, step in enumerate(ladder):
        yield from _step_faults(step, f"ladder[{index}]")
    for index, (before, after) in enumerate(pairwise(ladder)):
        yield from _order_faults(before, after, f"ladder[{index + 1}]")
    if ladder and budget.mode is Mode.HARD and not any(isinstance(step.action, Block) for step in ladder):
        yield Fault(
            "ladder",
            "a hard budget needs a block step; leave the ladder out for notify 50, 80, 100 and block 100",
        )
    yield from _target_faults(budget)


def ladder_references(budget: Budget) -> tuple[Reference, ...]:
    """The models that the ladder diverts to."""
    return tuple(
        Reference(field, Dimension.MODEL, model, provider)
        for field, (provider, model) in diversions(budget).items()
    )


def diversions(budget: Budget) -> Mapping[str, ModelKey]:
    """The models that the ladder diverts to, by the fields that name them, in the order of the ladder."""
    return {
        f"ladder[{index}].downgrade.model": (step.action.provider, step.action.model)
        for index, step in enumerate(budget.ladder)
        if isinstance(step.action, Downgrade)
    }


def circle_faults(budget: Budget, others: Iterable[Budget]) -> Iterator[Fault]:
    """Targets from which the ladders of other budgets lead back to the model that the budget is about.

    Only budgets that are switched on and can meet the budget in one request count.
    """
    if not budget.scope.model:
        return
    meeting = [other for other in others if not other.disabled and _can_meet(budget.scope, other.scope)]
    for field, target in diversions(budget).items():
        chain = _way_back(budget.scope, target, meeting)
        if chain:
            names = " → ".join("/".join(key) for key in (chain[-1], *chain))
            yield Fault(field, f"budgets would divert in a circle: {names}")


def policy_faults(
    budget: Budget, policies: Mapping[str, ModelPolicy], models: Mapping[ModelKey, Model]
) -> Iterator[Fault]:
    """Targets that no policy allows that can apply to the budget's requests; unknown ones are passed over."""
    applying = _applying(budget.scope, policies)
    for field, target in diversions(budget).items():
        model = models.get(target)
        if model is None or any(policy is None or allows(policy, model) for policy in applying):
            continue
        named = sorted(f"“{policy.id}”" for policy in applying if policy is not None)
        which = (
            f"model policy {named[0]} does" if len(named) == 1 else f"model policies {', '.join(named)} do"
        )
        yield Fault(
            field, f"the {which} not allow “{'/'.join(target)}”: nothing would ever be diverted to it"
        )


def _step_faults(step: LadderStep, field: str) -> Iterator[Fault]:
    if not 1 <= step.at_percent <= PERCENT_MAX:
        yield Fault(f"{field}.at_percent", f"must be 1–{PERCENT_MAX}")
    if isinstance(step.action, Restrict) and not 0 <= step.action.max_tier <= TIER_MAX:
        yield Fault(f"{field}.restrict.max_tier", f"must be 0–{TIER_MAX}")


def _order_faults(before: LadderStep, after: LadderStep, field: str) -> Iterator[Fault]:
    if after.at_percent < before.at_percent:
        yield Fault(
            f"{field}.at_percent", f"steps must rise: {after.at_percent} comes after {before.at_percent}"
        )
    elif after.at_percent == before.at_percent and type(after.action) is type(before.action):
        yield Fault(f"{field}.at_percent", f"there are two steps of one action at {after.at_percent}")


def _target_faults(budget: Budget) -> Iterator[Fault]:
    own = (budget.scope.provider, budget.scope.model)
    seen: set[ModelKey] = set()
    for field, target in diversions(budget).items():
        if target == own:
            yield Fault(
                field, f"is the model that the budget is about: “{'/'.join(own)}” → “{'/'.join(own)}”"
            )
        elif target in seen:
            yield Fault(field, f"another step diverts to “{'/'.join(target)}” already")
        seen.add(target)


def _can_meet(one: Scope, other: Scope) -> bool:
    """Whether one request may match both, whatever its model; what only the directory knows is not asked."""
    either = (
        (one.team, other.team),
        (one.user, other.user),
        (one.api_key, other.api_key),
        (one.project, other.project),
        (one.cost_center, other.cost_center),
    )
    tags = dict(one.tags)
    return all("" in pair or pair[0] == pair[1] for pair in either) and all(
        tags.get(key, value) == value for key, value in other.tags
    )


def _way_back(scope: Scope, target: ModelKey, others: Iterable[Budget]) -> tuple[ModelKey, ...]:
    """The shortest chain of diversions from `target` to a model of the scope; empty where there is none."""
    edges = [(other.scope, goal) for other in others for goal in diversions(other).values()]
    waiting: deque[tuple[ModelKey, ...]] = deque([(target,)])
    seen = {target}
    while waiting:
        chain = waiting.popleft()
        for goal in [goal for about, goal in edges if _is_about(about, chain[-1])]:
            if goal != chain[-1] and _is_about(scope, goal):
                return (*chain, goal)
            if goal not in seen:
                seen.add(goal)
                waiting.append((*chain, goal))
    return ()


def _is_about(scope: Scope, key: ModelKey) -> bool:
    """Whether a scope names the model; one that names none diverts from anything, so nothing leads back."""
    return scope.model == key[1] and scope.provider in ("", key[0])


def _applying(scope: Scope, policies: Mapping[str, ModelPolicy]) -> list[ModelPolicy | None]:
    """The policies that can be in force for a request of the scope; `None`: every model is allowed."""
    if scope.team:
        return [policy_for(scope.team, policies)]
    teams = {policy.team for policy in policies.values() if not policy.disabled}
    return [policy_for(team, policies) for team in sorted({"", *teams})]
