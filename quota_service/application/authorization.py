"""Authorize: hold an estimate against every matching budget, or say why not."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from quota_service.application import denials, messages
from quota_service.application.configurations import Configurations
from quota_service.application.content import content_hash
from quota_service.application.plans import Moment, Plan, Plans
from quota_service.application.ports import HoldStore
from quota_service.application.registration import Registration
from quota_service.application.requests import AuthorizeRequest, AuthorizeResult
from quota_service.application.statuses import ATTEMPTS, statuses, statuses_of_hold
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands
from quota_service.domain.admission import count_blocked, short_meters
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Counters, Term
from quota_service.domain.decision import Reason, Violation, retry_after_ms
from quota_service.domain.errors import (
    AlreadyExists,
    AmountTooLarge,
    FieldProblem,
    IdempotencyConflict,
    InvalidRequest,
    PriceNotAllowed,
    QuotaError,
    ReservationEnded,
    StoreUnavailable,
)
from quota_service.domain.pricing import output_tokens, require_price
from quota_service.domain.reservation import Hold, demand


class Intent(NamedTuple):
    """What a request comes to under one configuration, at one moment.

    `violations` or `error`: the caller's own reasons to refuse it, which count only if the configuration is
    current.
    """

    plan: Plan
    moment: Moment
    hold: Hold
    violations: tuple[Violation, ...] = ()
    error: QuotaError | None = None

    @property
    def refused(self) -> bool:
        return bool(self.violations) or self.error is not None


class Authorization:
    """The use case. `now_ms` of the store is an estimate; the store checks what was decided with it."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        writer: LedgerWriter,
        registration: Registration,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._writer = writer
        self._registration = registration

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResult:
        """Raises what the contract says of Authorize."""
        _require_sensible(request)
        organization = await self._configurations.organization_of(request.subject)
        content = _content_hash(request)
        reservation = new_reservation(self._holds.now_ms())
        plans = await self._configurations.get(organization)
        for _ in range(ATTEMPTS):
            intent = _intent(plans, request, self._holds.now_ms(), reservation, content)
            answer = await self._holds.authorize(_command(intent, request))
            match answer:
                case commands.Stale():
                    await self._configurations.at_least(organization, answer.version)
                    organization = await self._configurations.organization_of(request.subject)
                    plans = await self._configurations.get(organization)
                case commands.OutsideBasis():
                    pass
                case commands.Refused():
                    if intent.refused or not await self._registered(intent):
                        return _refused(organization, plans, intent)
                    plans = await self._configurations.get(organization)
                case _:
                    return self._result(organization, plans, intent, request, answer)
        raise StoreUnavailable("The configuration changes faster than a decision can be made.")

    async def _registered(self, intent: Intent) -> bool:
        """Registers the names that the directory does not know, unless another organization has the key."""
        try:
            version = await self._registration.register(intent.plan.subject)
        except AlreadyExists:
            return False
        await self._configurations.at_least(intent.plan.subject.organization, version)
        return True

    def _result(
        self,
        organization: str,
        plans: Plans,
        intent: Intent,
        request: AuthorizeRequest,
        answer: commands.Granted | commands.Denied | commands.Conflict | commands.Ended,
    ) -> AuthorizeResult:
        match answer:
            case commands.Granted():
                if answer.event is not None:
                    self._writer.submit(answer.event)
                if answer.replayed:
                    return _replayed(organization, plans, answer, request)
                return _granted(organization, intent, answer, request)
            case commands.Denied():
                return _denied(organization, plans, intent, answer)
            case commands.Conflict():
                raise IdempotencyConflict("The idempotency_key is in use for a call with other content.")
            case commands.Ended():
                raise ReservationEnded(
                    "The reservation of this idempotency_key has ended; a new call needs a new key."
                )
            case _:
                assert_never(answer)


def _require_sensible(request: AuthorizeRequest) -> None:
    most = request.max_output_tokens
    if most is not None and request.min_output_tokens > most:
        raise InvalidRequest(
            FieldProblem("min_output_tokens", "must not be above estimate.max_output_tokens")
        )


def _content_hash(request: AuthorizeRequest) -> str:
    subject = request.subject
    return content_hash(
        (subject.organization, subject.team, subject.user, subject.api_key, subject.project, subject.tags),
        request.provider,
        request.model,
        (request.input_tokens, request.max_output_tokens, request.own_cost_micros, request.min_output_tokens),
        request.ttl_ms,
    )


def _intent(plans: Plans, request: AuthorizeRequest, now_ms: int, reservation: str, content: str) -> Intent:
    plan = plans.plan(request.subject, request.provider, request.model)
    moment = plan.at(now_ms)
    violations = _violations(plans, plan, moment)
    granted = output_tokens(plan.model, request.max_output_tokens) if plan.model else 0
    needed, error = (NOTHING, None) if violations else _needed(plan, moment, request, granted)
    draft = Hold(
        organization=plans.configuration.organization.id,
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
        windows=tuple([term.window for term in moment.terms]),
        granted_output_tokens=granted,
        held=needed,
    )
    return Intent(plan, moment, draft, violations, error)


def _violations(plans: Plans, plan: Plan, moment: Moment) -> tuple[Violation, ...]:
    """The reasons to refuse that do not depend on what has been spent."""
    found = plan.violations
    if moment.card is None:
        message = f"The catalogue has no price for {plan.facts.provider}/{plan.facts.model}."
        found = (*found, Violation(Reason.MODEL_UNKNOWN, message))
    if not found and not moment.terms and not plans.configuration.organization.allow_unbudgeted:
        found = (
            Violation(Reason.NO_BUDGET, "No budget covers this request, and the organization requires one."),
        )
    return found


def _needed(
    plan: Plan, moment: Moment, request: AuthorizeRequest, granted: int
) -> tuple[Amounts, QuotaError | None]:
    """What the request may use at most with the granted output tokens, or the error that it comes to."""
    if plan.model is None or moment.card is None:
        return NOTHING, None  # which is a violation
    try:
        require_price(plan.model, request.own_cost_micros, "estimate.cost_micros")
        return demand(moment.card.rates, request.input_tokens, granted, request.own_cost_micros), None
    except AmountTooLarge as error:
        return NOTHING, AmountTooLarge(str(error), field="estimate")
    except PriceNotAllowed as error:
        return NOTHING, error


def _command(intent: Intent, request: AuthorizeRequest) -> commands.Authorize:
    """Unknown names are registered before anything is held; `validate_only` answers as if they were."""
    refused = intent.refused or (intent.plan.registers and not request.validate_only)
    return commands.Authorize(
        basis=intent.moment.basis,
        hold=intent.hold,
        ttl_ms=request.ttl_ms,
        terms=() if refused else intent.moment.terms,
        refused=refused,
        dry_run=request.validate_only,
    )


def _refused(organization: str, plans: Plans, intent: Intent) -> AuthorizeResult:
    if intent.error is not None:
        raise intent.error
    return _denial(organization, plans, intent.violations or intent.plan.unknown)


def _denied(organization: str, plans: Plans, intent: Intent, answer: commands.Denied) -> AuthorizeResult:
    moment = intent.moment
    violations = denials.violations(answer, moment.budgets, moment.terms, intent.hold.held)
    result = _denial(organization, plans, violations)
    return replace(result, statuses=statuses(moment.budgets, moment.terms, answer.counters))


def _denial(organization: str, plans: Plans, violations: tuple[Violation, ...]) -> AuthorizeResult:
    return AuthorizeResult(
        organization=organization,
        violations=violations,
        retry_after_ms=retry_after_ms(violations),
        message=messages.with_help(violations[0].message, plans.configuration.organization.help_url),
    )


def _granted(
    organization: str, intent: Intent, answer: commands.Granted, request: AuthorizeRequest
) -> AuthorizeResult:
    moment, counters = intent.moment, answer.counters
    if request.validate_only:
        counters = _as_if_held(moment.terms, counters, answer.hold.held)
    return AuthorizeResult(
        organization=organization,
        hold=None if request.validate_only else answer.hold,
        granted_output_tokens=answer.hold.granted_output_tokens,
        cautions=denials.cautions(moment.budgets, moment.terms, counters),
        statuses=statuses(moment.budgets, moment.terms, counters),
    )


def _as_if_held(terms: Sequence[Term], counters: Sequence[Counters], needed: Amounts) -> tuple[Counters, ...]:
    """The counters as a grant would leave them: `validate_only` answers what the request itself would get."""
    after = []
    for term, state in zip(terms, counters, strict=True):
        short = () if term.mode is Mode.HARD else short_meters(state, needed, term.ceilings_with(state))
        counted = count_blocked(state, short, needed)
        after.append(counted._replace(held=state.held.plus(needed), holds=state.holds + 1))
    return tuple(after)


def _replayed(
    organization: str, plans: Plans, answer: commands.Granted, request: AuthorizeRequest
) -> AuthorizeResult:
    """The hold as it is, in its own windows: they need not be those that the request would fall into now."""
    found = statuses_of_hold(plans, answer.hold, answer.counters, answer.now_ms)
    return AuthorizeResult(
        organization=organization,
        hold=None if request.validate_only else answer.hold,
        granted_output_tokens=answer.hold.granted_output_tokens,
        statuses=found,
        replayed=True,
    )


def new_reservation(now_ms: int) -> str:
    """A UUID of version 7: names sort by time."""
    raw = (
        (now_ms & (1 << 48) - 1) << 80
        | 0x7 << 76
        | secrets.randbits(12) << 64
        | 0b10 << 62
        | secrets.randbits(62)
    )
    digits = f"{raw:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
