"""From bytes to a valid request."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from quota.v1.directory_pb2 import ResolveApiKeyRequest
from quota_service.domain.errors import FieldProblem, InvalidRequest, QuotaError
from quota_service.edge.secrets import has_secret
from quota_service.edge.validation import validate

_SECRET_SENT = "the request has a secret in it: send ids, and secrets of API keys to ResolveApiKey alone"


BYTES_MAX = 4 * 1024 * 1024
"""Of a request of ours: a budget with 1,000 overrides. The server takes larger ones, for Envoy's."""


class Method(NamedTuple):
    """A method by its full name, such as `quota.v1.QuotaService/Authorize`, and the message that it takes.

    `refused`: what says no where that is no status. `is_ours`: of the contract, whose messages have rules and
    where secrets have no place.
    """

    name: str
    request: type[Message]
    refused: Callable[[QuotaError], Message] | None = None
    is_ours: bool = True


def decoded(method: Method, raw: bytes) -> Message:
    """The request, valid. Decoded here and not by gRPC, whose answer to garbage would be a fault of the
    server. Raises InvalidRequest.
    """
    kind = method.request
    if not method.is_ours:
        return _parsed(kind, raw)
    if len(raw) > BYTES_MAX:
        raise InvalidRequest(FieldProblem("", f"the request has more than {BYTES_MAX // 2**20} MiB"))
    if has_secret(raw) and kind is not ResolveApiKeyRequest:
        # Before it is anywhere: in an error, the ledger, a log.
        raise InvalidRequest(FieldProblem("", _SECRET_SENT))
    request = _parsed(kind, raw)
    validate(request)
    return request


def _parsed(kind: type[Message], raw: bytes) -> Message:
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise InvalidRequest(FieldProblem("", f"the request is not a {kind.DESCRIPTOR.full_name}")) from None
