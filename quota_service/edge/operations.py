"""OperationsService."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from quota.v1 import operations_pb2 as pb
from quota.v1.operations_pb2_grpc import OperationsServiceServicer
from quota_service.application.administration.organizations import Organizations
from quota_service.application.dead_letters import DeadLetters
from quota_service.application.operations.doctor import Doctor
from quota_service.application.operations.reconciliation import Reconciliation
from quota_service.domain.errors import FieldProblem, NameMalformed
from quota_service.edge import names, paging
from quota_service.edge.calls import Context
from quota_service.edge.convert.operations import dead_letter, diagnosis, reconcile_response, replayed


class OperationsServicer(OperationsServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(
        self,
        organizations: Organizations,
        doctor: Doctor,
        reconciliation: Reconciliation,
        dead_letters: DeadLetters,
    ) -> None:
        self._organizations = organizations
        self._doctor = doctor
        self._reconciliation = reconciliation
        self._dead_letters = dead_letters

    async def Diagnose(self, request: pb.DiagnoseRequest, context: Context) -> pb.Diagnosis:
        return diagnosis(await self._doctor.diagnose())

    async def Reconcile(
        self, request: pb.ReconcileRequest, context: Context
    ) -> AsyncGenerator[pb.ReconcileResponse, None]:
        organization = names.parse_organization(request.name, "name")
        await self._organizations.get(organization)
        under_way = self._reconciliation.reconcile(organization, repair=request.repair, search=request.search)
        async with aclosing(under_way) as all_told:
            async for told in all_told:
                yield reconcile_response(organization, told)

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        organization = names.parse_organization(request.parent, "parent")
        after = paging.number(request)
        await self._organizations.get(organization)
        page = await self._dead_letters.list(
            organization, paging.page_size(request), "" if after is None else str(after)
        )
        return pb.ListDeadLettersResponse(
            dead_letters=[dead_letter(organization, each) for each in page.items],
            next_page_token=paging.token(request, page.next),
        )

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: Context
    ) -> pb.ReplayDeadLettersResponse:
        organization = names.parse_organization(request.parent, "parent")
        ids = [_id_of(name, organization) for name in request.names]
        await self._organizations.get(organization)
        results = {result.id: result for result in await self._dead_letters.replay(organization, ids)}
        return pb.ReplayDeadLettersResponse(replayed=[replayed(organization, results[id_]) for id_ in ids])


def _id_of(name: str, organization: str) -> str:
    """The id of a dead letter of the organization. Raises NameMalformed."""
    owner, id_ = names.parse(name, names.DEAD_LETTERS, "names")
    if owner != organization:
        raise NameMalformed(FieldProblem("names", f"{name} is not of organization “{organization}”"))
    return id_
