"""From an HTTP request to a request for money."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from secrets import token_hex

from google.protobuf.duration_pb2 import Duration

from quota.v1 import quota_pb2 as pb
from quota.v1.types_pb2 import Subject
from quota_service.application.configurations import Configurations
from quota_service.application.requests import AuthorizeRequest, Diversions
from quota_service.domain.errors import FieldProblem, InvalidRequest, QuotaError
from quota_service.edge.convert.quota import authorize_request
from quota_service.edge.dialects.calls import CallMalformed, Dialect, Endpoint, Kind, ModelCall
from quota_service.edge.dialects.paths import chooses_fields, endpoint_of
from quota_service.edge.dialects.requests import read_call
from quota_service.edge.dialects.tokens import Encoding, is_loaded
from quota_service.edge.envoy.http_call import HttpCall
from quota_service.edge.envoy.settings import Gateway
from quota_service.edge.secrets import has_secret
from quota_service.edge.validation import validate

UNKNOWN_MAXIMUM_TOKENS = 131_072
"""Output of a model whose maximum the catalogue does not know, where the call may say more than was read."""

INPUT_TOKENS_MAX = 1_000_000_000
"""As many as can be asked for."""

LONG_BODY_BYTES = 16 * 1024
"""A longer one is read in a thread: it would keep everybody waiting."""

_PROVIDERS: Mapping[Dialect, str] = {
    Dialect.OPENAI: "openai",
    Dialect.ANTHROPIC: "anthropic",
    Dialect.GEMINI: "google",
}


_LENGTH = re.compile("[0-9]{1,18}")
_COUNT = re.compile("[0-9]{1,9}")
_KINDS = {kind.value: kind for kind in Kind}


class RouteFault(QuotaError):
    """A route says what nobody understands: whoever waits behind Envoy can do nothing about it."""


class BodyEncoded(Exception):
    """A body that is compressed: what it asks for cannot be read. The text is for its caller."""


def endpoint(call: HttpCall) -> Endpoint | None:
    """Where it goes; `None`: it is not metered. A route may say what it is by the extension `kind`, and is
    metered then whatever it is asked. Raises RouteFault.
    """
    said = call.extensions.get("kind", "")
    if not said:
        return endpoint_of(call.method, call.path)
    if said not in _KINDS:
        raise RouteFault(f"The route's kind is none of {', '.join(_KINDS)}.")
    return Endpoint(_KINDS[said])


async def read(call: HttpCall, where: Endpoint) -> ModelCall:
    """What the call may use at most. Of a body that was cut off, the rest is taken to be like the part that
    is there. Raises CallMalformed, CallTooLarge, BodyEncoded.
    """
    if call.header("content-encoding") not in ("", "identity"):
        raise BodyEncoded("Send the body as it is: what is compressed cannot be priced.")
    if where.kind.dialect is Dialect.GEMINI and (
        chooses_fields(call.path) or "x-goog-fieldmask" in call.headers
    ):
        raise CallMalformed("Ask for the whole answer: a part of it would not tell what it used.", "fields")
    reading = partial(
        read_call, where, call.body, model=call.extensions.get("model", ""), is_whole=call.is_whole
    )
    is_long = len(call.body) > LONG_BODY_BYTES or not all(map(is_loaded, Encoding))
    asked = await asyncio.to_thread(reading) if is_long else reading()
    sent, seen = call.header("content-length"), len(call.body)
    if asked.is_whole or not (seen and _LENGTH.fullmatch(sent)) or int(sent) <= seen:
        return asked
    return replace(asked, input_tokens=min(-(-asked.input_tokens * int(sent) // seen), INPUT_TOKENS_MAX))


def provider(call: HttpCall, where: Endpoint) -> str:
    """The provider that the route names, else the one that the dialect is of."""
    return call.extensions.get("provider", "") or _PROVIDERS[where.kind.dialect]


class Asking:
    """Makes requests for money under the gateway's settings."""

    def __init__(self, gateway: Gateway, configurations: Configurations) -> None:
        self._gateway = gateway
        self._configurations = configurations

    async def request(self, call: HttpCall, asked: ModelCall, subject: Subject, by: str) -> AuthorizeRequest:
        """`by`: the provider. Its idempotency key is new: a caller's own could make two calls one. Raises
        InvalidRequest, OrganizationNotFound, RouteFault, StoreUnavailable.
        """
        least = self._least(call, asked)
        message = pb.AuthorizeRequest(
            idempotency_key=f"envoy-{token_hex(16)}",
            subject=subject,
            provider=by,
            model=asked.model,
            estimate=pb.Estimate(
                input_tokens=asked.input_tokens,
                max_output_tokens=await self._most(asked, subject.organization, by),
            ),
            min_output_tokens=least,
            ttl=Duration(seconds=self._gateway.ttl_ms // 1_000),
        )
        if has_secret(message.SerializeToString()):
            raise InvalidRequest(FieldProblem("", "there is a secret where a name should be"))
        validate(message)
        diversions = Diversions.SAME_PROVIDER if _rewrites(call, asked) else Diversions.NONE
        return replace(authorize_request(message), diversions=diversions)

    async def _most(self, asked: ModelCall, organization: str, by: str) -> int | None:
        """The output tokens that it says; where it may say more than could be read, the model's maximum."""
        if asked.max_output_tokens is not None or asked.is_whole:
            return asked.max_output_tokens
        plans = await self._configurations.get(organization)
        model = plans.model(by, asked.model)
        return (model.max_output_tokens if model else 0) or UNKNOWN_MAXIMUM_TOKENS

    def _least(self, call: HttpCall, asked: ModelCall) -> int:
        """The output tokens that are of use; 0: all or nothing."""
        if not (_rewrites(call, asked) and asked.kind.has_output):
            return 0
        said = call.extensions.get("min_output_tokens", "")
        if said and not _COUNT.fullmatch(said):
            raise RouteFault("The route's min_output_tokens is no whole number.")
        least = int(said) if said else self._gateway.min_output_tokens
        most = asked.max_output_tokens
        return least * asked.choices if most is None else min(least * asked.choices, most)


def _rewrites(call: HttpCall, asked: ModelCall) -> bool:
    """Whether what is sent on can be another than what came."""
    return call.extensions.get("rewrite", "") == "true" and asked.is_whole
