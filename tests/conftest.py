"""Fixtures for every test: real servers, started once per run, and in each a clean place for every test."""

import asyncio
import contextlib
import gc
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest
import pytest_asyncio
import redis.asyncio

from quota_service.embedded import EmbeddedStores
from quota_service.embedded.ports import free_port as _free_port
from quota_service.stores.postgres.migrate import migrate
from tests.support.service import Client, running_service
from tests.support.stores import Stores, opened

_TEMPLATE = "template_migrated"

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 8 * 2**30
"""Far more than a run needs, of which most is what PostgreSQL writes ahead."""


def _prefer_memory() -> None:
    """Puts temporary files into memory, of all processes of the run, where there is plenty: there a database
    for a test is made in a tenth of the time.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    there = os.statvfs(MEMORY)
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    roomy = min(there.f_bavail * there.f_frsize, available) >= MEMORY_BYTES_MIN
    if roomy and not there.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # so that it is looked up again


_prefer_memory()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever started the run in the background has Ctrl-C ignored; what the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Real stores have no even pace: a slow example is no finding. A database of examples would leave files.
hypothesis.settings.register_profile("quota", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("quota")


class RunStores:
    """The servers of one test run: started when first asked for, shared by all of its worker processes."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._stores: EmbeddedStores | None = None

    def urls(self) -> dict[str, str]:
        """The servers' URLs under `valkey` and `postgres`; the latter is for administration only."""
        if self._stores is None:
            self._directory = Path(tempfile.mkdtemp(prefix="quota-tests-"))
            self._stores = EmbeddedStores(self._directory, durable=False)
            _run(self._stores.start())
            _run(_create_template(self._stores.postgres_url))
        return {"valkey": self._stores.valkey_url, "postgres": self._stores.postgres_url}

    def stop(self) -> None:
        """Stop the servers and remove their data."""
        if self._stores is not None:
            _run(self._stores.stop())
        if self._directory is not None:
            shutil.rmtree(self._directory)


_STORES = pytest.StashKey[RunStores]()


def pytest_configure(config: pytest.Config) -> None:
    """Every process has the object; only one that is not a worker of pytest-xdist starts servers with it."""
    config.stash[_STORES] = RunStores()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Has the garbage collector keep what loading the tests leaves, half a million objects: it would go
    through them again and again, which takes it a fifth of a second, and stops a service in this process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Before a worker of pytest-xdist starts, in the controller: hand it the servers' URLs."""
    node.workerinput["store_urls"] = node.config.stash[_STORES].urls()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over."""
    config.stash[_STORES].stop()


@pytest.fixture(scope="session")
def store_urls(pytestconfig: pytest.Config) -> dict[str, str]:
    """The shared servers' URLs: `valkey`, and `postgres` for administration. Most tests want those below."""
    handed_over: dict[str, str] | None = getattr(pytestconfig, "workerinput", {}).get("store_urls")
    return handed_over or pytestconfig.stash[_STORES].urls()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def administration(store_urls: dict[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """One connection for all databases of this process's tests."""
    connection = await asyncpg.connect(store_urls["postgres"])
    yield connection
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def postgres_url(administration: asyncpg.Connection, store_urls: dict[str, str]) -> AsyncIterator[str]:
    """The URL of a migrated, empty database that only this test uses."""
    name = f"test_{secrets.token_hex(6)}"
    await administration.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield _with_database(store_urls["postgres"], name)
    await administration.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def valkey_url(store_urls: dict[str, str]) -> str:
    """The URL of the shared Valkey. Use only keys that contain `key_prefix`."""
    return store_urls["valkey"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tidying(valkey_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """One connection that removes what this process's tests leave."""
    async with contextlib.aclosing(redis.asyncio.from_url(valkey_url)) as valkey:
        yield valkey


@pytest_asyncio.fixture(loop_scope="session")
async def key_prefix(tidying: redis.asyncio.Redis) -> AsyncIterator[str]:
    """A name nobody else uses, fit for an organization's id; keys that contain it are removed afterwards."""
    prefix = f"t{secrets.token_hex(6)}"
    yield prefix
    keys = [key async for key in tidying.scan_iter(match=f"*{prefix}*", count=1000)]
    for start in range(0, len(keys), 1000):
        await tidying.unlink(*keys[start : start + 1000])


@pytest.fixture
async def client(valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[Client]:
    """A client of a real server that only this test uses, on empty stores."""
    async with running_service(valkey_url, postgres_url, key_prefix) as client:
        yield client


@pytest.fixture
async def other(client: Client, valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[Client]:
    """A client of a second server on the stores of `client`'s."""
    async with running_service(valkey_url, postgres_url, key_prefix) as other:
        yield other


@pytest.fixture
async def stores(valkey_url: str, postgres_url: str, key_prefix: str) -> AsyncIterator[Stores]:
    """The stores behind `client`."""
    async with opened(valkey_url, postgres_url, key_prefix) as stores:
        yield stores


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    return _free_port()


async def _create_template(url: str) -> None:
    await _execute(url, f"CREATE DATABASE {_TEMPLATE}")
    await asyncio.to_thread(migrate, _with_database(url, _TEMPLATE))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # Not asyncio.run, which forgets the thread's event loop: pytest-asyncio has one of its own.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
