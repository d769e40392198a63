"""From bytes to a valid request."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from quota.v1.directory_pb2 import ResolveApiKeyRequest
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.edge.secrets import has_secret
from quota_service.edge.validation import validate

_SECRET_SENT = "the request has a secret in it: send ids, and secrets of API keys to ResolveApiKey alone"


class Method(NamedTuple):
    """A method by its full name, such as `quota.v1.QuotaService/Authorize`, and the message that it takes."""

    name: str
    request: type[Message]


def decoded(method: Method, raw: bytes) -> Message:
    """The request, valid. Decoded here and not by gRPC, whose answer to garbage would be a fault of the
    server. Raises InvalidRequest.
    """
    kind = method.request
    if has_secret(raw) and kind is not ResolveApiKeyRequest:
        # Before it is anywhere: in an error, the ledger, a log.
        raise InvalidRequest(FieldProblem("", _SECRET_SENT))
    try:
        request = kind.FromString(raw)
    except DecodeError:
        raise InvalidRequest(FieldProblem("", f"the request is not a {kind.DESCRIPTOR.full_name}")) from None
    validate(request)
    return request
