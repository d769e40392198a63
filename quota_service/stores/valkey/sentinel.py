"""Asks Sentinel who the master is."""

from __future__ import annotations

from typing import Any

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quota_service.domain.errors import StoreUnavailable
from quota_service.stores.valkey.address import Address
from quota_service.stores.valkey.pipeline import Endpoint

ANSWER_S = 0.5
"""A sentinel that takes longer is passed over: there are others."""


class Sentinels:
    """The sentinels of one service."""

    def __init__(self, address: Address) -> None:
        self._service = address.service
        self._sentinel = Sentinel(list(address.hosts), sentinel_kwargs=_settings(address))

    async def master(self) -> Endpoint:
        """Where the master is, as the first sentinel says that answers. Raises StoreUnavailable."""
        try:
            host, port = await self._sentinel.discover_master(self._service)
        except (RedisError, OSError) as error:
            raise StoreUnavailable("No sentinel knows a master of Valkey.") from error
        return str(host), int(port)

    async def close(self) -> None:
        await self._sentinel.aclose()


def _settings(address: Address) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": ANSWER_S,
        "retry": Retry(NoBackoff(), 0),  # the next sentinel is asked in place of the same again
        "username": address.sentinel_username or None,
        "password": address.sentinel_password or None,
    }
    if address.tls:
        settings |= {"ssl": True, "ssl_ca_certs": address.ca_file or None}
    return settings
