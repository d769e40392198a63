"""BudgetService."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty

from quota.v1 import budget_pb2 as pb
from quota.v1 import money_pb2
from quota.v1.exposure_pb2 import Exposure, GetExposureRequest
from quota_service.application.administration.budgets import Budgets
from quota_service.application.administration.counters import require_in_sight
from quota_service.application.administration.model_policies import ModelPolicies
from quota_service.application.administration.money import Money
from quota_service.application.administration.rate_limits import RateLimits
from quota_service.application.exposure import Exposures
from quota_service.application.statuses import Statuses
from quota_service.application.watching import Watching
from quota_service.edge import names
from quota_service.edge.access import control as access
from quota_service.edge.calls import Context
from quota_service.edge.collection import Collection
from quota_service.edge.convert.budget import budget, budget_of
from quota_service.edge.convert.exposure import exposure
from quota_service.edge.convert.money import (
    adjust_request_of,
    adjust_response,
    reallocate_request_of,
    reallocate_response,
)
from quota_service.edge.convert.statuses import all_statuses
from quota_service.edge.convert.subject import subject_of
from quota_service.edge.limits import LimitMethods


class BudgetServicer(LimitMethods):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(
        self,
        budgets: Budgets,
        statuses: Statuses,
        rate_limits: RateLimits,
        model_policies: ModelPolicies,
        watching: Watching,
        exposures: Exposures,
        money: Money,
    ) -> None:
        super().__init__(rate_limits, model_policies)
        self._budgets = Collection(
            resources=budgets, collection=names.BUDGETS, field="budget", encode=budget, decode=budget_of
        )
        self._statuses = statuses
        self._watching = watching
        self._exposures = exposures
        self._money = money

    async def CreateBudget(self, request: pb.CreateBudgetRequest, context: Context) -> pb.Budget:
        return await self._budgets.create(
            request.parent, request.budget_id, request.budget, request.request_id
        )

    async def GetBudget(self, request: pb.GetBudgetRequest, context: Context) -> pb.Budget:
        return await self._budgets.get(request.name)

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: Context) -> pb.ListBudgetsResponse:
        budgets, token = await self._budgets.list(request.parent, request)
        return pb.ListBudgetsResponse(budgets=budgets, next_page_token=token)

    async def UpdateBudget(self, request: pb.UpdateBudgetRequest, context: Context) -> pb.Budget:
        return await self._budgets.update(
            request.budget, request.budget, request.update_mask, request.allow_missing
        )

    async def DeleteBudget(self, request: pb.DeleteBudgetRequest, context: Context) -> Empty:
        await self._budgets.delete(request.name, request.etag)
        return Empty()

    async def ListBudgetStatuses(
        self, request: pb.ListBudgetStatusesRequest, context: Context
    ) -> pb.ListBudgetStatusesResponse:
        organization = names.parse_organization(request.parent, "parent")
        subject = subject_of(request.subject, organization)
        statuses = await self._statuses.list(subject, request.provider, request.model, access.sight())
        return pb.ListBudgetStatusesResponse(statuses=all_statuses(organization, statuses))

    async def GetBudgetStatus(
        self, request: pb.GetBudgetStatusRequest, context: Context
    ) -> pb.GetBudgetStatusResponse:
        organization, id_ = names.parse(request.name, names.BUDGETS, "name")
        statuses = await self._statuses.get(organization, id_, request.each_value)
        return pb.GetBudgetStatusResponse(statuses=all_statuses(organization, statuses))

    async def WatchBudgetStatus(
        self, request: pb.WatchBudgetStatusRequest, context: Context
    ) -> AsyncGenerator[pb.WatchBudgetStatusResponse, None]:
        organization, id_ = names.parse(request.name, names.BUDGETS, "name")
        async with aclosing(self._watching.watch(organization, id_, request.each_value)) as editions:
            async for statuses in editions:
                yield pb.WatchBudgetStatusResponse(statuses=all_statuses(organization, statuses))

    async def GetExposure(self, request: GetExposureRequest, context: Context) -> Exposure:
        organization = names.parse_organization(request.parent, "parent")
        return exposure(organization, await self._exposures.get(organization))

    async def AdjustBudget(
        self, request: money_pb2.AdjustBudgetRequest, context: Context
    ) -> money_pb2.AdjustBudgetResponse:
        return adjust_response(await self._money.adjust(adjust_request_of(request, access.name())))

    async def ReallocateBudget(
        self, request: money_pb2.ReallocateBudgetRequest, context: Context
    ) -> money_pb2.ReallocateBudgetResponse:
        asked = reallocate_request_of(request, access.name())
        require_in_sight(access.sight(), (asked.source, asked.destination))
        return reallocate_response(await self._money.reallocate(asked))
