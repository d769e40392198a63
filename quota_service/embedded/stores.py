"""Both embedded servers on one data directory."""

import asyncio
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.postgres import EmbeddedPostgres
from quota_service.embedded.valkey import EmbeddedValkey


class EmbeddedStores:
    """A Valkey and a PostgreSQL that live as long as this object is started, on data that stays.

        async with EmbeddedStores(Path(".quota")) as stores:
            serve(stores.valkey_url, stores.postgres_url)

    Start it from the main thread: on Linux the servers end with the thread that started them.
    A directory serves one process at a time. `durable=False` trades safety against power loss for speed.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._lock: int | None = None
        self.valkey = EmbeddedValkey(self._data_dir / "valkey", durable=durable)
        self.postgres = EmbeddedPostgres(self._data_dir / "postgres", durable=durable)

    @property
    def valkey_url(self) -> str:
        """A redis-py URL. Known once started."""
        return self.valkey.url

    @property
    def postgres_url(self) -> str:
        """A URL for asyncpg, dbmate and psql. Known once started."""
        return self.postgres.url

    async def start(self) -> None:
        """Start both servers side by side and return when both answer; a crashed run's are stopped first.

        Raises:
            EmbeddedError: one does not start (then neither runs), or another process uses the directory.
        """
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self._data_dir / "lock")
            await self._start_both()
        except OSError as error:
            await self.stop()
            raise EmbeddedError(f"cannot keep data in {self._data_dir}: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop both servers cleanly. Harmless when they are not running."""
        await asyncio.gather(self.valkey.stop(), self.postgres.stop())
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_both(self) -> None:
        # Both are waited for even when one fails, so that `stop` finds a server that was still starting.
        outcomes = await asyncio.gather(self.valkey.start(), self.postgres.start(), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


def _lock(file: Path) -> int:
    """Take the directory for this process; the kernel gives it back when the process ends in any way."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise EmbeddedError(
            f"{file.parent} is in use by another process (id {holder}): "
            "stop it, or set QUOTA_DATA_DIR to another directory"
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
