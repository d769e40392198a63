"""What a call can fail with, as the server said it: `google.rpc.Status` with its details, read once."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

# After a missed deadline, or when a stopping server drops a call, nobody knows whether it was done; the same
# keys make a repeat harmless. The latter arrives as CANCELLED; a task of our own that is cancelled raises
# CancelledError.
_RETRYABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
_STATUS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """A field of a request, by its path, and what is wrong with it."""

    field: str
    description: str


class ApiError(Exception):
    """A call that failed. A denial is not one: it is an answer.

    `code` is the gRPC status; `reason` a name of `quota.v1.ErrorReason` without its prefix, empty where the
    server sent none (it was not reached, say); `fields` are the faulty fields.
    """

    def __init__(
        self, *, code: grpc.StatusCode, message: str, reason: str = "", fields: tuple[FieldProblem, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.fields = fields

    @property
    def retryable(self) -> bool:
        """The same call with the same keys may succeed later."""
        return self.code in _RETRYABLE

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> ApiError:
        """The error behind grpcio's, with the details that the server attached."""
        details = _details(error)
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        for detail in details.details:
            detail.Unpack(info) if detail.Is(info.DESCRIPTOR) else detail.Unpack(bad_request)
        return cls(
            code=error.code(),
            message=error.details() or error.code().name,
            reason=info.reason,
            fields=tuple(
                FieldProblem(field=problem.field, description=problem.description)
                for problem in bad_request.field_violations
            ),
        )


def _details(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()
