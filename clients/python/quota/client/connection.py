"""One channel to the service, with the stubs of all its services and errors with their reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import grpc
import grpc.aio

from quota.client.credentials import Credentials
from quota.client.errors import ApiError
from quota.v1 import (
    alert_pb2_grpc,
    audit_pb2_grpc,
    budget_pb2_grpc,
    catalog_pb2_grpc,
    directory_pb2_grpc,
    operations_pb2_grpc,
    quota_pb2_grpc,
    report_pb2_grpc,
)

if TYPE_CHECKING:
    from quota.v1.alert_pb2_grpc import AlertServiceAsyncStub
    from quota.v1.audit_pb2_grpc import AuditServiceAsyncStub
    from quota.v1.budget_pb2_grpc import BudgetServiceAsyncStub
    from quota.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from quota.v1.directory_pb2_grpc import DirectoryServiceAsyncStub
    from quota.v1.operations_pb2_grpc import OperationsServiceAsyncStub
    from quota.v1.quota_pb2_grpc import QuotaServiceAsyncStub
    from quota.v1.report_pb2_grpc import ReportServiceAsyncStub

Request = TypeVar("Request")
Response = TypeVar("Response")

DEFAULT_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

REASON = "x-reason"
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What headers may have as it is."""


class Connection:
    """The services of one server. `call` makes a call of one of them."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self.quota: QuotaServiceAsyncStub = quota_pb2_grpc.QuotaServiceStub(channel)
        self.budgets: BudgetServiceAsyncStub = budget_pb2_grpc.BudgetServiceStub(channel)
        self.directory: DirectoryServiceAsyncStub = directory_pb2_grpc.DirectoryServiceStub(channel)
        self.catalog: CatalogServiceAsyncStub = catalog_pb2_grpc.CatalogServiceStub(channel)
        self.report: ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(channel)
        self.alerts: AlertServiceAsyncStub = alert_pb2_grpc.AlertServiceStub(channel)
        self.audit: AuditServiceAsyncStub = audit_pb2_grpc.AuditServiceStub(channel)
        self.operations: OperationsServiceAsyncStub = operations_pb2_grpc.OperationsServiceStub(channel)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        attempts: int = 1,
    ) -> Response:
        """Makes the call, again while the server is unavailable, up to `attempts` times in all.

        Repeating is safe: everything that moves or creates something carries a key, which a repeat sends
        again. Raises `ApiError`.
        """
        pause_s = FIRST_PAUSE_S
        for left in range(attempts - 1, -1, -1):
            try:
                return await method(request, timeout=self.timeout_s)
            except grpc.aio.AioRpcError as error:
                failure = ApiError.of(error)
                if not failure.retryable or not left:
                    raise failure from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise ValueError("attempts must be at least 1")


@asynccontextmanager
async def connect(
    address: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    credentials: Credentials | None = None,
    reason: str = "",
) -> AsyncIterator[Connection]:
    """A connection to `host:port`, closed at the end; without credentials in plaintext. `reason`: why it
    makes changes, which the audit trail keeps.
    """
    headers = [(REASON, quote(reason, safe=_PLAIN))] if reason else []
    async with (credentials or Credentials()).channel(address, headers=headers) as channel:
        yield Connection(channel, timeout_s=timeout_s)
