"""What is done with an input: a byte that chooses the method, and the bytes of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from quota.v1.quota_pb2 import AuthorizeBatchResponse
from quota_service.domain.errors import QuotaError
from quota_service.edge.access import scopes
from quota_service.edge.decoding import Method, decoded
from quota_service.edge.errors import status_of
from tests.fuzz.memory import ORGANIZATION
from tests.fuzz.services import Asked, services
from tests.support.callers import about

TOOK_S_MAX = 1.0
STATUS_BYTES_MAX = 7_000
"""Clients accept 8 kB of metadata if not told otherwise."""


class Fault(Exception):
    """An answer that no caller should get."""


class Served(NamedTuple):
    """A method and what serves it."""

    descriptor: MethodDescriptor
    method: Method
    function: Any


class Target:
    """The service up to its stores. `outcomes`: how often a request ended how, by status."""

    def __init__(self) -> None:
        self.methods: Sequence[Served] = [
            Served(
                descriptor,
                Method(f"{service.full_name}/{descriptor.name}", GetMessageClass(descriptor.input_type)),
                getattr(servicer, descriptor.name),
            )
            for service, servicer in services().by_descriptor()
            if service.full_name.startswith("quota.v1.")
            for descriptor in service.methods
        ]
        self.outcomes: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def seeds(self) -> Sequence[bytes]:
        """A good input for every method."""
        return [
            bytes([number]) + about(served.descriptor, ORGANIZATION).SerializeToString()
            for number, served in enumerate(self.methods)
        ]

    def served(self, raw: bytes) -> Served:
        """The method that an input is for."""
        return self.methods[raw[0] % len(self.methods)]

    def __call__(self, raw: bytes) -> str:
        """How the request ended. Raises whatever is a fault of the service's."""
        if not raw:
            return "nothing"
        begun_s = time.process_time()
        outcome = self._loop.run_until_complete(self._outcome(self.served(raw), raw[1:]))
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        took_s = time.process_time() - begun_s
        if took_s > TOOK_S_MAX:
            raise Fault(f"took {took_s:.1f} s")
        return outcome

    async def _outcome(self, served: Served, raw: bytes) -> str:
        try:
            request = decoded(served.method, raw)
            scopes.organizations(request)
            answer = served.function(request, None)
            message = await (anext(answer) if isinstance(answer, AsyncGenerator) else answer)
            message.SerializeToString()
            if isinstance(message, AuthorizeBatchResponse):
                for result in message.results:
                    _checked(result.error, "a request of a batch")
        except Asked:
            return "a store is asked"
        except QuotaError as error:
            return told(error)
        return "OK"

    def shown(self, raw: bytes) -> str:
        """An input as a person can read it."""
        if not raw:
            return "nothing"
        served = self.served(raw)
        try:
            return f"{served.method.name}\n{served.method.request.FromString(raw[1:])}"
        except Exception:  # whatever it is: the bytes say it
            return f"{served.method.name}, no message"


def told(error: QuotaError) -> str:
    """The status that an error travels as. Raises Fault where it is none for callers, or too large."""
    return _checked(status_of(error), repr(error))


def _checked(status: Status, what: str) -> str:
    code = next(code for code in StatusCode if code.value[0] == status.code)
    if code is StatusCode.INTERNAL:
        raise Fault(f"{what} is answered as INTERNAL")
    if status.ByteSize() > STATUS_BYTES_MAX:
        raise Fault(f"the status of {what} has {status.ByteSize()} bytes")
    return code.name
