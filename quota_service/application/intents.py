"""What a request for money comes to under one configuration, at one moment, before any store is asked."""

from __future__ import annotations

import os
from typing import NamedTuple

from quota_service.application import messages
from quota_service.application.content import content_hash
from quota_service.application.plans import Moment, Plan, Plans
from quota_service.application.requests import AuthorizeRequest, Diversions
from quota_service.domain import commands
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.errors import (
    AmountTooLarge,
    FieldProblem,
    InvalidRequest,
    PriceNotAllowed,
    QuotaError,
)
from quota_service.domain.pricing import Model, output_tokens, require_price
from quota_service.domain.reservation import Hold, demand
from quota_service.domain.terms import Alternative, Terms


class Intent(NamedTuple):
    """What a request comes to. `alternatives` are in the order of `plans` and `moments`: the asked model
    first.

    `violations` or `error`: the caller's own reasons to refuse it, which count only if the configuration is
    current.
    """

    plans: tuple[Plan, ...]
    moments: tuple[Moment, ...]
    alternatives: tuple[Alternative, ...]
    violations: tuple[Violation, ...] = ()
    error: QuotaError | None = None

    @property
    def asked(self) -> Plan:
        return self.plans[0]

    @property
    def refused(self) -> bool:
        return bool(self.violations) or self.error is not None


def intent_of(plans: Plans, request: AuthorizeRequest, now_ms: int, reservation: str, content: str) -> Intent:
    """The intent of a request at an instant."""
    plan = plans.plan(request.subject, request.provider, request.model)
    moment = plan.at(now_ms)
    violations = _violations(plans, plan, moment)
    needed, error = (NOTHING, None) if violations else _needed(plan, moment, request)
    asked = _draft(plan, moment, request, needed, reservation, content)
    if violations or error is not None:
        refused = Alternative(hold=asked, terms=Terms(), least=0)
        return Intent((plan,), (moment,), (refused,), violations, error)
    ways = [(plan, moment, _alternative(asked, moment.terms, request))]
    for other, its_moment in moment.others:
        if not _may_divert(other, request):
            continue
        alternative = _diverted(other, its_moment, request, reservation, content)
        if alternative is not None:
            ways.append((other, its_moment, alternative))
    plans_, moments, alternatives = zip(*ways, strict=True)
    return Intent(plans_, moments, alternatives)


def command_of(intent: Intent, request: AuthorizeRequest) -> commands.Authorize:
    """Unknown names are registered before anything is held; `validate_only` answers as if they were."""
    return commands.Authorize(
        basis=intent.moments[0].basis,
        alternatives=intent.alternatives,
        ttl_ms=request.ttl_ms,
        refused=intent.refused or (intent.asked.registers and not request.validate_only),
        dry_run=request.validate_only,
    )


def require_sensible(request: AuthorizeRequest) -> None:
    """Raises InvalidRequest for what is wrong whatever the configuration."""
    most = request.max_output_tokens
    if most is not None and request.min_output_tokens > most:
        raise InvalidRequest(
            FieldProblem("min_output_tokens", "must not be above estimate.max_output_tokens")
        )


def content_of(request: AuthorizeRequest) -> str:
    """What tells a repeat of a request from another one."""
    subject = request.subject
    return content_hash(
        (subject.organization, subject.team, subject.user, subject.api_key, subject.project, subject.tags),
        request.provider,
        request.model,
        (request.input_tokens, request.max_output_tokens, request.own_cost_micros, request.min_output_tokens),
        request.ttl_ms,
    )


def new_reservation(now_ms: int) -> str:
    """A UUID of version 7: names sort by time."""
    time, random = f"{now_ms & (1 << 48) - 1:012x}", os.urandom(10).hex()
    variant = "89ab"[int(random[3], 16) & 0b11]
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"


def _violations(plans: Plans, plan: Plan, moment: Moment) -> tuple[Violation, ...]:
    """The reasons to refuse that do not depend on what has been spent."""
    found = (*plan.violations, *moment.violations)
    if moment.card is None:
        message = messages.no_price(plan.facts.provider, plan.facts.model)
        found = (*found, Violation(Reason.MODEL_UNKNOWN, message))
    if not found and not moment.budgets and not plans.configuration.organization.allow_unbudgeted:
        found = (
            Violation(Reason.NO_BUDGET, "No budget covers this request, and the organization requires one."),
        )
    return found


def _needed(plan: Plan, moment: Moment, request: AuthorizeRequest) -> tuple[Amounts, QuotaError | None]:
    """What the request may use at most with all its output tokens, or the error that it comes to."""
    if plan.model is None or moment.card is None:
        return NOTHING, None  # which is a violation
    most = _most(plan.model, request)
    try:
        require_price(plan.model, request.own_cost_micros, "estimate.cost_micros")
        return demand(moment.card.rates, request.input_tokens, most, request.own_cost_micros), None
    except AmountTooLarge as error:
        return NOTHING, AmountTooLarge(str(error), field="estimate")
    except PriceNotAllowed as error:
        return NOTHING, error


def _draft(
    plan: Plan, moment: Moment, request: AuthorizeRequest, needed: Amounts, reservation: str, content: str
) -> Hold:
    """The hold of the asked model, with all its output tokens."""
    return Hold(
        organization=plan.subject.organization,
        reservation=reservation,
        idempotency_key=request.idempotency_key,
        content_hash=content,
        subject=plan.subject,
        provider=request.provider,
        model=request.model,
        requested_model=request.model,
        rates=moment.card.rates if moment.card else (),
        caller_priced=plan.model is not None and plan.model.caller_priced,
        input_tokens=request.input_tokens,
        own_cost_micros=request.own_cost_micros,
        windows=moment.terms.windows,
        keepings=moment.terms.keepings,
        granted_output_tokens=_most(plan.model, request) if plan.model else 0,
        held=needed,
    )


def _may_divert(plan: Plan, request: AuthorizeRequest) -> bool:
    match request.diversions:
        case Diversions.ANY:
            return True
        case Diversions.SAME_PROVIDER:
            return plan.model is not None and plan.model.provider == request.provider
        case Diversions.NONE:
            return False


def _diverted(
    plan: Plan, moment: Moment, request: AuthorizeRequest, reservation: str, content: str
) -> Alternative | None:
    """Another model at its own price; `None` where its answers cannot be as long as is of use, or where even
    that would cost more than a request may.
    """
    if plan.model is None or moment.card is None:
        return None
    most = _most(plan.model, request)
    if most < request.min_output_tokens:
        return None
    try:
        needed = demand(moment.card.rates, request.input_tokens, most, None)
    except AmountTooLarge:
        return None
    hold = Hold(
        organization=plan.subject.organization,
        reservation=reservation,
        idempotency_key=request.idempotency_key,
        content_hash=content,
        subject=plan.subject,
        provider=plan.model.provider,
        model=plan.model.model,
        requested_model=request.model,
        downgraded=True,
        rates=moment.card.rates,
        caller_priced=plan.model.caller_priced,
        input_tokens=request.input_tokens,
        windows=moment.terms.windows,
        keepings=moment.terms.keepings,
        granted_output_tokens=most,
        held=needed,
    )
    return _alternative(hold, moment.terms, request)


def _most(model: Model, request: AuthorizeRequest) -> int:
    """The output tokens to hold at most. The model's default is not below what the caller says is of use."""
    most = output_tokens(model, request.max_output_tokens)
    if request.max_output_tokens is not None:
        return most
    return max(most, output_tokens(model, request.min_output_tokens))


def _alternative(hold: Hold, terms: Terms, request: AuthorizeRequest) -> Alternative:
    most = hold.granted_output_tokens
    least = min(request.min_output_tokens, most) if request.min_output_tokens else most
    return Alternative(hold=hold, terms=terms, least=least)
