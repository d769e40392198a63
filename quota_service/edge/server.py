"""The gRPC server: which services it has, its options, and how it starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from quota.v1 import (
    alert_pb2,
    audit_pb2,
    budget_pb2,
    catalog_pb2,
    directory_pb2,
    operations_pb2,
    quota_pb2,
    report_pb2,
)
from quota.v1.alert_pb2_grpc import AlertServiceServicer
from quota.v1.audit_pb2_grpc import AuditServiceServicer
from quota.v1.budget_pb2_grpc import BudgetServiceServicer
from quota.v1.catalog_pb2_grpc import CatalogServiceServicer
from quota.v1.directory_pb2_grpc import DirectoryServiceServicer
from quota.v1.operations_pb2_grpc import OperationsServiceServicer
from quota.v1.quota_pb2_grpc import QuotaServiceServicer
from quota.v1.report_pb2_grpc import ReportServiceServicer
from quota_service.edge import reflection, sockets, streams
from quota_service.edge.calls import CallSettings, surrounded
from quota_service.edge.decoding import Method
from quota_service.edge.envoy.api.envoy.service.auth.v3 import external_auth_pb2
from quota_service.edge.envoy.api.envoy.service.ext_proc.v3 import external_processor_pb2
from quota_service.edge.envoy.check import AuthorizationServicer
from quota_service.edge.envoy.denying import of_fault
from quota_service.edge.envoy.process import ProcessorServicer
from quota_service.edge.lanes import Lanes
from quota_service.edge.traffic import Kind, Traffic, kind_of

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

LAST_ANSWERS_S = 1.0
"""For what was ended to be answered."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

_OPTIONS: Mapping[str, int] = {
    "grpc.max_concurrent_streams": 5_000,  # of one connection: all calls of a method and all streams at once
    # Beyond this the core answers calls that wait for a lane CANCELLED, from 1,000 on if not told otherwise.
    "grpc.server.max_pending_requests": 10_000,
    "grpc.server.max_pending_requests_hard_limit": 20_000,
    "grpc.max_receive_message_length": 16 * 1024 * 1024,  # a model call of 8 MiB that Envoy asks about
    "grpc.max_metadata_size": 16 * 1024,
    "grpc.server_handshake_timeout_ms": 5_000,
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.http2.ping_on_rst_stream_percent": 1,  # slows down who resets streams as fast as they open
    "grpc.max_connection_age_ms": 30 * 60_000,  # callers behind a load balancer find new replicas
    "grpc.max_connection_age_grace_ms": 15 * 60_000,  # in which answers of models end that Envoy passes on
}


_REFUSED = {"envoy.service.auth.v3.Authorization/Check": of_fault}
"""Methods that say no in a way of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server offers."""

    quota: QuotaServiceServicer
    budgets: BudgetServiceServicer
    directory: DirectoryServiceServicer
    catalog: CatalogServiceServicer
    reports: ReportServiceServicer
    alerts: AlertServiceServicer
    audit: AuditServiceServicer
    operations: OperationsServiceServicer
    authorization: AuthorizationServicer
    processor: ProcessorServicer

    def by_descriptor(self) -> tuple[tuple[ServiceDescriptor, object], ...]:
        """Each service of the contract, then Envoy's, and what serves it."""
        return (
            (quota_pb2.DESCRIPTOR.services_by_name["QuotaService"], self.quota),
            (budget_pb2.DESCRIPTOR.services_by_name["BudgetService"], self.budgets),
            (directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"], self.directory),
            (catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"], self.catalog),
            (report_pb2.DESCRIPTOR.services_by_name["ReportService"], self.reports),
            (alert_pb2.DESCRIPTOR.services_by_name["AlertService"], self.alerts),
            (audit_pb2.DESCRIPTOR.services_by_name["AuditService"], self.audit),
            (operations_pb2.DESCRIPTOR.services_by_name["OperationsService"], self.operations),
            (external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"], self.authorization),
            (external_processor_pb2.DESCRIPTOR.services_by_name["ExternalProcessor"], self.processor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`reuse_port`: several processes share the port. `calls`: see CallSettings."""

    reflection: bool = False
    reuse_port: bool = False
    calls: CallSettings = field(default_factory=CallSettings)


class Server:
    """A server that tells its health and stops gently."""

    def __init__(
        self,
        server: grpc.aio.Server,
        health_servicer: health.aio.HealthServicer,
        services: Iterable[str],
        traffic: Traffic,
        lanes: Lanes,
    ) -> None:
        self._server = server
        self._health = health_servicer
        self._services = ("", *services)
        self._traffic = traffic
        self._lanes = lanes
        self._places: frozenset[sockets.Place] = frozenset()

    @property
    def traffic(self) -> Traffic:
        """What it has under way."""
        return self._traffic

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Opens a port before the start and returns its number; plaintext without credentials.

        Raises RuntimeError where it cannot be had.
        """
        others = sockets.listening()
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self._places |= sockets.listening() - others
        return port

    async def start(self) -> None:
        """Starts to answer, and says so to health checks."""
        await self._server.start()
        self._lanes.open()
        self._traffic.pace.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        """What health checks are told, for the whole server and for each service."""
        for service in self._services:
            await self._health.set(service, SERVING if serving else NOT_SERVING)

    async def shutdown(self, *, drain_s: float, grace_s: float) -> None:
        """Says NOT_SERVING and serves on for `drain_s`, until nobody comes; takes on no more calls, and lets
        those under way finish for `grace_s`; then ends what is left, as UNAVAILABLE, and every connection.

        Streams would never finish: they end when nobody is sent here any more.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(drain_s)
        self._traffic.close()
        self._traffic.end(Kind.LASTS)
        if not await self._traffic.finished(grace_s):
            self._traffic.end(*Kind)
            await self._traffic.finished(LAST_ANSWERS_S)
        self._traffic.pace.stop()
        sockets.cut(self._places)
        await self._server.stop(None)


def build_server(services: Services, settings: ServerSettings | None = None) -> Server:
    """A server without a port, not started. To be called inside the event loop that it will run in."""
    settings = settings or ServerSettings()
    options = [*_OPTIONS.items(), ("grpc.so_reuseport", int(settings.reuse_port))]
    server = grpc.aio.server(options=options)
    names, traffic = [], Traffic()
    hot: dict[str, Handler] = {}
    for descriptor, servicer in services.by_descriptor():
        hot |= register(server, descriptor, servicer, settings.calls, traffic)
        names.append(descriptor.full_name)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if settings.reflection:
        files = [descriptor.file for descriptor, _ in services.by_descriptor()]
        # What errors carry is told, too: without its type grpcurl prints that it cannot read the details.
        files += [health_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]
        reflection.enable(server, (*names, health.SERVICE_NAME), files)
    return Server(server, health_servicer, names, traffic, Lanes(server, hot))


def register(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: object,
    settings: CallSettings,
    traffic: Traffic | None = None,
) -> Mapping[str, Handler]:
    """Adds every method of a service to a server, each with all layers around it.

    Returns the registered ones by path, which have queues of their own in gRPC: no flood of one method keeps
    the others waiting. Each makes every call a little dearer, so only those have one that are called often.
    """
    traffic = traffic or Traffic()
    handlers = {
        method.name: _handler(method, getattr(servicer, method.name), settings, traffic)
        for method in service.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    hot = {
        method.name: handlers[method.name]
        for method in service.methods
        if kind_of(_full_name(method)) is not Kind.OTHER
    }
    server.add_registered_method_handlers(service.full_name, hot)
    return {f"/{service.full_name}/{name}": handler for name, handler in hot.items()}


def _handler(method: MethodDescriptor, function: Any, settings: CallSettings, traffic: Traffic) -> Handler:
    name = _full_name(method)
    described = Method(
        name, GetMessageClass(method.input_type), _REFUSED.get(name), is_ours=name.startswith("quota.v1.")
    )
    serialize = GetMessageClass(method.output_type).SerializeToString
    if method.client_streaming:
        conversation = streams.conversing(described, function, settings, traffic)
        return grpc.stream_stream_rpc_method_handler(conversation, response_serializer=serialize)
    if method.server_streaming:
        stream = streams.surrounded(described, function, settings, traffic)
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=serialize)
    return grpc.stream_unary_rpc_method_handler(
        surrounded(described, function, settings, traffic), response_serializer=serialize
    )


def _full_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"
