"""Decides for every call who it is from, and whether they may make it."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message

from quota_service.application.sights import Sights
from quota_service.domain.caller import Caller
from quota_service.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    MethodNotAllowed,
    OrganizationNotFound,
)
from quota_service.domain.sight import EVERYTHING, Sight
from quota_service.edge.access import of_teams, scopes
from quota_service.edge.access.callers import Callers, Known, token_hash
from quota_service.edge.access.of_teams import Rule
from quota_service.edge.access.roles import METHODS, UNBOUND_ONLY

AUTHORIZATION = "authorization"
_SCHEME = "bearer "
REMEMBERED_MAX = 10_000
SUB_MAX = 200
"""How much of a token's subject the ledger and the log keep."""

LOOK_AGAIN_S = 60.0
"""After so long a JSON Web Token is verified again: its issuer may have taken the key back."""

_SAN = "x509_subject_alternative_name"

_BOUND = {role: methods - UNBOUND_ONLY for role, methods in METHODS.items()}
_OF_TEAMS = {role: methods & of_teams.METHODS.keys() for role, methods in METHODS.items()}

log = structlog.get_logger(__name__)

_current: ContextVar[Caller | None] = ContextVar("caller", default=None)
_sight: ContextVar[Sight] = ContextVar("sight", default=EVERYTHING)

Context = grpc.aio.ServicerContext[Any, Any]

Within = Callable[[Message], Awaitable[None] | None]
"""Looks at a request, and is to be waited for where it has to look up more."""


def current() -> Caller | None:
    """Who makes the call that is being answered; `None` where the service asks nobody."""
    return _current.get()


def organization() -> str:
    """The only organization that whoever makes the call knows of; "": every one, or nobody is asked."""
    caller = _current.get()
    return caller.organization if caller is not None and caller.is_bound else ""


def name() -> str:
    """What the ledger calls whoever makes the call; "" where the service asks nobody."""
    caller = _current.get()
    return "" if caller is None else caller.name


def sight() -> Sight:
    """What whoever makes the call sees of its organization."""
    return _sight.get()


class Access:
    """What stands between a call and its method, where callers are known."""

    def __init__(self, callers: Callers, sights: Sights, *, certificates: bool = False) -> None:
        """`certificates`: callers show some, which the transport has verified."""
        self._callers = callers
        self._sights = sights
        self._certificates = certificates
        # Headers that were good, of the callers known then, and until when.
        self._remembered: dict[str | bytes, tuple[Caller, float]] = {}
        self._remembered_of: Known | None = None

    def admit(self, method: str, context: Context) -> Within:
        """Raises CredentialsMissing, CredentialsInvalid, MethodNotAllowed; returns what is to look at the
        request.
        """
        caller = self._caller(context)
        is_of_teams = caller.is_of_teams
        if method not in (_OF_TEAMS if is_of_teams else _BOUND if caller.is_bound else METHODS)[caller.role]:
            bound = " that are bound to teams" if is_of_teams else ""
            raise MethodNotAllowed(f"Callers with the role “{caller.role}”{bound} may not call {method}.")
        _current.set(caller)  # of this call alone: each has a task of its own

        def within(request: Message) -> Awaitable[None] | None:
            if caller.is_bound:
                _require_own(caller.organization, request)
            return self._look(method, caller, request) if is_of_teams else None

        return within

    async def _look(self, method: str, caller: Caller, request: Message) -> None:
        """Finds out what a caller sees who is bound to teams. Raises NotFound where the request is about
        anything else, and as `Sights.of`.
        """
        rule = of_teams.METHODS[method]
        if rule is Rule.OPEN:
            return
        seen = await self._sights.of(caller)
        if rule is Rule.NAMED:
            of_teams.require_in_sight(seen, request)
        _sight.set(seen)

    def _caller(self, context: Context) -> Caller:
        sent = [value for key, value in context.invocation_metadata() or () if key == AUTHORIZATION]
        known = self._callers.known()
        shown = self._shown(context, known) if self._certificates else ()
        if len(sent) + len(shown) > 1:
            raise CredentialsInvalid("The call has several credentials. Send one.")
        if shown:
            return shown[0]
        if not sent:
            raise CredentialsMissing("Say who you are: authorization: Bearer, with a service token.")
        return self._said(sent[0], known)

    def _shown(self, context: Context, known: Known) -> tuple[Caller, ...]:
        """The callers whose names the caller's certificate has."""
        names = [raw.decode(errors="replace") for raw in context.auth_context().get(_SAN, ())]
        return tuple({known.by_san[name] for name in names if name in known.by_san})

    def _said(self, header: str | bytes, known: Known) -> Caller:
        """The caller that an authorization header says."""
        if known is not self._remembered_of or len(self._remembered) > REMEMBERED_MAX:
            self._remembered, self._remembered_of = {}, known
        remembered = self._remembered.get(header)
        now_s = time.time()
        if remembered is not None and now_s < remembered[1]:
            return remembered[0]
        text = header if isinstance(header, str) else ""
        scheme, token = text[: len(_SCHEME)], text[len(_SCHEME) :]
        found = _verified(token, known, now_s) if scheme.lower() == _SCHEME else None
        if found is None:
            raise CredentialsInvalid("The credential is not known, or not any more.")
        self._remembered[header] = found
        return found[0]


def _verified(token: str, known: Known, now_s: float) -> tuple[Caller, float] | None:
    """A token's caller, and until when that need not be looked at again; `None`: it is nobody's."""
    caller = known.by_token.get(token_hash(token))
    if caller is not None:
        return caller, math.inf
    if not known.issuers:
        return None
    from quota_service.edge.access import tokens  # whoever has issuers has it in memory

    try:
        header, said = tokens.unverified(token)
        issuer = known.issuers.get(said)
        if issuer is None:
            return None
        claims = issuer.claims(token, header)
    except tokens.TokenFault as fault:
        log.debug("a token was refused", fault=str(fault))
        return None
    caller = next(filter(None, (each.said_by(said, claims) for each in known.by_claims)), None)
    if caller is None:
        return None
    named = caller._replace(name=f"{caller.name}/{claims['sub'][:SUB_MAX]}") if "sub" in claims else caller
    return named, min(now_s + LOOK_AGAIN_S, float(claims["exp"]))


def _require_own(organization: str, request: Message) -> None:
    """What is another's is not there for this caller, whether or not it exists."""
    for part in scopes.parts(request):
        named = scopes.organizations(part)
        for each in named:
            if each != organization:
                raise OrganizationNotFound(f"There is no organization “{each}”.")
        if not named:
            scopes.name_organization(part, organization)
