"""How errors travel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from quota.v1 import errors_pb2
from quota.v1.errors_pb2 import ErrorReason
from quota_service.domain import errors
from quota_service.domain.errors import (
    BufferFull,
    FieldProblem,
    InvalidRequest,
    QuotaError,
    StoreUnavailable,
)
from quota_service.edge.errors import ANSWERS, answer_to, status_of

M = TypeVar("M", bound=Message)
FAMILIES = {QuotaError, errors.PreconditionFailed}
"""Never raised themselves."""
UNANSWERED = {errors_pb2.ERROR_REASON_UNSPECIFIED, errors_pb2.ERROR_REASON_NOT_YET_ACCEPTED}
"""What the contract has and this version answers nowhere."""


def _detail(status: Status, kind: type[M]) -> M | None:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            packed.Unpack(message)
            return message
    return None


def _kinds(kind: type[QuotaError] = QuotaError) -> Iterator[type[QuotaError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def test_every_reason_of_the_contract_is_in_the_table_once() -> None:
    reasons = [answer.reason for error, answer in ANSWERS.items() if error is not BufferFull]
    assert sorted(reasons) == sorted(set(ErrorReason.values()) - UNANSWERED)
    assert ANSWERS[BufferFull] == ANSWERS[StoreUnavailable], "callers do the same about it"


def test_every_error_has_an_answer_of_its_own() -> None:
    missing = {kind for kind in _kinds() if kind.__module__.startswith("quota_service.domain.errors")} - set(
        ANSWERS
    )
    assert missing <= FAMILIES


def test_the_contract_documents_each_reason_with_the_status_that_the_table_has() -> None:
    for answer in ANSWERS.values():
        assert _documented_status(answer.reason) == answer.code.name


def _documented_status(reason: ErrorReason.ValueType) -> str:
    """The first word of the reason's comment in the protos."""
    from pathlib import Path

    source = Path(__file__).parents[2] / "protos/quota/v1/errors.proto"
    comment: list[str] = []
    for line in source.read_text().splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.removeprefix("// "))
        elif text.startswith(ErrorReason.Name(reason) + " ="):
            return comment[0].split(".")[0]
        else:
            comment.clear()
    raise AssertionError(f"{ErrorReason.Name(reason)} is not documented")


def test_a_status_names_its_reason_without_the_prefix_and_its_domain() -> None:
    status = status_of(errors.BudgetNotFound("There is no budget “x”."))
    assert (status.code, status.message) == (StatusCode.NOT_FOUND.value[0], "There is no budget “x”.")
    assert _detail(status, ErrorInfo) == ErrorInfo(reason="BUDGET_NOT_FOUND", domain="quota.v1")


def test_a_bad_request_names_every_field() -> None:
    status = status_of(errors.ReferenceUnknown(FieldProblem("budget.scope.user", "there is no user “x”")))
    detail = _detail(status, BadRequest)
    assert detail is not None
    assert [(each.field, each.description) for each in detail.field_violations] == [
        ("budget.scope.user", "there is no user “x”")
    ]


@pytest.mark.parametrize(
    "error", [errors.StoreUnavailable("x"), errors.ReservationUnknown("x"), errors.Overloaded("x")]
)
def test_what_may_be_repeated_says_when(error: QuotaError) -> None:
    assert _detail(status_of(error), RetryInfo) is not None


def test_an_error_of_a_new_class_is_answered_as_the_nearest_known_one() -> None:
    class StillNotFound(errors.BudgetNotFound):
        pass

    class Odd(QuotaError):
        pass

    assert answer_to(StillNotFound("x")).code is StatusCode.NOT_FOUND
    assert answer_to(Odd("x")).code is StatusCode.INTERNAL


def test_a_hopeless_request_is_answered_within_what_clients_accept_as_metadata() -> None:
    problems: Any = [
        FieldProblem('subject.tags["' + "😀" * 10_000 + '"]', "😀" * 1_000) for _ in range(1_000)
    ]
    status = status_of(InvalidRequest(*problems))
    as_metadata = len(status.SerializeToString()) * 4 / 3 + len(status.message.encode()) * 3
    assert as_metadata < 8_192 - 500
