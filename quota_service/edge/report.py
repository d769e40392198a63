"""ReportService."""

from __future__ import annotations

from dataclasses import replace

from quota.v1 import report_pb2 as pb
from quota.v1.report_pb2_grpc import ReportServiceServicer
from quota_service.application import showing
from quota_service.application.administration.organizations import Organizations
from quota_service.application.ledger_ports import Ledger
from quota_service.edge import names, paging
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.convert.ledger import filter_of, ledger_entry, written_by_this_version


class ReportServicer(ReportServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, organizations: Organizations, ledger: Ledger) -> None:
        self._organizations = organizations
        self._ledger = ledger

    async def ListLedgerEntries(
        self, request: pb.ListLedgerEntriesRequest, context: Context
    ) -> pb.ListLedgerEntriesResponse:
        organization = names.parse_organization(request.parent, "parent")
        filter_, before = filter_of(request, organization), paging.number(request)
        await self._organizations.get(organization)
        sight = access.sight()
        if not (written_by_this_version(request.type) and sight.sees(f"{names.BUDGETS}/{filter_.budget}")):
            return pb.ListLedgerEntriesResponse()
        filter_ = replace(filter_, teams=sight.ids(names.TEAMS))
        rows, following = await self._ledger.list(organization, filter_, paging.page_size(request), before)
        return pb.ListLedgerEntriesResponse(
            ledger_entries=[ledger_entry(organization, showing.entry(row, sight)) for row in rows],
            next_page_token=paging.token(request, "" if following is None else str(following)),
        )
