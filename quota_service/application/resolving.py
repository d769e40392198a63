"""Whose a secret is, for gateways that are handed nothing else."""

from __future__ import annotations

from typing import NamedTuple

from quota_service.application.caching import Cache, Room
from quota_service.application.health import Health
from quota_service.application.peppers import Peppers
from quota_service.application.ports import ConfigurationStore, HoldStore
from quota_service.application.proving import ProvenConfigurations
from quota_service.domain.api_key import SECRET_PATTERN, START_LENGTH, ApiKey, KeySecret
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import ApiKeyRevoked, ApiKeyUnknown, OrganizationNotFound
from quota_service.domain.subject import Subject, complete

STARTS_BYTES_MAX = 16 * 1024 * 1024
_START_BYTES = 256

UNKNOWN = "No API key has this secret."


class Resolved(NamedTuple):
    """Who spends with a secret, and until when it is good as far as is known; `None`: no end is known."""

    key: ApiKey
    subject: Subject
    end_ms: int | None


class KeyResolution:
    """The use case."""

    def __init__(
        self,
        proven: ProvenConfigurations,
        store: ConfigurationStore,
        holds: HoldStore,
        health: Health,
        peppers: Peppers,
    ) -> None:
        self._proven = proven
        self._store = store
        self._holds = holds
        self._health = health
        self._peppers = peppers
        # Nobody knows a secret before its key has it, so whose its start is does not change while it is good.
        self._keys: Cache[str, tuple[tuple[str, str], ...]] = Room(STARTS_BYTES_MAX).cache(
            lambda keys: _START_BYTES * (1 + len(keys))
        )

    async def resolve(self, text: str, only: str = "") -> Resolved:
        """`only`: the organization that the caller knows of. Raises ApiKeyUnknown, ApiKeyRevoked,
        StoreUnavailable.
        """
        if not SECRET_PATTERN.fullmatch(text):
            raise ApiKeyUnknown(UNKNOWN)
        for organization, id_ in await self._keys_with(text[:START_LENGTH]):
            if only not in ("", organization):
                continue
            try:
                configuration = await self._proven.get(organization)
            except OrganizationNotFound:
                continue
            key = configuration.directory.api_keys.get(id_)
            found = key and self._secret(key, text)
            if key is not None and found:
                return self._good(configuration, key, found)
        raise ApiKeyUnknown(UNKNOWN)

    async def _keys_with(self, start: str) -> tuple[tuple[str, str], ...]:
        """The organizations and ids of the keys with a secret that begins so; nearly always one or none."""
        keys = self._keys.get(start)
        if keys is None:
            self._health.require_ledger()
            keys = await self._store.keys_with(start)
            if keys:
                self._keys.put(start, keys)
        return keys

    def _secret(self, key: ApiKey, text: str) -> KeySecret | None:
        return next((each for each in key.secrets if self._peppers.recognizes(text, each)), None)

    def _good(self, configuration: Configuration, key: ApiKey, secret: KeySecret) -> Resolved:
        end_ms = key.end_of(secret)
        if key.revoke_ms is not None:
            raise ApiKeyRevoked(f"The API key “{key.id}” was revoked.")
        if end_ms is not None and self._holds.now_ms() >= end_ms:
            raise ApiKeyRevoked(f"The time of API key “{key.id}”, or of this secret of it, is over.")
        subject = Subject(organization=configuration.organization.id, api_key=key.id)
        completed, _ = complete(subject, configuration.directory)
        return Resolved(key, completed, end_ms)
