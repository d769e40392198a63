"""Whatever is sent, the answer is a proper status in time: no hang, no fault of the server, no text of its
inside.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota.v1 import directory_pb2 as pb
from tests.contract.test_callers import ALL
from tests.support.callers import about
from tests.support.messages import messages, spoilt
from tests.support.service import Client

TIMEOUT_S = 10.0
PROPER = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)
INSIDE = ("Traceback", 'File "', "asyncpg", "hiredis", "redis.call", "user_script", ".py", "object at 0x")
FUZZING = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
METHODS = st.sampled_from(sorted(ALL))


@pytest.fixture
async def acme(client: Client) -> Client:
    await client.found_acme()
    await client.directory.UpdateUser(
        pb.UpdateUserRequest(user=pb.User(name="organizations/acme/users/acme-1"), allow_missing=True)
    )
    return client


async def sent(client: Client, method: MethodDescriptor, raw: bytes) -> grpc.StatusCode:
    """The status of a call with these bytes. What is said beside it is looked at."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(client.address) as channel:
        if method.server_streaming:
            streaming: Any = channel.unary_stream(path)
            stream = streaming(raw, timeout=TIMEOUT_S)
            try:
                await asyncio.wait_for(stream.read(), TIMEOUT_S)  # one message is enough
                return grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                return _told(error)
            finally:
                stream.cancel()
        calling: Any = channel.unary_unary(path)
        call = calling(raw, timeout=TIMEOUT_S)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return _told(error)
        return grpc.StatusCode.OK


def _told(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    everything = f"{error.details()}{error.trailing_metadata()}"
    assert not [word for word in INSIDE if word in everything]
    assert len(error.details() or "") <= 700
    return error.code()


@FUZZING
@given(st.data(), METHODS)
async def test_any_message_has_a_proper_answer(acme: Client, data: st.DataObject, name: str) -> None:
    message = data.draw(messages(ALL[name].input_type))
    assert await sent(acme, ALL[name], message.SerializeToString()) in PROPER


@FUZZING
@given(st.data(), METHODS)
async def test_a_good_request_with_something_spoilt_has_a_proper_answer(
    acme: Client, data: st.DataObject, name: str
) -> None:
    message = data.draw(spoilt(about(ALL[name], "acme")))
    assert await sent(acme, ALL[name], message.SerializeToString()) in PROPER


@FUZZING
@given(METHODS, st.binary(max_size=200))
async def test_any_bytes_have_a_proper_answer(acme: Client, name: str, raw: bytes) -> None:
    assert await sent(acme, ALL[name], raw) in PROPER
