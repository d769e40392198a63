"""What keeps a server from starting, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quota_service.cli.failures import CommandError, ExitCode


@contextmanager
def failures() -> Iterator[None]:
    """What cannot start says why, in a sentence."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise failure(_first(group)) from group
    except Exception as error:
        raise failure(error) from error


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failure(error: BaseException) -> BaseException:
    """What to tell of an error; the error itself where nobody expected it."""
    return _of_any_process(error) or _of_what_serves(error) or error


def _of_any_process(error: BaseException) -> CommandError | None:
    from quota_service.addresses import AddressInUse
    from quota_service.domain.errors import StoreUnavailable
    from quota_service.embedded import EmbeddedError
    from quota_service.stores.postgres.migrate import MigrationError
    from quota_service.workers.process import WorkerFailed

    if isinstance(error, WorkerFailed):
        told = error.failed
        return CommandError(told.message, code=told.code, details=told.details, hint=told.hint)
    known = (AddressInUse, EmbeddedError, MigrationError, StoreUnavailable)
    return CommandError(str(error), code=ExitCode.UNAVAILABLE) if isinstance(error, known) else None


def _of_what_serves(error: BaseException) -> CommandError | None:
    """Looked for last: a supervisor has no use for what is imported here."""
    from quota_service.edge.access.callers import CallersFault
    from quota_service.edge.envoy.settings import GatewayFault
    from quota_service.edge.transport import TlsFault
    from quota_service.stores.valkey.address import AddressMalformed

    known = (AddressMalformed, CallersFault, GatewayFault, TlsFault)
    return CommandError(str(error)) if isinstance(error, known) else None
