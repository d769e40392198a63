"""The imported part of the catalogue, which all organizations share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from quota_service.application.ports import ModelAliases
from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.pricing import Model


class SharedCatalogue:
    """Imported models, and the other spellings that are known of them.

    `current` tells an organization's configuration as of the last import. It may need a connection of its
    own, so it is asked before a change begins: who waits for another change must not wait for a connection.
    """

    def __init__(self, current: Callable[[str], Awaitable[Configuration]], aliases: ModelAliases) -> None:
        self._current = current
        self._aliases = aliases
        self.models: Mapping[ModelKey, Model] = {}

    async def refresh(self, organization: str) -> Mapping[ModelKey, Model]:
        """The imported models, also kept in `models`. Raises OrganizationNotFound, StoreUnavailable."""
        self.models = (await self._current(organization)).imported_models
        return self.models

    def known_as(self, provider: str, model: str) -> ModelKey | None:
        """The catalogue's name of a model that is spelt otherwise; `None` where it is not an alias."""
        key = self._aliases.resolve(provider, model)
        return key if key in self.models and key != (provider, model) else None
