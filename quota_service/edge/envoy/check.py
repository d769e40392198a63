"""`envoy.service.auth.v3.Authorization`: may this call to a model be made?"""

from __future__ import annotations

import asyncio
from typing import Any

from google.rpc.status_pb2 import Status

from quota_service.application.ports import HoldStore
from quota_service.application.requests import AuthorizeResult
from quota_service.domain.decision import Reason
from quota_service.domain.errors import QuotaError
from quota_service.domain.reservation import Hold
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.dialects.calls import CallMalformed, CallTooLarge, Endpoint, ModelCall
from quota_service.edge.envoy import asking, denying
from quota_service.edge.envoy.api.envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    OkHttpResponse,
)
from quota_service.edge.envoy.asking import Asking, BodyEncoded, RouteFault
from quota_service.edge.envoy.attempts import Attempts
from quota_service.edge.envoy.http_call import HttpCall, http_call
from quota_service.edge.envoy.settings import Gateway
from quota_service.edge.envoy.subjects import Subjects, secret_headers
from quota_service.edge.envoy.ticket import Ticket, metadata_of

_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})


class AuthorizationServicer:
    """Answers are always gRPC OK: what says no is a `denied_response`."""

    def __init__(
        self, gateway: Gateway, subjects: Subjects, asking_: Asking, attempts: Attempts, holds: HoldStore
    ) -> None:
        self._gateway = gateway
        self._subjects = subjects
        self._asking = asking_
        self._attempts = attempts
        self._holds = holds

    async def Check(self, request: CheckRequest, context: Context) -> CheckResponse:
        call = http_call(request.attributes)
        try:
            where = asking.endpoint(call)
        except RouteFault as fault:
            return denying.of_error(None, fault)
        if where is None:
            return self._unmetered(call)
        dialect, task = where.kind.dialect, asyncio.current_task()
        assert task is not None
        try:
            return await self._attempts.in_time(self._decided(call, where, context, task), context)
        except QuotaError as error:
            return denying.of_error(dialect, error)
        except CallMalformed as fault:
            return denying.denied(dialect, 400, "invalid_request", str(fault), param=fault.param)
        except CallTooLarge as fault:
            return denying.denied(dialect, 413, "request_too_large", str(fault))
        except BodyEncoded as fault:
            return denying.denied(dialect, 415, "body_encoded", str(fault))

    def _unmetered(self, call: HttpCall) -> CheckResponse:
        """What spends nothing as far as is known. The gateway's key is no business of the upstream's here,
        either.
        """
        looks = call.method in _LOOKS and "upgrade" not in call.headers
        if self._gateway.other_calls == "deny" and not looks:
            return denying.denied(
                None, 403, "not_metered", "The gateway lets no calls pass that it cannot price."
            )
        return _allowed(secret_headers(call) if self._gateway.remove_key else ())

    async def _decided(
        self, call: HttpCall, where: Endpoint, context: Context, task: asyncio.Task[Any]
    ) -> CheckResponse:
        """Who asks comes first: strangers' bodies are not read."""
        subject = await self._subjects.of(call, access.organization())
        asked = await asking.read(call, where)
        by = asking.provider(call, where)
        request = await self._asking.request(call, asked, subject, by)
        result = await self._attempts.authorize(request, context, task)
        if result.hold is None:
            return denying.of_result(where.kind.dialect, result, self._holds.now_ms())
        ticket = _ticket(asked, result.hold, result, request.ttl_ms)
        return self._granted(call, ticket)

    def _granted(self, call: HttpCall, ticket: Ticket) -> CheckResponse:
        secrets = secret_headers(call) if self._gateway.remove_key else ()
        # Of what is compressed nobody can read the usage.
        response = _allowed(("accept-encoding", *secrets))
        response.dynamic_metadata.CopyFrom(metadata_of(ticket))
        return response


def _allowed(headers_to_remove: tuple[str, ...]) -> CheckResponse:
    return CheckResponse(status=Status(), ok_response=OkHttpResponse(headers_to_remove=headers_to_remove))


def _ticket(asked: ModelCall, hold: Hold, result: AuthorizeResult, ttl_ms: int) -> Ticket:
    who = hold.subject
    return Ticket(
        organization=hold.organization,
        reservation=hold.reservation,
        kind=asked.kind,
        provider=hold.provider,
        model=hold.model,
        input_tokens=asked.input_tokens,
        granted_output_tokens=hold.granted_output_tokens,
        ttl_ms=ttl_ms,
        rewrite_model=hold.model if hold.downgraded else "",
        rewrite_output_tokens=_cap(asked, hold, result),
        team=who.team,
        user=who.user,
        api_key=who.api_key,
        project=who.project,
        tags=who.tags,
    )


def _cap(asked: ModelCall, hold: Hold, result: AuthorizeResult) -> int:
    """The output tokens to write into the request; -1: as many as it says. Another model may give fewer than
    were asked for, and would refuse them.
    """
    is_partial = any(caution.reason is Reason.PARTIAL_GRANT for caution in result.cautions)
    most = asked.max_output_tokens
    is_lower = hold.downgraded and most is not None and hold.granted_output_tokens < most
    return hold.granted_output_tokens if is_partial or is_lower else -1
