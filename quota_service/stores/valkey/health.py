"""What Valkey says of itself, and what stands in it of each organization."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from quota_service.application.operations.health_ports import KeysSide, ValkeyFacts
from quota_service.application.recovery_ports import Fence
from quota_service.stores.valkey.recovery import fence_of
from quota_service.stores.valkey.replying import ReplyError, information
from quota_service.stores.valkey.runner import Runner

_SECTIONS = ("server", "replication", "persistence", "memory")
_SETTINGS = ("appendfsync", "save", "min-replicas-to-write")
_WRITES = {
    "aof_last_write_status": "append-only file",
    "aof_last_bgrewrite_status": "rewritten append-only file",
    "rdb_last_bgsave_status": "snapshot",
}


class ValkeyServerHealth:
    """Implements `ValkeyHealth`."""

    def __init__(self, runner: Runner) -> None:
        self._connection = runner.connection
        self._keys = runner.keys
        self.events_bytes_max = runner.settings.buffer_bytes_max

    @property
    def is_available(self) -> bool:
        return self._connection.available

    async def facts(self) -> ValkeyFacts:
        ahead_ms = await self._clock_ahead_ms()
        about = information(await self._connection.call("INFO", *_SECTIONS))
        return _facts(about, await self._settings(), ahead_ms)

    async def organizations(self, organizations: Sequence[str]) -> Mapping[str, KeysSide]:
        now_ms, _ = await self._time_ms()
        run_id = await self._connection.run_id()
        sides = await asyncio.gather(*(self._side(each, run_id, now_ms) for each in organizations))
        return dict(zip(organizations, sides, strict=True))

    async def _side(self, organization: str, run_id: str, now_ms: int) -> KeysSide:
        meta, _, stream = self._keys.common(organization)
        (fence, waiting), events, oldest = await asyncio.gather(
            self._connection.call("HMGET", meta, "fence", "waiting"),
            self._connection.call("XLEN", stream),
            self._connection.call("XRANGE", stream, "-", "+", "COUNT", 1),
        )
        since_ms = int(oldest[0][0].partition(b"-")[0]) if oldest else now_ms
        return KeysSide(
            fence=_fence(fence, run_id),
            events=events,
            events_bytes=int(waiting or 0),
            events_ms=max(0, now_ms - since_ms),
        )

    async def _settings(self) -> Mapping[str, str] | None:
        """`None`: nobody may read them, as with most who host Valkey for others."""
        try:
            found: list[bytes] = await self._connection.call("CONFIG", "GET", *_SETTINGS)
        except ReplyError:
            return None
        text = [each.decode(errors="replace") for each in found]
        return dict(zip(text[::2], text[1::2], strict=True))

    async def _clock_ahead_ms(self) -> int:
        before_s = time.time()
        store_ms, took_s = await self._time_ms()
        return round(store_ms - (before_s + took_s / 2) * 1000)

    async def _time_ms(self) -> tuple[int, float]:
        """Valkey's clock, and how many seconds the answer took."""
        begun_s = time.monotonic()
        seconds, micros = await self._connection.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000, time.monotonic() - begun_s


def _facts(information: Mapping[str, str], settings: Mapping[str, str] | None, ahead_ms: int) -> ValkeyFacts:
    kind = information.get("server_name", "valkey" if "valkey_version" in information else "redis")
    known = settings or {}
    replicas_min = known.get("min-replicas-to-write")
    return ValkeyFacts(
        kind=kind,
        version=information.get(f"{kind}_version", information.get("redis_version", "")),
        role={"slave": "replica"}.get(information.get("role", ""), information.get("role", "")),
        is_loading=information.get("loading") == "1",
        eviction_policy=information.get("maxmemory_policy", ""),
        has_append_only_file=information.get("aof_enabled") == "1",
        appendfsync=known.get("appendfsync"),
        saves=known.get("save"),
        replicas=_number(information, "connected_slaves"),
        replicas_min=int(replicas_min) if replicas_min is not None else None,
        bytes_used=_number(information, "used_memory"),
        bytes_max=_number(information, "maxmemory"),
        failed_writes=tuple(what for name, what in _WRITES.items() if information.get(name, "ok") != "ok"),
        clock_ahead_ms=ahead_ms,
    )


def _fence(raw: bytes | None, run_id: str) -> Fence:
    return fence_of(raw.decode() if raw is not None else "", run_id)


def _number(information: Mapping[str, str], name: str) -> int:
    return int(information.get(name, "0"))
