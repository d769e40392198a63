"""The steps of a budget's ladder."""

from __future__ import annotations

from typing import assert_never

from quota.v1 import budget_pb2
from quota_service.domain.budget import Action, Block, Downgrade, LadderStep, Notify, Restrict
from quota_service.domain.errors import FieldProblem, InvalidRequest


def ladder_step(value: LadderStep) -> budget_pb2.LadderStep:
    """A step as a message."""
    percent = value.at_percent
    match value.action:
        case Notify():
            return budget_pb2.LadderStep(at_percent=percent, notify=budget_pb2.LadderStep.Notify())
        case Restrict(max_tier=tier):
            return budget_pb2.LadderStep(
                at_percent=percent, restrict=budget_pb2.LadderStep.Restrict(max_tier=tier)
            )
        case Downgrade(provider=provider, model=model):
            downgrade = budget_pb2.LadderStep.Downgrade(provider=provider, model=model)
            return budget_pb2.LadderStep(at_percent=percent, downgrade=downgrade)
        case Block():
            return budget_pb2.LadderStep(at_percent=percent, block=budget_pb2.LadderStep.Block())
        case _:
            assert_never(value.action)


def ladder_step_of(message: budget_pb2.LadderStep) -> LadderStep:
    """The step of a message. Raises InvalidRequest where it has no action."""
    return LadderStep(at_percent=message.at_percent, action=_action_of(message))


def _action_of(message: budget_pb2.LadderStep) -> Action:
    match message.WhichOneof("action"):
        case "notify":
            return Notify()
        case "restrict":
            return Restrict(max_tier=message.restrict.max_tier)
        case "downgrade":
            return Downgrade(provider=message.downgrade.provider, model=message.downgrade.model)
        case "block":
            return Block()
        case _:
            raise InvalidRequest(
                FieldProblem(
                    "budget.ladder", "every step needs an action: notify, restrict, downgrade or block"
                )
            )
