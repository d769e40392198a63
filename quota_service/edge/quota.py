"""QuotaService."""

from __future__ import annotations

from dataclasses import dataclass

from quota.v1 import quota_pb2 as pb
from quota.v1.quota_pb2_grpc import QuotaServiceServicer
from quota_service.application.configurations import Configurations
from quota_service.application.extension import Extension
from quota_service.application.memory import Memory
from quota_service.application.recording import Recording
from quota_service.application.requests import Authorizes
from quota_service.application.settlement import Commits, Releases
from quota_service.edge import batches, names, paging
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.convert import quota as convert
from quota_service.edge.convert.subject import subject_of

RESERVATIONS_PER_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUseCases:
    """What the service's methods lead to."""

    configurations: Configurations
    authorization: Authorizes
    commits: Commits
    releases: Releases
    extension: Extension
    recording: Recording
    memory: Memory


class QuotaServicer(QuotaServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, use_cases: QuotaUseCases) -> None:
        self._use_cases = use_cases

    async def Authorize(self, request: pb.AuthorizeRequest, context: Context) -> pb.AuthorizeResponse:
        result = await self._use_cases.authorization.authorize(convert.authorize_request(request))
        return convert.authorize_response(result)

    async def AuthorizeBatch(
        self, request: pb.AuthorizeBatchRequest, context: Context
    ) -> pb.AuthorizeBatchResponse:
        return await batches.authorized(self._use_cases.authorization, request.requests)

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitResponse:
        result = await self._use_cases.commits.commit(convert.commit_request(request))
        return convert.commit_response(result)

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        organization, reservation = names.parse(request.name, names.RESERVATIONS, "name")
        result = await self._use_cases.releases.release(organization, reservation, request.reason)
        return convert.release_response(result)

    async def Extend(self, request: pb.ExtendRequest, context: Context) -> pb.ExtendResponse:
        result = await self._use_cases.extension.extend(convert.extend_request(request))
        return convert.extend_response(result)

    async def Record(self, request: pb.RecordRequest, context: Context) -> pb.RecordResponse:
        result = await self._use_cases.recording.record(convert.record_request(request))
        return convert.record_response(result)

    async def GetReservation(self, request: pb.GetReservationRequest, context: Context) -> pb.Reservation:
        organization, reservation = names.parse(request.name, names.RESERVATIONS, "name")
        hold = await self._use_cases.memory.get(organization, reservation, access.sight())
        return convert.reservation(hold)

    async def ListReservations(
        self, request: pb.ListReservationsRequest, context: Context
    ) -> pb.ListReservationsResponse:
        organization = names.parse_organization(request.parent, "parent")
        await self._use_cases.configurations.get(organization)
        page = await self._use_cases.memory.live(
            organization,
            subject_of(request.subject, organization),
            paging.page_size(request, RESERVATIONS_PER_PAGE),
            paging.position(request),
            access.sight(),
        )
        return pb.ListReservationsResponse(
            reservations=[convert.reservation(hold) for hold in page.items],
            next_page_token=paging.token(request, page.next),
        )
