"""What a test looks at in a call that was refused."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


def answer(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    """The status's name, and the reason."""
    info = _detail(error, ErrorInfo())
    assert info.domain == "quota.v1"
    return error.code().name, info.reason


def fields(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """What is said of each faulty field."""
    return {each.field: each.description for each in _detail(error, BadRequest()).field_violations}


def status(error: grpc.aio.AioRpcError) -> Status:
    """The error as it travelled, with its details."""
    told = rpc_status.from_call(error)
    assert told is not None
    return cast(Status, told)


def _detail(error: grpc.aio.AioRpcError, detail: Any) -> Any:
    assert any(packed.Unpack(detail) for packed in status(error).details)
    return detail
