"""Who makes the changes of the call that is being answered: known to all that it sets going."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from quota_service.domain.audit import Authorship

SYSTEM = Authorship(actor="system")
"""Whatever the service does by itself."""

_current: ContextVar[Callable[[], Authorship] | None] = ContextVar("authorship", default=None)


def begin(told: Callable[[], Authorship]) -> None:
    """From now on changes are made by whom `told` says; it is asked only if there are any."""
    _current.set(told)


def current() -> Authorship:
    """Who makes a change here and now."""
    told = _current.get()
    return SYSTEM if told is None else told()
