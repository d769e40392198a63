"""AlertService."""

from __future__ import annotations

from quota.v1 import alert_pb2 as pb
from quota.v1.alert_pb2_grpc import AlertServiceServicer
from quota_service.application import showing
from quota_service.application.administration.organizations import Organizations
from quota_service.application.alert_ports import AlertLog, DenialLog, DenialPosition
from quota_service.domain.errors import PageTokenInvalid
from quota_service.edge import names, paging
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.convert.alert import alert, alert_filter_of, denial_count, denial_filter_of


class AlertServicer(AlertServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, organizations: Organizations, alerts: AlertLog, denials: DenialLog) -> None:
        self._organizations = organizations
        self._alerts = alerts
        self._denials = denials

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        organization = names.parse_organization(request.parent, "parent")
        filter_, position = alert_filter_of(request, organization), _numbers(paging.position(request), 1)
        await self._organizations.get(organization)
        before, sight = position[0] if position else None, access.sight()
        filter_ = filter_._replace(budgets=sight.ids(names.BUDGETS))
        found, following = await self._alerts.list(organization, filter_, paging.page_size(request), before)
        return pb.ListAlertsResponse(
            alerts=[alert(organization, showing.alert(each, sight)) for each in found],
            next_page_token=paging.token(request, "" if following is None else str(following)),
        )

    async def ListDenials(self, request: pb.ListDenialsRequest, context: Context) -> pb.ListDenialsResponse:
        organization = names.parse_organization(request.parent, "parent")
        filter_, position = denial_filter_of(request, organization), _numbers(paging.position(request), 2)
        await self._organizations.get(organization)
        before, sight = DenialPosition(*position) if position else None, access.sight()
        if not sight.sees(filter_.source):
            return pb.ListDenialsResponse()
        filter_ = filter_._replace(teams=sight.ids(names.TEAMS))
        found, following = await self._denials.list(organization, filter_, paging.page_size(request), before)
        return pb.ListDenialsResponse(
            denials=[denial_count(organization, showing.denial(each, sight)) for each in found],
            next_page_token=paging.token(
                request, f"{following.minute_ms}:{following.id}" if following else ""
            ),
        )


def _numbers(position: str, count: int) -> list[int]:
    """The numbers of a position, none at the beginning. Raises PageTokenInvalid."""
    parts = position.split(":") if position else []
    if parts and len(parts) != count:
        raise PageTokenInvalid
    return [paging.parsed(part) for part in parts]
