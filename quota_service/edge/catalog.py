"""CatalogService."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from quota.v1 import catalog_pb2 as pb
from quota.v1.catalog_pb2_grpc import CatalogServiceServicer
from quota_service.application.administration.catalogue import Catalogue
from quota_service.edge import paging
from quota_service.edge.calls import Context
from quota_service.edge.convert.catalog import model, model_of


class CatalogServicer(CatalogServiceServicer):
    """Every method answers as the contract says; errors are raised and translated around it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        page = await self._catalogue.list(
            request.organization, request.provider, paging.page_size(request), paging.position(request)
        )
        models = [model(request.organization, stored) for stored in page.items]
        return pb.ListModelsResponse(models=models, next_page_token=paging.token(request, page.next))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        stored = await self._catalogue.get(request.organization, request.provider, request.model)
        return model(request.organization, stored)

    async def UpsertModel(self, request: pb.UpsertModelRequest, context: Context) -> pb.Model:
        stored = await self._catalogue.upsert(
            request.organization, model_of(request.model), request.model.etag
        )
        return model(request.organization, stored)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> Empty:
        await self._catalogue.delete(request.organization, request.provider, request.model, request.etag)
        return Empty()
