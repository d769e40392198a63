"""What speaks against a request whatever has been spent: who asks, for which model, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from quota_service.application import messages
from quota_service.domain import scope
from quota_service.domain.configuration import Configuration
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.model_policy import allows, policy_for
from quota_service.domain.pricing import Model
from quota_service.domain.scope import Facts
from quota_service.domain.subject import Subject, SubjectFault, SubjectProblem

_REASONS = {
    SubjectFault.UNKNOWN: Reason.SUBJECT_UNKNOWN,
    SubjectFault.CONTRADICTORY: Reason.SUBJECT_CONTRADICTORY,
    SubjectFault.DISABLED: Reason.SUBJECT_DISABLED,
    SubjectFault.REVOKED: Reason.API_KEY_REVOKED,
}


def subject_violations(problems: Iterable[SubjectProblem]) -> tuple[Violation, ...]:
    return tuple(Violation(_REASONS[problem.fault], problem.message, problem.source) for problem in problems)


def registrable(subject: Subject, problems: tuple[SubjectProblem, ...]) -> bool:
    """Whether unknown names are all that is wrong. A key must have somebody to belong to."""
    owned = bool(subject.user or subject.team) or not subject.api_key
    return bool(problems) and owned and all(problem.fault is SubjectFault.UNKNOWN for problem in problems)


def model_not_allowed(
    configuration: Configuration, subject: Subject, model: Model | None
) -> tuple[Violation, ...]:
    policy = policy_for(subject.team, configuration.model_policies)
    if policy is None or model is None or allows(policy, model):
        return ()
    message = messages.model_not_allowed(policy, model)
    return (Violation(Reason.MODEL_NOT_ALLOWED, message, f"modelPolicies/{policy.id}"),)


def missing_dimensions(configuration: Configuration, facts: Facts) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            Reason.DIMENSION_REQUIRED,
            f"The organization requires a {dimension.name.lower()} with every request.",
        )
        for dimension in configuration.organization.required_dimensions
        if not scope.dimension_value(facts, dimension)
    )
