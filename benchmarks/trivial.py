"""What everything is compared with: the service's own server, whose Authorize and Commit return constants.

    python -m benchmarks.trivial AUTHORIZE_RESPONSE COMMIT_RESPONSE     (serialized, in base64)

Everything around the handlers is what the service has: the gRPC server and its options, the lanes, the layers
(validation, deadlines, shedding), the event loop and the collector. It reads the same environment, prints its
address in the same way and serves until SIGTERM. It has no stores.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gc
import os
import signal
import sys
from typing import Any

import grpc
import uvloop

from benchmarks.processes import READY
from quota.v1 import quota_pb2
from quota_service import telemetry
from quota_service.config import Settings
from quota_service.edge.calls import CallSettings, Context
from quota_service.edge.server import ServerSettings, Services, build_server


class Nothing:
    """A servicer none of whose methods is meant to be called."""

    def __getattr__(self, method: str) -> object:
        return self._refused

    async def _refused(self, request: object, context: Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)


class Constants(Nothing):
    """Answers what it has been given, whatever it is asked."""

    def __init__(self, authorized: quota_pb2.AuthorizeResponse, committed: quota_pb2.CommitResponse) -> None:
        self._authorized = authorized
        self._committed = committed

    async def Authorize(
        self, request: quota_pb2.AuthorizeRequest, context: Context
    ) -> quota_pb2.AuthorizeResponse:
        return self._authorized

    async def Commit(self, request: quota_pb2.CommitRequest, context: Context) -> quota_pb2.CommitResponse:
        return self._committed


def services(constants: Constants) -> Services:
    """All services that the server has; but for the one that is measured, none answers."""
    offered: dict[str, Any] = {each.name: Nothing() for each in dataclasses.fields(Services)}
    return Services(**offered | {"quota": constants})


async def serve(constants: Constants, settings: Settings) -> None:
    """Serves on a port of its own until SIGTERM."""
    calls = CallSettings(in_flight_max=settings.calls_max, behind_max=settings.calls_behind_max)
    server = build_server(services(constants), ServerSettings(calls=calls))
    port = server.listen("127.0.0.1:0")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await server.start()
    gc.collect()
    gc.freeze()  # as the service does once it is warm
    sys.stdout.write(f"{READY}127.0.0.1:{port}\n")
    sys.stdout.flush()
    await stopping.wait()
    await server.shutdown(drain_s=0, grace_s=1)


def main() -> None:
    """Serves what the command line says."""
    telemetry.configure("warning")
    authorized, committed = (base64.b64decode(each) for each in sys.argv[1:])
    constants = Constants(
        quota_pb2.AuthorizeResponse.FromString(authorized), quota_pb2.CommitResponse.FromString(committed)
    )
    uvloop.run(serve(constants, Settings.read(os.environ)))


if __name__ == "__main__":
    main()
