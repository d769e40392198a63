"""The handler that everything is compared with: it decodes a request and returns a constant.

    python -m benchmarks.trivial ANSWER_IN_BASE64

It prints its address and serves until SIGTERM. None of the service's layers is around it.
"""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
from typing import Any

import grpc.aio
import uvloop

from benchmarks.processes import READY
from quota.v1 import quota_pb2

METHOD = "/benchmarks.Trivial/Authorize"


async def serve(answer: quota_pb2.AuthorizeResponse) -> None:
    """Serves on a port of its own until SIGTERM."""

    async def handle(request: quota_pb2.AuthorizeRequest, context: Any) -> quota_pb2.AuthorizeResponse:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=quota_pb2.AuthorizeRequest.FromString,
        response_serializer=quota_pb2.AuthorizeResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("benchmarks.Trivial", {"Authorize": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await server.start()
    sys.stdout.write(f"{READY}127.0.0.1:{port}\n")
    sys.stdout.flush()
    await stopping.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(quota_pb2.AuthorizeResponse.FromString(base64.b64decode(sys.argv[1]))))
