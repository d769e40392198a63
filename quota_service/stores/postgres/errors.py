"""The one place where the driver's errors become the domain's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from quota_service.domain.errors import FieldProblem, InvalidRequest, StoreUnavailable

_UNAVAILABLE = (
    OSError,  # includes TimeoutError: no connection in time, or no answer
    asyncpg.InterfaceError,  # the connection or the pool is closed
    asyncpg.InternalClientError,  # the server ended the connection in the middle of a step of the driver's
    asyncpg.PostgresConnectionError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up
    asyncpg.ReadOnlySQLTransactionError,  # a failover has made this server a standby
    asyncpg.InvalidCachedStatementError,  # a migration has just changed a table; the next try knows it
    asyncpg.InvalidAuthorizationSpecificationError,  # our password or our role is no longer good
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the operator lets nobody into the database for now
)


@contextmanager
def translated() -> Iterator[None]:
    """Raises StoreUnavailable where PostgreSQL gave no answer.

    Whether a transaction was committed is then unknown. Text with the character NUL, which PostgreSQL cannot
    store, is InvalidRequest.
    """
    try:
        yield
    except (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError) as error:
        raise InvalidRequest(FieldProblem("", "text must not contain the character NUL")) from error
    except _UNAVAILABLE as error:
        if isinstance(error, ValueError):  # asyncpg's own DataError: an argument of ours has the wrong type
            raise
        raise StoreUnavailable("PostgreSQL did not answer in time.") from error
