"""Everything that runs during a run, but the load: two stores, the replicas, and proxies between them all."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from quota_service.stores.postgres.migrate import migrate
from tests.chaos.proxies import Proxies
from tests.chaos.servers import Replica
from tests.chaos.stores import ChaosPostgres, ChaosValkey
from tests.support.proxy import Mode

CLOCK_SHIFTS_S = (0, 3_600, -3_600)
"""Of the first replica, the second one, and so on."""
LEFT_BEHIND_MS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What faults are done to. `client_ports`: where clients reach the replicas, in their order."""

    valkey: ChaosValkey
    postgres: ChaosPostgres
    proxies: Proxies
    replicas: Sequence[Replica]
    client_ports: Sequence[int]

    @property
    def processes(self) -> tuple[ChaosValkey | ChaosPostgres | Replica, ...]:
        """All that can be killed and halted."""
        return (self.valkey, self.postgres, *self.replicas)

    def routes(self, place: str) -> list[str]:
        """The proxies between `place` (valkey, postgres, clients) and the replicas, in their order."""
        return [f"{place}/{replica.name}" for replica in self.replicas]

    async def switch(self, routes: Sequence[str], mode: Mode, *, delay_s: float = 0.0) -> None:
        for route in routes:
            await self.proxies.switch(route, mode, delay_s=delay_s)

    async def heal(self) -> None:
        """Everything runs and every way is open, whatever was done before."""
        for place in ("valkey", "postgres", "clients"):
            await self.switch(self.routes(place), Mode.PASS)
        for part in self.processes:
            part.resume()
        await asyncio.gather(self.valkey.start(), self.postgres.start())
        await asyncio.gather(*(replica.start() for replica in self.replicas))


@contextlib.asynccontextmanager
async def running(replica_count: int) -> AsyncIterator[World]:
    """A world that answers; afterwards no process and no file of it is left."""
    with tempfile.TemporaryDirectory(prefix="quota-chaos-") as directory:
        valkey = ChaosValkey(Path(directory) / "valkey")
        postgres = ChaosPostgres(Path(directory) / "postgres")
        proxies = Proxies()
        replicas: list[Replica] = []
        try:
            await asyncio.gather(valkey.start(), postgres.start())
            await asyncio.to_thread(migrate, postgres.url)
            for number in range(replica_count):
                replicas.append(await _replica(number, valkey.url, postgres.url, proxies))
            await asyncio.gather(*(replica.start() for replica in replicas))
            ports = [await proxies.add(f"clients/{replica.name}", replica.port) for replica in replicas]
            yield World(
                valkey=valkey, postgres=postgres, proxies=proxies, replicas=replicas, client_ports=ports
            )
        finally:
            for replica in replicas:
                replica.kill()
            proxies.close()
            await asyncio.gather(valkey.stop(), postgres.stop())


async def _replica(number: int, valkey_url: str, postgres_url: str, proxies: Proxies) -> Replica:
    """Not started yet; its ways to the stores are open."""
    name = f"replica-{number}"
    environment = {
        "QUOTA_VALKEY_URL": await _by_way_of(proxies, f"valkey/{name}", valkey_url),
        "QUOTA_POSTGRES_URL": await _by_way_of(proxies, f"postgres/{name}", postgres_url),
        "QUOTA_LEFT_BEHIND_MS": str(LEFT_BEHIND_MS),
        "QUOTA_LOG_LEVEL": "warning",
        "QUOTA_WORKERS": "1",  # what is killed or halted is all of the replica
    }
    shift_s = CLOCK_SHIFTS_S[number % len(CLOCK_SHIFTS_S)]
    return Replica(name, environment, clock_shift_s=shift_s)


async def _by_way_of(proxies: Proxies, name: str, url: str) -> str:
    """The URL with a new proxy's port in place of the store's."""
    parts = urlsplit(url)
    assert parts.port is not None
    port = await proxies.add(name, parts.port)
    credentials = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
