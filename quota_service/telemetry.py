"""Logs: one JSON object a line on stderr, or readable lines where a person watches."""

from __future__ import annotations

import logging
import sys

import structlog

log = structlog.get_logger("quota_service")


def configure(level: str, **said: str | int) -> None:
    """Sets up logging for the process. `said`: what every line has that is written from here on."""
    structlog.contextvars.bind_contextvars(**said)
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    # Its warnings are stack texts about connections; whoever needs one is told when there is none.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class WorkLog:
    """Tells of work that failed."""

    def work_failed(self, work: str, error: Exception) -> None:
        log.warning(
            "work failed, will be tried again", work=work, error=type(error).__name__, reason=str(error)
        )


class WorkerLog(WorkLog):
    """Tells what becomes of workers."""

    def worker_ended(self, number: int, pid: int, code: int, reason: str, again_s: float) -> None:
        how = {"signal": -code} if code < 0 else {"exit_code": code}
        why = {"reason": reason} if reason else {}
        log.error("a worker ended", worker=number, pid=pid, **how, **why, again_in_s=again_s)

    def worker_answers_again(self, number: int, pid: int) -> None:
        log.info("a worker answers again", worker=number, pid=pid)


class StoreLog(WorkLog):
    """Tells of work between the stores that failed, or that found something it should not have.

    `entries`: how many this process has taken to the ledger from its own queue. `dead_letters`: how many
    entries of this process have become dead letters.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.dead_letters = 0

    def batch_written(self, entries: int, conflicts: int) -> None:
        self.entries += entries
        if conflicts:
            log.error("ledger keys used with other content", conflicts=conflicts, entries=entries)

    def valkey_changed(self, available: bool, error: BaseException | None) -> None:
        if available:
            log.info("Valkey answers again")
        else:
            log.error("Valkey does not answer", reason=str(error))

    def recovered(self, organization: str, epoch: int) -> None:
        log.warning("Valkey's keys were made anew from the ledger", organization=organization, epoch=epoch)

    def entry_refused(self, organization: str, key: str, error: str, tries: int) -> None:
        log.warning(
            "the ledger refused an entry", organization=organization, key=key, error=error, tries=tries
        )

    def dead_letter(self, organization: str, key: str, error: str) -> None:
        self.dead_letters += 1
        log.error(
            "an entry became a dead letter: remove the cause, then replay it",
            organization=organization,
            key=key,
            error=error,
            of_this_process=self.dead_letters,
        )
