"""The imported models: written by the importer, read by every configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from quota_service.domain.configuration import ModelKey
from quota_service.domain.pricing import Model
from quota_service.stores.postgres import documents, sql
from quota_service.stores.postgres.errors import translated
from quota_service.stores.postgres.pool import Connection

_SQL = sql.load("catalogue")


async def import_models(
    connection: Connection, fingerprint: str, models: Callable[[], Iterable[Model]]
) -> Mapping[str, int]:
    """Replaces the imported models where `fingerprint` is not the last import's.

    Only then are `models` asked for. Returns the new versions of all organizations (none where nothing
    changed): every replica's upkeep publishes them. Raises StoreUnavailable.
    """
    with translated():
        async with connection.transaction():
            if await connection.fetchval(_SQL["lock_import"]) == fingerprint:
                return {}
            await connection.execute(_SQL["delete_models"])
            rows = [(model.provider, model.model, documents.encode(model)) for model in models()]
            await connection.execute(
                _SQL["insert_models"], *(list(column) for column in zip(*rows, strict=True))
            )
            raised = await connection.fetch(_SQL["raise_versions"])
            await connection.execute(_SQL["finish_import"], fingerprint)
            return {row["id"]: row["version"] for row in raised}


class ImportedModels:
    """The imported models as of the last load, shared by all configurations of the process."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._models: Mapping[ModelKey, Model] = {}
        self._lock = asyncio.Lock()

    async def at(self, connection: Connection, version: int) -> Mapping[ModelKey, Model]:
        """The models of an import, given a connection whose snapshot is of that import."""
        async with self._lock:  # whoever comes second finds them loaded
            if version != self._version:
                rows = await connection.fetch(_SQL["all_models"])
                models = [documents.decode(Model, row["document"]) for row in rows]
                self._models = {(model.provider, model.model): model for model in models}
                self._version = version
            return self._models
