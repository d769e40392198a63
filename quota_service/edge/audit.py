"""AuditService."""

from __future__ import annotations

from quota.v1 import audit_pb2 as pb
from quota.v1.audit_pb2_grpc import AuditServiceServicer
from quota_service.application.administration.organizations import Organizations
from quota_service.application.audit_ports import AuditTrail
from quota_service.application.verification import Chain, Position, Verification
from quota_service.domain.errors import PageTokenInvalid
from quota_service.edge import names, paging
from quota_service.edge.calls import Context
from quota_service.edge.convert.audit import audit_event, filter_of, heads_of, verified

VERIFIED_PER_PAGE = 20_000


class AuditServicer(AuditServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, organizations: Organizations, trail: AuditTrail, verification: Verification) -> None:
        self._organizations = organizations
        self._trail = trail
        self._verification = verification

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: Context
    ) -> pb.ListAuditEventsResponse:
        organization = names.parse_organization(request.parent, "parent")
        filter_, before = filter_of(request, organization), paging.number(request)
        await self._require(organization)
        rows, following = await self._trail.list(organization, filter_, paging.page_size(request), before)
        return pb.ListAuditEventsResponse(
            audit_events=[audit_event(organization, row) for row in rows],
            next_page_token=paging.token(request, "" if following is None else str(following)),
        )

    async def VerifyAuditTrail(
        self, request: pb.VerifyAuditTrailRequest, context: Context
    ) -> pb.VerifyAuditTrailResponse:
        organization = names.parse_organization(request.parent, "parent")
        position, count = _position(request), paging.page_size(request, VERIFIED_PER_PAGE)
        await self._require(organization)
        stretch = await self._verification.verify(organization, position, count, heads_of(request.known_head))
        following = "" if stretch.next is None else f"{stretch.next.chain}{stretch.next.after}"
        return verified(organization, stretch, paging.token(request, following))

    async def _require(self, organization: str) -> None:
        """A trail stays when its organization is deleted. Raises OrganizationNotFound."""
        if not (await self._trail.head(organization)).sequence:
            await self._organizations.get(organization)


def _position(request: pb.VerifyAuditTrailRequest) -> Position:
    told = paging.position(request)
    if not told:
        return Position()
    if told[0] not in tuple(Chain):
        raise PageTokenInvalid
    return Position(Chain(told[0]), paging.parsed(told[1:]))
