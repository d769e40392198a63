"""How the command fails: one sentence, the field, a hint, and an exit code that scripts can rely on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quota.client import ApiError


class ExitCode(IntEnum):
    """What the command returns to the shell. `quota --help` lists them."""

    OK = 0
    DENIED = 1
    BAD_INPUT = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    NOT_ALLOWED = 6


class CommandError(Exception):
    """Something that the person at the terminal should know, in their words. Never shown with a traceback."""

    def __init__(
        self,
        message: str,
        *,
        code: int = ExitCode.BAD_INPUT,
        details: Iterable[str] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = tuple(details)
        self.hint = hint


def closest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that was probably meant, or an empty string."""
    by_folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A hint that names what was probably meant, or an empty string."""
    match = closest(word, candidates)
    return f"did you mean {match!r}?" if match else ""


_CODES = {
    "INVALID_ARGUMENT": ExitCode.BAD_INPUT,
    "OUT_OF_RANGE": ExitCode.BAD_INPUT,
    "UNIMPLEMENTED": ExitCode.BAD_INPUT,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "ALREADY_EXISTS": ExitCode.CONFLICT,
    "FAILED_PRECONDITION": ExitCode.CONFLICT,
    "ABORTED": ExitCode.CONFLICT,
    "UNAUTHENTICATED": ExitCode.NOT_ALLOWED,
    "PERMISSION_DENIED": ExitCode.NOT_ALLOWED,
}

_HINTS = {
    "ORGANIZATION_NOT_FOUND": "see `quota export`, or name another one with --organization",
    "BUDGET_NOT_FOUND": "see `quota budget list`",
    "RESERVATION_NOT_FOUND": "see `quota reservations`; what has ended is in `quota ledger`",
    "RESERVATION_ENDED": "it has been settled before; `quota ledger --reservation NAME` shows how",
    "ETAG_MISMATCH": "somebody changed it in the meantime; run the command again",
    "CREDENTIALS_MISSING": "put a service token into QUOTA_TOKEN, or name its file with --token-file",
    "OVERLOADED": "the server sheds load; try again in a moment",
}


def from_api(error: ApiError, address: str) -> CommandError:
    """The command's failure for a call that failed."""
    status = error.code.name
    details = [f"{problem.field or 'request'}: {problem.description}" for problem in error.fields]
    message = error.message if error.message else status
    if status == "UNAVAILABLE" and "handshake" in message.lower():
        return CommandError(
            f"{address} and this command do not trust each other's certificates",
            code=ExitCode.NOT_ALLOWED,
            hint="--ca names the authority of the server's; --cert and --key are the own, where it wants one",
        )
    if status == "UNAVAILABLE" and not error.reason:
        return CommandError(
            f"no server answers at {address}",
            code=ExitCode.UNAVAILABLE,
            hint="start one with `make run`, or name another with --address or QUOTA_ADDRESS",
        )
    if status == "DEADLINE_EXCEEDED":
        message = f"the server at {address} did not answer in time"
    return CommandError(
        f"{message} ({error.reason or status})",
        code=_CODES.get(status, ExitCode.UNAVAILABLE),
        details=[detail for detail in details if detail not in message],
        hint=_HINTS.get(error.reason, ""),
    )
