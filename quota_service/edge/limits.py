"""The part of BudgetService that is about rate limits and model policies."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from quota.v1 import budget_pb2 as pb
from quota.v1 import model_policy_pb2 as policy_pb
from quota.v1.budget_pb2_grpc import BudgetServiceServicer
from quota_service.application.administration.model_policies import ModelPolicies
from quota_service.application.administration.rate_limits import RateLimits
from quota_service.edge import names
from quota_service.edge.calls import Context
from quota_service.edge.collection import Collection
from quota_service.edge.convert.model_policy import model_policy, model_policy_of
from quota_service.edge.convert.ratelimit import rate_limit, rate_limit_of


class LimitMethods(BudgetServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, rate_limits: RateLimits, model_policies: ModelPolicies) -> None:
        self._rate_limits = Collection(
            resources=rate_limits,
            collection=names.RATE_LIMITS,
            field="rate_limit",
            encode=rate_limit,
            decode=rate_limit_of,
        )
        self._model_policies = Collection(
            resources=model_policies,
            collection=names.MODEL_POLICIES,
            field="model_policy",
            encode=model_policy,
            decode=model_policy_of,
        )

    async def CreateRateLimit(self, request: pb.CreateRateLimitRequest, context: Context) -> pb.RateLimit:
        return await self._rate_limits.create(
            request.parent, request.rate_limit_id, request.rate_limit, request.request_id
        )

    async def GetRateLimit(self, request: pb.GetRateLimitRequest, context: Context) -> pb.RateLimit:
        return await self._rate_limits.get(request.name)

    async def ListRateLimits(
        self, request: pb.ListRateLimitsRequest, context: Context
    ) -> pb.ListRateLimitsResponse:
        limits, token = await self._rate_limits.list(request.parent, request)
        return pb.ListRateLimitsResponse(rate_limits=limits, next_page_token=token)

    async def UpdateRateLimit(self, request: pb.UpdateRateLimitRequest, context: Context) -> pb.RateLimit:
        return await self._rate_limits.update(
            request.rate_limit, request.rate_limit, request.update_mask, request.allow_missing
        )

    async def DeleteRateLimit(self, request: pb.DeleteRateLimitRequest, context: Context) -> Empty:
        await self._rate_limits.delete(request.name, request.etag)
        return Empty()

    async def CreateModelPolicy(
        self, request: policy_pb.CreateModelPolicyRequest, context: Context
    ) -> policy_pb.ModelPolicy:
        return await self._model_policies.create(
            request.parent, request.model_policy_id, request.model_policy, request.request_id
        )

    async def GetModelPolicy(
        self, request: policy_pb.GetModelPolicyRequest, context: Context
    ) -> policy_pb.ModelPolicy:
        return await self._model_policies.get(request.name)

    async def ListModelPolicies(
        self, request: policy_pb.ListModelPoliciesRequest, context: Context
    ) -> policy_pb.ListModelPoliciesResponse:
        policies, token = await self._model_policies.list(request.parent, request)
        return policy_pb.ListModelPoliciesResponse(model_policies=policies, next_page_token=token)

    async def UpdateModelPolicy(
        self, request: policy_pb.UpdateModelPolicyRequest, context: Context
    ) -> policy_pb.ModelPolicy:
        return await self._model_policies.update(
            request.model_policy, request.model_policy, request.update_mask, request.allow_missing
        )

    async def DeleteModelPolicy(self, request: policy_pb.DeleteModelPolicyRequest, context: Context) -> Empty:
        await self._model_policies.delete(request.name, request.etag)
        return Empty()
